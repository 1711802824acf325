"""Tasks that block their process."""

from __future__ import annotations

import time

from fastapi_task_manager import RunContext, TaskGroup
from tests.e2e.apps.parts import application, effects

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
    """The first attempt blocks the event loop."""
    with log.recording(context):
        if context.attempt == 1:
            time.sleep(seconds)  # noqa: ASYNC251 - this is what the test is about
