"""Callbacks are called once, after the store has accepted an outcome, and delay nothing. Hooks surround the node."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from fastapi_task_manager import Callbacks, OperationalConfig, RunContext, TaskGroup, TaskManager
from task_manager_core.application import callbacks
from task_manager_core.application.callbacks import CallbackRunner
from task_manager_core.application.worker import Worker
from task_manager_core.domain.errors import BackendUnavailable, DefinitionError
from task_manager_core.domain.events import RunSettled
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import Claim, Settlement
from task_manager_core.ports import Backend, Clock, OpenBackend
from task_manager_memory import MemoryStore
from task_manager_memory.run_queue import MemoryRunQueue
from tests.adapters.fastapi.application import PREFIX, QUICK, answer, serving
from tests.waiting import wait_until_async

LOG = "fastapi.task-manager.runner"


def application(
    group: TaskGroup, *, backend: Any = None, settings: dict[str, Any] | None = None, **more: Any
) -> FastAPI:
    app = FastAPI()
    config = OperationalConfig(**(QUICK | (settings or {})))
    manager = TaskManager(app, config, backend=backend or MemoryStore().open, **more)
    manager.add_task_group(group)
    app.include_router(manager.get_manager_router(), prefix=PREFIX)
    return app


def noting(called: list[str], level: str) -> Callbacks:
    async def on_success(context: RunContext) -> None:
        called.append(f"{level} success {context.task} {context.attempt}")

    def on_retry(context: RunContext, error: BaseException) -> None:
        assert threading.current_thread() is not threading.main_thread()
        called.append(f"{level} retry {context.attempt} {error}")

    async def on_failure(context: RunContext, error: BaseException) -> None:
        called.append(f"{level} failure {context.attempt} {error}")

    return Callbacks(on_success=on_success, on_retry=on_retry, on_failure=on_failure)


async def test_a_run_that_lost_its_workers_too_often_is_a_failure_for_the_callbacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process has lost it. The one that claims it next calls them, and does not call the function."""
    called: list[str] = []
    group = TaskGroup("g", callbacks=noting(called, "group"))

    @group.add_task("0 0 1 1 *", name="n", max_lost_attempts=0)
    async def never() -> None:
        called.append("executed")

    claim = MemoryRunQueue.claim

    async def after_a_loss(self: MemoryRunQueue, *args: Any, **more: Any) -> tuple[Claim, ...]:
        return tuple(replace(one, attempt=2, losses=1) for one in await claim(self, *args, **more))

    monkeypatch.setattr(MemoryRunQueue, "claim", after_a_loss)
    async with serving(application(group)) as client:
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "n"})
        await wait_until_async(lambda: bool(called), "the callback is called")
    assert called == ["group failure 2 1 attempts lost their worker"]


async def test_task_group_and_manager_are_called_in_this_order(open_backend: OpenBackend) -> None:
    called: list[str] = []
    group = TaskGroup("g", callbacks=noting(called, "group"))

    @group.add_task("0 0 1 1 *", callbacks=noting(called, "task"))
    async def well() -> None: ...

    @group.add_task("0 0 1 1 *", max_retries=1)
    async def badly() -> None:
        raise ValueError("no")

    app = application(group, backend=open_backend, callbacks=noting(called, "manager"))
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "well"})
        await wait_until_async(lambda: len(called) == 3, "all are called")
        assert sorted(called) == ["group success g/well 1", "manager success g/well 1", "task success g/well 1"]
        called.clear()
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "badly"})
        await wait_until_async(lambda: len(called) == 4, "all are called")
        assert sorted(called) == [
            "group failure 2 no",
            "group retry 1 no",
            "manager failure 2 no",
            "manager retry 1 no",
        ]


async def test_skipped_slots_are_told_by_the_leader(open_backend: OpenBackend) -> None:
    told: list[tuple[TaskKey, Skipped]] = []
    group = TaskGroup("g")

    @group.add_task("* * * * * *", callbacks=Callbacks(on_skip=lambda key, skipped: told.append((key, skipped))))
    async def often() -> None: ...

    async with serving(application(group, backend=open_backend)) as client:
        await answer(client, "POST", "/tasks/disable", params={"task_name": "often"})
        await wait_until_async(lambda: told, "a slot is skipped")
    key, skipped = told[0]
    assert (str(key), skipped.reason.value) == ("g/often", "paused")


