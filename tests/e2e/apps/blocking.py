"""Tasks that block their process."""

from __future__ import annotations

import asyncio
import os
import time

from fastapi_task_manager import RunContext, TaskGroup
from tests.e2e.apps.parts import application, effects, folder

log = effects()
app, manager = application()
group = TaskGroup("Blocking")
manager.add_task_group(group)

YEARLY = "0 0 1 1 *"


@group.add_task("* * * * * *", catch_up="all")
async def steady(context: RunContext) -> None:
    with log.recording(context):
        pass


@group.add_task(YEARLY)
async def blocks(context: RunContext, seconds: float = 0.0) -> None:
    """The first attempt blocks the event loop, once the test opens the gate: it has the answer to its request then."""
    with log.recording(context):
        while not (folder() / "gate").exists():  # noqa: ASYNC110 - the gate is opened by another process
            await asyncio.sleep(0.02)
        if context.attempt == 1:
            time.sleep(seconds)  # noqa: ASYNC251 - this is what the test is about


@group.add_task(YEARLY, executor="process")
def computes() -> None:
    """The first attempt has no end. Each attempt leaves a file with the ids of its process and of its worker."""
    first = folder() / "computes-1"
    with (folder() / "computes-2" if first.exists() else first).open("x") as file:
        file.write(f"{os.getpid()} {os.getppid()}")
    while file.name == str(first):
        pass
