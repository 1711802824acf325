"""One group with several schedules: lists, unions, time zones, intervals and single instants.

uvicorn --app-dir docs/examples several_schedules:app
"""

from datetime import UTC, datetime

from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
manager = TaskManager(app, OperationalConfig(timezone="Europe/Rome"), backend=MemoryStore().open)
group = TaskGroup("Imports", tags=["imports"])
manager.add_task_group(group)


@group.add_task(["0 6 * * *", "0 18 * * MON-FRI"], kwargs=[{"source": "shop"}, {"source": "bank"}])
async def fetch(source: str) -> None:
    """A list makes a task of each pair: fetch__1 and fetch__2, each with its own arguments, pause and history."""
    print(f"fetching from the {source}")


@group.add_task(("0 8 * * *", "30 12 * * *"), name="meals", timezone="America/New_York", gap="skip")
async def announce() -> None:
    """A tuple makes one task that runs by all of its expressions."""


@group.add_task("H * * * *", name="spread", jitter=5)
async def poll() -> None:
    """H is a minute that depends on the task's name, so that many tasks do not all start at the full hour."""


@group.add_task(interval=90, phase=10)
async def measure() -> None:
    """Runs every 90 seconds of real time. Changes of local clocks do not affect it."""


@group.add_task(run_at=datetime(2040, 1, 1, tzinfo=UTC), catch_up="none")
async def celebrate() -> None:
    """Runs once."""


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
