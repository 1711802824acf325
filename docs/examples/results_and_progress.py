"""What a task returns is kept with its attempt.

uvicorn --app-dir docs/examples results_and_progress:app
"""

from datetime import date

from fastapi import FastAPI
from pydantic import BaseModel

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
group = TaskGroup("Imports")
manager.add_task_group(group)


class Imported(BaseModel):
    rows: int
    newest: date


@group.add_task("0 6 * * *")
async def import_rows() -> Imported:
    """Its result is kept with the attempt."""
    return Imported(rows=3, newest=date(2026, 1, 1))


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
