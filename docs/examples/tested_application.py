"""An application on Redis. Its tests, test_tested_application.py, need no Redis and do not wait.

uvicorn --app-dir docs/examples tested_application:app
"""

import os
from typing import Annotated

from fastapi import Depends, FastAPI

from fastapi_task_manager import Config, RunContext, TaskGroup, TaskManager

app = FastAPI()
config = Config(redis_host=os.environ.get("TASK_MANAGER_REDIS_HOST", "localhost"), redis_key_prefix="tested")
manager = TaskManager(app, config)
reports = TaskGroup("Reports")
manager.add_task_group(reports)
app.include_router(manager.get_manager_router(), prefix="/task-manager")


class Mail:
    """Sends mail. Tests replace it."""

    def send(self, text: str) -> None:
        print(text)


def get_mail() -> Mail:
    return Mail()


@reports.add_task("0 6 * * *", timezone="Europe/Rome", max_retries=3, retry_backoff=60, retry_backoff_max=600)
async def nightly(mail: Annotated[Mail, Depends(get_mail)], context: RunContext) -> None:
    mail.send("report" if context.attempt == 1 else "report, late")


@reports.add_task("*/10 * * * * *")
def sync(mail: Annotated[Mail, Depends(get_mail)]) -> None:
    mail.send("sync")
