"""A manager in a test of an application: on memory, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from fastapi_task_manager import Callbacks, OperationalConfig, RunContext, TaskGroup, TaskManager
from fastapi_task_manager.testing import StepLimitError
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.run import RunState
from task_manager_core.ports import Backend
from tests.adapters.fastapi.application import PREFIX, answer, build, client_of

NEVER = "0 0 29 2 *"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def unreachable(**_: Any) -> AbstractAsyncContextManager[Backend]:
    """A store that a test must not open."""
    raise AssertionError("the test opened the store of the application")


def manager_of(group: TaskGroup, **settings: Any) -> TaskManager:
    _, manager = build(group, backend=unreachable, **settings)
    return manager


async def test_advance_executes_every_slot_at_its_instant_and_in_order() -> None:
    group, seen = TaskGroup("g"), list[tuple[str, datetime | None]]()

    @group.add_task("*/20 * * * *")
    async def often(context: RunContext) -> None:
        seen.append(("often", context.slot))

    @group.add_task("30 * * * *")
    def in_a_thread(context: RunContext) -> None:
        assert threading.current_thread() is not threading.main_thread()
        seen.append(("thread", context.slot))

    async with manager_of(group).testing(now=NOON) as clock:
        await clock.advance(hours=1, minutes=10)
        assert clock.now() == NOON + timedelta(minutes=70)
        minutes = [(name, (slot - NOON) / timedelta(minutes=1)) for name, slot in seen if slot is not None]
        assert minutes == [("often", 20), ("thread", 30), ("often", 40), ("often", 60)]
        assert [(run.name, run.started_at == run.slot, run.status) for run in clock.runs] == [
            ("often", True, "succeeded"),
            ("in_a_thread", True, "succeeded"),
            ("often", True, "succeeded"),
            ("often", True, "succeeded"),
        ]
        assert clock.failures == []


async def test_advance_waits_for_each_backoff_on_its_clock() -> None:
    group, at = TaskGroup("g"), list[datetime]()

    @group.add_task("0 * * * *", max_retries=3, retry_backoff=60, retry_backoff_max=3600)
    async def fails() -> None:
        at.append(clock.now())
        raise ConnectionError("away")

    async with manager_of(group).testing(now=NOON) as clock:
        await clock.advance(hours=1, minutes=30)
    assert [(instant - NOON) / timedelta(minutes=1) for instant in at] == [60, 61, 63, 67]
    assert [run.status for run in clock.failures] == ["retried", "retried", "retried", "failed"]
    assert len({run.run_id for run in clock.runs}) == 1
    assert [str(run.error) for run in clock.runs] == ["away"] * 4


async def test_the_same_test_sees_the_same_runs_each_time() -> None:
    group = TaskGroup("g")

    @group.add_task("*/7 * * * * *", max_retries=2)
    async def sometimes(context: RunContext) -> None:
        if context.slot is not None and context.slot.second % 2 and context.attempt == 1:
            raise ValueError(context.slot)

    @group.add_task("*/5 * * * * *")
    async def other() -> None: ...

    manager, seen = manager_of(group, retry_backoff=1.0), list[list[tuple[object, ...]]]()
    for _ in range(2):
        async with manager.testing(now=NOON) as clock:
            await clock.advance(minutes=3)
            seen.append([(run.name, run.slot, run.attempt, run.started_at, run.status) for run in clock.runs])
    assert seen[0] == seen[1]
    assert len(seen[0]) > 60


async def test_a_day_of_an_hourly_task_takes_no_hour() -> None:
    group, count = TaskGroup("g"), [0]

    @group.add_task("* * * * * *")
    async def every_second() -> None:
        count[0] += 1

    async with manager_of(group).testing() as clock:
        await clock.advance(hours=1)
    assert count == [3600]


async def test_a_trigger_waits_for_until_idle() -> None:
    group, seen = TaskGroup("g"), list[str]()

    @group.add_task(NEVER)
    async def task(name: str = "") -> None:
        seen.append(name)

    app, manager = build(group, backend=unreachable)
    async with manager.testing(now=NOON) as clock, client_of(app) as client:
        assert [task["name"] for task in await answer(client, "GET", "/tasks")] == ["task"]
        await answer(client, "POST", "/tasks/trigger", json={"kwargs": {"name": "Ada"}})
        assert seen == []
        await clock.until_idle()
        assert seen == ["Ada"]
        assert clock.now() == NOON
        (run,) = (await answer(client, "GET", "/tasks/g/task/statistics"))["runs"]
        assert run["run_date"] == "2026-03-01T12:00:00Z"
        health = await answer(client, "GET", "/health")
        assert (health["status"], health["is_leader"]) == ("healthy", True)


async def test_code_triggers_a_run_and_waits_for_it() -> None:
    group, sums = TaskGroup("g"), list[int]()

    @group.register_function()
    async def add(a: int, b: int) -> None:
        sums.append(a + b)

    manager = manager_of(group)
    async with manager.testing() as clock:
        run = await manager.trigger(add, 1, b=2)
        await clock.until_idle()
        assert await run.wait() is RunState.SUCCEEDED
    async with manager.testing(eager=True):
        assert await (await manager.trigger(add, 3, b=4)).status() is RunState.SUCCEEDED
    assert sums == [3, 7]


async def test_a_run_that_another_run_triggers_and_waits_for_is_executed_meanwhile() -> None:
    group, done = TaskGroup("g"), asyncio.Event()

    @group.add_task(NEVER)
    async def outer() -> None:
        async with client_of(app) as client:
            await answer(client, "POST", "/tasks/trigger", params={"task_name": "inner"})
        await done.wait()

    @group.add_task(NEVER)
    async def inner() -> None:
        done.set()

    app, manager = build(group, backend=unreachable)
    for eager in (False, True):
        done.clear()
        async with manager.testing(eager=eager) as clock, client_of(app) as client:
            await answer(client, "POST", "/tasks/trigger", params={"task_name": "outer"})
            await clock.until_idle()
            assert [run.name for run in clock.runs] == ["inner", "outer"]


def test_an_eager_trigger_has_executed_when_the_test_client_gets_its_answer() -> None:
    group, seen = TaskGroup("g"), list[str]()

    @group.add_task("0 * * * *")
    async def task() -> None:
        seen.append("run")

    app, manager = build(group, backend=unreachable)
    with manager.testing(now=NOON, eager=True) as clock, TestClient(app) as client:
        assert client.post(f"{PREFIX}/tasks/trigger").status_code == 200
        assert seen == ["run"]
        clock.advance(hours=3)
        assert seen == ["run"] * 4
        clock.until_idle()
    assert [run.slot for run in clock.runs][:2] == [None, NOON + timedelta(hours=1)]
    assert not manager.is_running


def test_a_blocking_clock_says_what_it_lacks() -> None:
    app, manager = build(TaskGroup("g"), backend=unreachable)
    with manager.testing() as clock:
        with pytest.raises(RuntimeError, match="has not started yet"):
            clock.until_idle()
        with TestClient(app):
            clock.until_idle()
        with pytest.raises(RuntimeError, match="is not running"):
            clock.until_idle()


async def test_a_blocking_clock_does_not_block_the_loop_of_its_manager() -> None:
    app, manager = build(TaskGroup("g"), backend=unreachable)
    with manager.testing() as clock:
        async with app.router.lifespan_context(app):
            with pytest.raises(RuntimeError, match="use `async with manager"):
                clock.until_idle()


async def test_the_lifespan_of_the_application_may_run_inside() -> None:
    app, manager = build(TaskGroup("g"), backend=unreachable)
    async with manager.testing() as clock, app.router.lifespan_context(app):
        await clock.advance(days=400)
        assert manager.is_running
    assert not manager.is_running


async def test_a_test_leaves_no_dynamic_task_behind() -> None:
    group = TaskGroup("g")

    @group.register_function()
    async def function() -> None: ...

    group.add_dynamic_task("function", "0 * * * *", name="before")
    manager = manager_of(group)
    for _ in range(2):
        async with manager.testing(now=NOON) as clock:
            group.add_dynamic_task("function", "0 * * * *", name="by the group")
            await manager.add_dynamic_task("g", "function", "0 * * * *", name="by the manager")
            await clock.advance(hours=1)
            assert sorted(run.name for run in clock.runs) == ["before", "by the group", "by the manager"]
            group.remove_dynamic_task("before")
            await clock.advance(hours=1)
            assert [run.name for run in clock.runs].count("before") == 1
        assert [task.name for task in group.tasks] == ["before"]


async def test_the_clock_waits_for_callbacks_and_hooks_give_their_state() -> None:
    group, called = TaskGroup("g"), list[str]()

    async def on_success(context: RunContext) -> None:
        await asyncio.sleep(0)
        called.append(f"{context.task} {context.attempt} {context.state}")

    def on_skip(key: TaskKey, skipped: Skipped) -> None:
        called.append(f"{key} {skipped.reason.value}")

    @group.add_task("0 * * * *", callbacks=Callbacks(on_success=on_success, on_skip=on_skip))
    async def task() -> None: ...

    app = FastAPI()
    manager = TaskManager(app, OperationalConfig(), backend=unreachable, startup=lambda: "state")
    manager.add_task_group(group)
    async with manager.testing(now=NOON) as clock:
        await clock.advance(hours=1)
        assert called == ["g/task 1 state"]
        await manager.control.pause([TaskKey("g", "task")])
        await clock.advance(hours=1)
        assert called[1:] == ["g/task paused"]


async def test_a_callback_that_does_not_end_is_named() -> None:
    group, released = TaskGroup("g"), asyncio.Event()

    async def on_success(_: RunContext) -> None:
        await released.wait()

    @group.add_task("0 * * * *", callbacks=Callbacks(on_success=on_success))
    async def task() -> None: ...

    async with manager_of(group).testing(patience=0.05) as clock:
        with pytest.raises(StepLimitError, match="1 callbacks have not ended"):
            await clock.advance(hours=1)
        released.set()


async def test_a_pause_skips_and_a_cancellation_interrupts() -> None:
    group, began = TaskGroup("g"), asyncio.Event()

    @group.add_task("0 * * * *")
    async def paused() -> None: ...

    @group.add_task(NEVER)
    async def hangs() -> None:
        began.set()
        await asyncio.Event().wait()

    app, manager = build(group, backend=unreachable)
    async with manager.testing(now=NOON) as clock, client_of(app) as client:
        await answer(client, "POST", "/tasks/disable", params={"task_name": "paused"})
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "hangs"})
        idle = asyncio.create_task(clock.until_idle())
        await began.wait()
        await answer(client, "POST", "/tasks/cancel", params={"task_name": "hangs"})
        await idle
        await clock.advance(hours=2)
        assert [(run.name, run.status) for run in clock.runs] == [("hangs", "cancelled")]


async def test_a_run_that_does_not_end_is_named() -> None:
    group = TaskGroup("g")

    @group.add_task("0 * * * *")
    async def hangs() -> None:
        await asyncio.Event().wait()

    async with manager_of(group).testing(patience=0.05) as clock:
        with pytest.raises(StepLimitError, match="executing: g/hangs"):
            await clock.advance(hours=1)


async def test_a_run_cannot_wait_for_the_clock() -> None:
    group = TaskGroup("g")

    @group.add_task("0 * * * *", max_retries=0)
    async def task() -> None:
        await clock.advance(hours=1)

    async with manager_of(group).testing() as clock:
        await clock.advance(hours=1)
    assert "the clock waits for the run" in str(clock.failures[0].error)


async def test_a_manager_is_tested_while_it_does_nothing_else() -> None:
    app, manager = build(TaskGroup("g"))
    async with app.router.lifespan_context(app):
        with pytest.raises(RuntimeError, match="stop the manager before its test"):
            await manager.testing().__aenter__()
    async with manager.testing():
        with pytest.raises(RuntimeError, match="under test already"):
            manager.testing().__enter__()
    await manager.start()
    assert manager.is_running
    await manager.stop()


async def test_bad_arguments_are_named() -> None:
    manager = manager_of(TaskGroup("g"))
    with pytest.raises(ValueError, match="patience=0"):
        manager.testing(patience=0)
    with pytest.raises(ValueError, match="not an aware instant"):
        manager.testing(now=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
    async with manager.testing() as clock:
        with pytest.raises(ValueError, match="time does not go back"):
            await clock.advance(hours=-1)