class _Settling:
    """A store whose settlements fail, are refused, or lose their answers, while a test says so."""

    def __init__(self, inner: OpenBackend) -> None:
        self.away = self.refuses = self.is_mute = False
        self.asked = 0
        self._inner = inner

    def was_asked_after(self, number: int) -> bool:
        return self.asked > number

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        async with self._inner(clock=clock, retention=retention) as backend:
            settle = backend.queue.settle

            async def settle_or_not(settlements: Sequence[Settlement]) -> Collection[Claim]:
                self.asked += 1
                if self.away:
                    raise BackendUnavailable("away")
                if self.refuses:
                    return frozenset(one.claim for one in settlements)
                lost = await settle(settlements)
                if self.is_mute:
                    raise BackendUnavailable("the answer is lost")
                return lost

            backend.queue.settle = settle_or_not  # type: ignore[method-assign,assignment]
            yield replace(backend)


async def triggered(store: _Settling, called: list[str]) -> AsyncGenerator[None]:
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", callbacks=noting(called, "task"))
    async def well() -> None: ...

    async with serving(application(group, backend=store.open)) as client:
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "well"})
        await wait_until_async(lambda: store.asked, "it is to be settled")
        yield


async def test_a_callback_waits_until_the_settlement_is_accepted(open_backend: OpenBackend) -> None:
    store, called = _Settling(open_backend), list[str]()
    store.away = True
    async for _ in triggered(store, called):
        assert called == []
        store.away = False
        await wait_until_async(lambda: called, "it is called")
    assert called == ["task success g/well 1"]


async def called_although_refused(open_backend: OpenBackend) -> list[str]:
    store, called = _Settling(open_backend), list[str]()
    store.refuses = True
    async for _ in triggered(store, called):
        pass  # The stop waits for callbacks.
    return called


async def test_a_refused_settlement_calls_nothing(open_backend: OpenBackend) -> None:
    assert await called_although_refused(open_backend) == []


async def test_a_settlement_that_is_refused_when_it_is_repeated_calls_nothing(open_backend: OpenBackend) -> None:
    """The first request was lost, and the claim is over when the worker asks again."""
    store, called = _Settling(open_backend), list[str]()
    store.away = True
    async for _ in triggered(store, called):
        store.away, store.refuses = False, True
        await wait_until_async(functools.partial(store.was_asked_after, store.asked), "it is settled again")
    assert called == []


async def test_a_settlement_whose_answer_was_lost_calls_once(open_backend: OpenBackend) -> None:
    store, called = _Settling(open_backend), list[str]()
    store.is_mute = True
    async for _ in triggered(store, called):
        assert called == []
        store.is_mute = False
        await wait_until_async(lambda: called, "it is called")
    assert called == ["task success g/well 1"]


