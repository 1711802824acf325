"""An application whose log shows the INFO lines of the task manager, also under uvicorn.

uvicorn --app-dir docs/examples logged_application:app
"""

import logging

from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, RunContext, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

logging.basicConfig(level=logging.INFO, format="%(levelname)s:     %(name)s: %(message)s")

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Reports")
manager.add_task_group(group)
app.include_router(manager.get_manager_router(), prefix="/task-manager")


@group.add_task("* * * * *", kwargs={"name": "Ada"})
async def report(name: str, context: RunContext) -> None:
    context.logger.info("%s gets her report", name)
