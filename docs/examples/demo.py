"""The application behind `make run`: several groups on the in-memory store, so nothing has to be installed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from fastapi_task_manager import OperationalConfig, RunContext, TaskGroup, TaskManager
from task_manager_memory import MemoryStore

# The library sets no log level, and Python shows only warnings: you would see a failure, but not the success after it.
logging.basicConfig(format="%(levelname)s:     %(message)s", level=logging.INFO)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """The application keeps its own lifespan. The manager starts inside it."""
    print("The demo starts. See /task-manager/tasks for its tasks, and /docs for the API")
    yield
    print("The demo ends")


app = FastAPI(title="FastAPI Task Manager demo", lifespan=lifespan)
manager = TaskManager(app, OperationalConfig(concurrent_tasks=4), backend=MemoryStore().open)

reports = TaskGroup(name="Reports", tags=["reports"])
upkeep = TaskGroup(name="Upkeep", tags=["upkeep"], allow_parallel=False)
manager.add_task_group(reports)
manager.add_task_group(upkeep)


@reports.add_task("*/5 * * * * *", description="Every five seconds, in the event loop")
async def heartbeat() -> None:
    """Prints a line."""
    print("heartbeat")


@reports.add_task(
    ["*/20 * * * * *", "0 * * * * *"],
    kwargs=[{"recipient": "all members"}, {"recipient": "the board"}],
    high_priority=True,
    description="One function, two schedules with arguments of their own",
)
async def send_report(recipient: str = "all members") -> None:
    """Takes half a second."""
    await asyncio.sleep(0.5)
    print(f"report sent to {recipient}")


@upkeep.add_task("*/10 * * * * *", description="A synchronous function runs in a thread")
def collect_garbage() -> None:
    """Blocks its thread, and not the event loop."""
    time.sleep(1)
    print("garbage collected")


@upkeep.add_task(
    "*/30 * * * * *",
    retry_backoff=1,
    retry_backoff_max=8,
    max_retries=5,
    description="Fails twice and succeeds with the third attempt",
)
async def flaky(context: RunContext) -> None:
    """Shows real retries. The statistics of the task show the tracebacks."""
    if context.attempt < 3:
        raise ConnectionError(f"attempt {context.attempt} of this run fails on purpose")
    context.logger.info("succeeded at last")


@reports.register_function()
async def greet(name: str = "world") -> None:
    """Has no schedule of its own. POST /task-manager/tasks adds dynamic tasks that call it."""
    print(f"hello, {name}")


app.include_router(manager.get_manager_router(), prefix="/task-manager", tags=["task-manager"])


@app.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """Redirect the address that `make run` prints to the pages of the API."""
    return RedirectResponse("/docs")