async def test_the_test_finds_a_worker_that_tells_before_it_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted defect."""
    settle = Worker.settle

    async def tells_first(self: Worker) -> float | None:
        for finished in self._finished:
            self._observer.notice(RunSettled(node=self._node, settlement=finished.settlement, error=finished.error))
        return await settle(self)

    monkeypatch.setattr(Worker, "settle", tells_first)
    assert await called_although_refused(MemoryStore().open) != []


async def test_an_exception_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ends: list[str] = []

    def fails(context: RunContext) -> None:
        raise SystemExit(f"{context.task}")

    async def fails_too(context: RunContext) -> None:
        raise ValueError(f"{context.task}")

    group = TaskGroup("g", callbacks=Callbacks(on_success=fails_too))

    @group.add_task("0 0 1 1 *", callbacks=Callbacks(on_success=fails))
    async def well() -> None: ...

    app = application(group, callbacks=Callbacks(on_success=lambda _: ends.append("end")))
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "well"})
        await wait_until_async(lambda: ends, "the next one is called")
        runs = (await answer(client, "GET", "/tasks/g/well/statistics"))["runs"]
        assert [run["status"] for run in runs] == ["succeeded"]
    logged = [record for record in caplog.records if record.name == LOG and record.levelno >= logging.WARNING]
    assert [record.levelno for record in logged] == [logging.ERROR] * 2


async def test_callbacks_that_hang_delay_no_run_and_no_stop(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[int] = []
    door = threading.Event()

    async def hangs(context: RunContext) -> None:
        await asyncio.sleep(3600)

    def hangs_in_thread(context: RunContext) -> None:
        door.wait(20)

    group = TaskGroup("g", callbacks=Callbacks(on_success=hangs))

    @group.add_task("0 0 1 1 *", callbacks=Callbacks(on_success=hangs_in_thread))
    async def well() -> None:
        ran.append(1)

    def has(number: int) -> bool:
        return len(ran) == number

    async with serving(application(group, settings={"shutdown_timeout": 0.1})) as client:
        for number in range(1, 31):
            await answer(client, "POST", "/tasks/trigger", params={"task_name": "well"})
            await wait_until_async(functools.partial(has, number), "it runs")
        began = time.monotonic()
    door.set()
    assert time.monotonic() - began < 10
    assert "60 callbacks have not ended with the process" in caplog.text


async def test_a_callback_that_takes_too_long_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callbacks, "LONGEST_CALLBACK", 0.01)
    monkeypatch.setattr(callbacks, "MOST_WAITING", 3)
    monkeypatch.setattr(callbacks, "AT_ONCE", 1)
    ended: list[str] = []

    async def hangs() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("interrupted")

    class _Nothing:
        def callbacks_of(self, key: TaskKey) -> list[Callbacks]:
            return []

    runner = CallbackRunner(_Nothing(), logging.getLogger("tests"))
    for _ in range(5):
        runner._add("on_success", {}, hangs)
    await runner.finish(20)
    assert ended == ["interrupted"] * 3
    assert "2 callbacks were not called" in caplog.text


async def test_hooks_surround_the_node_and_give_a_state(open_backend: OpenBackend) -> None:
    order: list[str] = []

    class Pool:
        pass

    pool = Pool()

    def startup() -> Pool:
        order.append("startup")
        return pool

    async def shutdown(state: object) -> None:
        assert state is pool
        order.append("shutdown")

    group = TaskGroup("g")

    async def succeeded(context: RunContext) -> None:
        assert context.state is pool
        order.append("callback")

    @group.add_task("0 0 1 1 *", callbacks=Callbacks(on_success=succeeded))
    async def well(context: RunContext) -> None:
        assert context.state_of(Pool) is pool
        with pytest.raises(TypeError, match="not a str"):
            context.state_of(str)
        order.append("run")

    app = application(group, backend=open_backend, startup=startup, shutdown=shutdown)
    for _ in range(2):
        async with serving(app) as client:
            await answer(client, "POST", "/tasks/trigger", params={"task_name": "well"})
            await wait_until_async(lambda: "run" in order, "it runs")
        assert order == ["startup", "run", "callback", "shutdown"]
        order.clear()


async def test_a_startup_hook_that_fails_is_the_error_of_the_start(open_backend: OpenBackend) -> None:
    async def startup() -> None:
        raise ConnectionError("no database")

    app = application(TaskGroup("g"), backend=open_backend, startup=startup)
    with pytest.raises(ConnectionError, match="no database"):
        async with serving(app):
            raise AssertionError("it has started")


async def test_a_shutdown_hook_that_fails_is_logged(
    open_backend: OpenBackend, caplog: pytest.LogCaptureFixture
) -> None:
    def shutdown(state: object) -> None:
        raise ValueError(f"{state} cannot be closed")

    async with serving(application(TaskGroup("g"), backend=open_backend, shutdown=shutdown)):
        pass
    assert "the shutdown hook raised" in caplog.text


@pytest.mark.parametrize("given", [{"on_success": 1}, {"on_skip": "f"}])
def test_what_cannot_be_called_is_refused(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(DefinitionError, match=name):
        Callbacks(**given)


@pytest.mark.parametrize(
    "make", [lambda given: TaskGroup("g", callbacks=given), lambda given: TaskGroup("g").add_task(callbacks=given)]
)
def test_callbacks_of_another_kind_are_refused(make: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match="callbacks must be Callbacks"):
        make(print)
