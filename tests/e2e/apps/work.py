"""The tasks of the end-to-end tests. E2E_GROUPS chooses the groups of a process, for example "Clock,Work"."""

from __future__ import annotations

import asyncio
import os
import time

from fastapi_task_manager import RunContext, TaskGroup
from tests.e2e.apps.parts import GROUPS_VARIABLE, application, effects, folder

EVERY_SECOND = "* * * * * *"
YEARLY = "0 0 1 1 *"
FOR_EVER = 3600.0

log = effects()
app, manager = application()

clock = TaskGroup("Clock")
work = TaskGroup("Work")
# If group and task were joined by an underscore, these two tasks would have the same name.
left = TaskGroup("a_b")
right = TaskGroup("a")


@clock.add_task(EVERY_SECOND, catch_up="all")
async def steady(context: RunContext) -> None:
    """With catch_up="all" no slot is skipped, also if a busy machine delays it."""
    with log.recording(context):
        pass


@clock.add_task(EVERY_SECOND)
async def plain(context: RunContext) -> None:
    """A task with all defaults."""
    with log.recording(context):
        pass


@work.add_task(YEARLY)
async def quick(context: RunContext, note: str = "") -> None:
    with log.recording(context):
        pass


@work.add_task(YEARLY)
async def lasting(context: RunContext, seconds: float = 0.0) -> None:
    with log.recording(context):
        await asyncio.sleep(seconds)


@work.add_task(YEARLY)
def lasting_in_a_thread(context: RunContext, seconds: float = 0.0) -> None:
    with log.recording(context):
        time.sleep(seconds)


@work.add_task(YEARLY)
async def gated(context: RunContext, gate: str = "gate") -> None:
    """Runs until the test opens the gate. So the test decides on the order of events, and needs no measured times."""
    with log.recording(context):
        while not (folder() / gate).exists():  # noqa: ASYNC110 - the gate is opened by another process
            await asyncio.sleep(0.02)


@work.add_task(YEARLY)
async def stuck_at_first(context: RunContext) -> None:
    """The first attempt never ends by itself: the test kills its process."""
    with log.recording(context):
        await asyncio.sleep(FOR_EVER if context.attempt == 1 else 0)


@work.add_task(YEARLY)
async def failing(context: RunContext, failures: int = 0) -> None:
    """Fails in the first `failures` attempts, then succeeds."""
    with log.recording(context):
        if context.attempt <= failures:
            raise ConnectionError(f"attempt {context.attempt} fails on purpose")


@work.register_function()
async def dynamic(context: RunContext, word: str = "") -> None:
    with log.recording(context):
        pass


@left.add_task(YEARLY, name="c")
async def left_task(context: RunContext) -> None:
    with log.recording(context):
        pass


@right.add_task(YEARLY, name="b_c")
async def right_task(context: RunContext) -> None:
    with log.recording(context):
        pass


chosen = os.environ.get(GROUPS_VARIABLE, "Clock,Work").split(",")
for group in (clock, work, left, right):
    if group.name in chosen:
        manager.add_task_group(group)


if os.environ.get("E2E_NEWER"):

    @work.register_function()
    async def newer(context: RunContext) -> None:
        """A function that only the newer version of the application has."""
        with log.recording(context):
            pass
