"""What a task returns is kept with its attempt, and what it reports is shown while it executes.

uvicorn --app-dir docs/examples results_and_progress:app
"""

import asyncio
from datetime import date

from fastapi import FastAPI
from pydantic import BaseModel

from fastapi_task_manager import OperationalConfig, RunContext, TaskGroup, TaskManager
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


async def import_file(number: int) -> None:
    """Stands for work that takes its time."""
    await asyncio.sleep(number)


@group.add_task("0 7 * * *")
async def import_files(context: RunContext, files: int = 3) -> None:
    """Shows how far it is."""
    for number in range(files):
        context.progress(number, files, f"file {number}")
        await import_file(number)
        context.log(f"file {number} is imported")


TABLE = [1, 2, 3]


@group.add_task("0 8 * * *")
async def import_new_rows(context: RunContext) -> int:
    """Goes on where the last success ended."""
    newest = await context.cursor.get(int) or 0
    rows = [row for row in TABLE if row > newest]
    context.cursor.set(max(rows, default=newest))
    return len(rows)


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
