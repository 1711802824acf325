"""Both kinds of functions. A synchronous function runs in a thread, so it may block.

uvicorn --app-dir docs/examples sync_and_async:app
"""

import asyncio
import threading
import time

from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

app = FastAPI()
# At most two runs at a time. Workers claim the runs of high_priority tasks first.
manager = TaskManager(app, OperationalConfig(concurrent_tasks=2), backend=MemoryStore().open)
group = TaskGroup("Upkeep", allow_parallel=False)
manager.add_task_group(group)

threads: dict[str, str] = {}


@group.add_task("* * * * * *", high_priority=True)
async def in_the_loop() -> None:
    """Must not block, because the application runs in the same thread."""
    await asyncio.sleep(0.05)
    threads["async"] = threading.current_thread().name


@group.add_task("* * * * * *")
def in_a_thread() -> None:
    """May block."""
    time.sleep(0.05)
    threads["sync"] = threading.current_thread().name


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])
