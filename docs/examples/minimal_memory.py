"""The smallest application: one task, and no store to install.

uvicorn --app-dir docs/examples minimal_memory:app
"""

from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Reports")
manager.add_task_group(group)


@group.add_task("*/5 * * * *")
async def cleanup() -> None:
    """Runs every five minutes."""
    print("cleaned up")


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
