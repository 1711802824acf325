"""Tasks whose functions are called in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends

from fastapi_task_manager import TaskGroup
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.run import RunState
from tests.adapters.fastapi.application import answer, build, serving
from tests.application import process_functions
from tests.application.process_functions import is_running
from tests.waiting import wait_until, wait_until_async

YEARLY = "0 0 1 1 *"
SOON = 60.0
"""Seconds. To start a process takes long on a busy machine."""


def needs_something(thing: Annotated[int, Depends(lambda: 1)]) -> None: ...


def group_of_them() -> TaskGroup:
    group = TaskGroup("Compute", executor="process")
    once: dict[str, Any] = {"max_retries": 0}
    group.add_task(YEARLY, kwargs={"day": date(2026, 2, 28), "days": 1}, **once)(process_functions.days_after)
    group.add_task(YEARLY, kwargs={"seconds": 600}, name="late", timeout=0.2, **once)(process_functions.computes)
    group.add_task(YEARLY, kwargs={"seconds": 600}, name="cancelled", **once)(process_functions.computes)
    group.add_task(YEARLY, **once)(process_functions.ends_its_process)
    group.add_task(YEARLY, kwargs={"text": "on purpose"}, **once)(process_functions.fails)
    group.add_task(YEARLY)(process_functions.waits)  # The default of a group is about synchronous functions.
    return group


async def test_functions_in_processes_of_their_own(tmp_path: Path) -> None:
    """One application for all of it: each process imports the module of its function."""
    app, manager = build(group_of_them(), process_pool_size=1)
    async with serving(app) as client:

        async def line(task: str) -> dict[str, Any]:
            """The line of history of a run."""
            await (await manager.trigger(("Compute", task))).wait(SOON)
            runs = (await answer(client, "GET", f"/tasks/Compute/{task}/statistics"))["runs"]
            found: dict[str, Any] = runs[0]
            return found

        computed = await line("days_after")
        assert (computed["status"], computed["result"]) == ("succeeded", "2026-03-01")
        late = await line("late")
        assert (late["status"], late["error_message"]) == ("failed", "timed out within 0.2 s; its process was killed")
        crashed = await line("ends_its_process")
        assert (crashed["status"], crashed["error_message"]) == ("failed", "its process ended with the exit code 7")
        failed = await line("fails")
        assert (failed["error_type"], "in fails" in failed["error_traceback"]) == ("KeyError", True)
        assert (await line("waits"))["status"] == "succeeded"

        file = tmp_path / "pid"
        handle = await manager.trigger(("Compute", "cancelled"), seconds=600, file=str(file))
        await wait_until_async(lambda: file.exists() and file.read_text(), "the function computes", SOON)
        assert await handle.cancel()
        assert await handle.wait(SOON) is RunState.CANCELLED
        await wait_until_async(lambda: not is_running(int(file.read_text())), "its process was killed", SOON)

        file.unlink()
        await manager.trigger(("Compute", "cancelled"), seconds=600, file=str(file))
        await wait_until_async(lambda: file.exists() and file.read_text(), "the function computes again", SOON)
    wait_until(lambda: not is_running(int(file.read_text())), "the stop of the manager ends its process", SOON)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda: None, "another process cannot find a lambda"),
        (process_functions.asks_for_its_run, "asks for the RunContext"),
        (needs_something, "has dependencies"),
        (process_functions.waits, "waits is a coroutine"),
    ],
)
def test_a_function_that_cannot_travel_is_refused_at_the_decorator(function: Callable[..., Any], why: str) -> None:
    group = TaskGroup("Compute")
    decorators = (
        group.add_task(YEARLY, name="task", executor="process"),
        group.register_function("function", executor="process"),
    )
    for decorate in decorators:
        with pytest.raises(DefinitionError, match=why) as refused:
            decorate(function)
        assert refused.value.field == "executor"
    assert group.tasks == []


def test_an_executor_that_does_not_exist_is_refused() -> None:
    wrong: Any = "fork"
    for declare in (
        lambda: TaskGroup("Compute", executor=wrong),
        lambda: TaskGroup("Compute").add_task(YEARLY, executor=wrong),
        lambda: TaskGroup("Compute").register_function(executor=wrong),
    ):
        with pytest.raises(DefinitionError, match='executor=\'fork\': must be "thread" or "process"'):
            declare()
    with pytest.raises(DefinitionError, match="executor='thread': waits is a coroutine"):
        TaskGroup("Compute").add_task(YEARLY, executor="thread")(process_functions.waits)


def test_a_function_has_one_executor_for_dynamic_tasks() -> None:
    group = TaskGroup("Compute")
    group.add_task(YEARLY)(process_functions.knows_its_process)
    with pytest.raises(DefinitionError, match="is registered with the executor 'thread'"):
        group.register_function(executor="process")(process_functions.knows_its_process)
    group.register_function(executor="thread")(process_functions.knows_its_process)


async def test_a_test_calls_them_in_its_own_process() -> None:
    group = TaskGroup("Compute", executor="process")
    group.add_task(YEARLY)(process_functions.knows_its_process)
    _, manager = build(group)
    async with manager.testing() as clock:
        handle = await manager.trigger(process_functions.knows_its_process)
        await clock.until_idle()
        assert (await handle.result()) == os.getpid()
