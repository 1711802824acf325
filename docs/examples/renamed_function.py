"""A function that was renamed while tasks and runs still use its old name.

uvicorn --app-dir docs/examples renamed_function:app
"""

from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Mail")
manager.add_task_group(group)


@group.register_function("send_mail")
@group.register_function("send_email")
async def send_email() -> None:
    """Tasks that were added before the renaming still find it by its old name."""


group.add_dynamic_task("send_mail", "0 6 * * *", name="old")
group.add_dynamic_task("send_email", "0 7 * * *", name="new")

app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
