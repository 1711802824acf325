"""Starts and stops at every moment: while a store opens, at the same time, by several applications, or never."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from fastapi_task_manager.container import SystemClock
from task_manager_core.application import node
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import Event, RunReleased, TermEnded
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import RunState
from task_manager_core.ports import Backend, Clock, OpenBackend
from task_manager_core.testing import Recorder
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import PREFIX, QUICK, build, client_of, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore
from tests.waiting import wait_until_async

KEY = TaskKey("g", "n")


class SlowStore:
    """A store whose opening waits for the event `gate`. With `stubborn` the opening ignores a cancellation."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.gate = asyncio.Event()
        self.opening = 0
        self.opened = 0
        self.closed = 0
        self._stubborn = stubborn
        self._store = MemoryStore()

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        self.opening += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            if not self._stubborn:
                raise
        async with self._store.open(clock=clock, retention=retention) as backend:
            self.opened += 1
            try:
                yield backend
            finally:
                self.closed += 1


def managing(
    backend: OpenBackend | None = None,
    *,
    observer: Recorder | None = None,
    call: Callable[[], Awaitable[None]] | None = None,
) -> TaskManager:
    manager = TaskManager(
        config=OperationalConfig(**QUICK),
        backend=backend or MemoryStore().open,
        observers=[] if observer is None else [observer],
    )
    if call is not None:
        group = TaskGroup("g")
        group.add_task("0 0 1 1 *", name="n", allow_parallel=False)(call)
        manager.add_task_group(group)
    return manager


@asynccontextmanager
async def no_task_left() -> AsyncGenerator[None]:
    """Check at the end of the block that every asyncio task created in it has ended."""
    before = asyncio.all_tasks()
    yield
    await wait_until_async(lambda: asyncio.all_tasks() <= before, "no task is left", 5)


# -- a stop while the start is under way ------------------------------------------------------------------------------


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_stop_while_the_store_is_opened_leaves_nothing_behind(stubborn: bool) -> None:
    store = SlowStore(stubborn=stubborn)
    manager = managing(store.open)
    async with no_task_left():
        starting = asyncio.create_task(manager.start())
        await wait_until_async(lambda: store.opening == 1, "the store is being opened")
        assert not manager.is_running
        await manager.stop()
        store.gate.set()
        with pytest.raises(RuntimeError, match="stopped while it was starting") as caught:
            await starting
    assert isinstance(caught.value, BackendUnavailable)
    assert store.opened == store.closed
    assert not manager.is_running
    await manager.start()
    assert manager.is_running
    await manager.stop()
    assert store.opened == store.closed


async def test_a_stop_before_the_first_pass_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("STOP_STEP_SECONDS", "COURTESY_SECONDS"):
        monkeypatch.setattr(node, bound, 0.05)
    manager = managing(SwitchedStore(Link.SILENT).open)
    async with no_task_left():
        starting = asyncio.create_task(manager.start())
        await wait_until_async(lambda: manager.is_running, "the node runs")
        await manager.stop()
        with pytest.raises(RuntimeError, match="stopped while it was starting"):
            await starting
    assert not manager.is_running


async def test_a_stop_before_anything_has_begun_leaves_nothing_behind() -> None:
    manager = managing()
    async with no_task_left():
        starting = asyncio.create_task(manager.start())
        await asyncio.sleep(0)
        await manager.stop()
        with pytest.raises(RuntimeError, match="stopped while it was starting"):
            await starting


async def test_two_concurrent_starts_share_one_start_that_ends_when_both_are_cancelled() -> None:
    store = SlowStore()
    manager = managing(store.open)
    async with no_task_left():
        starts = [asyncio.create_task(manager.start()) for _ in range(3)]
        await wait_until_async(lambda: store.opening == 1, "the store is being opened")
        starts[0].cancel()
        await asyncio.wait({starts[0]})
        store.gate.set()
        await asyncio.gather(*starts[1:])
        assert (store.opening, manager.is_running) == (1, True)
        await manager.stop()
        store.gate.clear()
        starts = [asyncio.create_task(manager.start()) for _ in range(2)]
        await wait_until_async(lambda: store.opening == 2, "it is being opened again")
        for start in starts:
            start.cancel()
        await asyncio.wait(starts)
    assert (store.opened, store.closed) == (1, 1)


async def test_a_start_during_a_stop_waits_for_its_end_and_starts_again() -> None:
    gate, started = asyncio.Event(), asyncio.Event()

    async def gated() -> None:
        started.set()
        await gate.wait()

    manager = managing(call=gated)
    await manager.start()
    first = (await manager.health_check()).worker_id
    await manager.control.trigger([KEY], "request")
    await wait_until_async(started.is_set, "the task runs")
    stopping = asyncio.create_task(manager.stop())
    await wait_until_async(lambda: not manager.is_running, "it stops")
    assert (await manager.health_check()).reason == "stopping"
    starting = asyncio.create_task(manager.start())
    await asyncio.sleep(0)
    assert not starting.done()
    gate.set()
    await asyncio.gather(stopping, starting)
    assert manager.is_running
    assert (await manager.health_check()).worker_id != first
    await manager.stop()


# -- several managers, several applications ---------------------------------------------------------------------------


async def test_several_managers_of_one_application_drain_at_the_same_time() -> None:
    """Each run ends when all managers have resigned. A manager that drained alone would time out and release it."""
    resigned = [asyncio.Event() for _ in range(3)]
    started = [asyncio.Event() for _ in range(3)]
    released: list[Event] = []
    app = FastAPI()

    class Watching:
        def __init__(self, number: int) -> None:
            self._number = number

        def notice(self, event: Event) -> None:
            if isinstance(event, TermEnded):
                resigned[self._number].set()
            if isinstance(event, RunReleased):
                released.append(event)

    def task(number: int) -> Callable[[], Awaitable[None]]:
        async def waits_for_all() -> None:
            started[number].set()
            for one in resigned:
                await one.wait()

        return waits_for_all

    managers: list[TaskManager] = []
    for number in range(3):
        manager = TaskManager(app, OperationalConfig(**QUICK), backend=MemoryStore().open, observers=[Watching(number)])
        group = TaskGroup("g")
        group.add_task("0 0 1 1 *", name="n")(task(number))
        manager.add_task_group(group)
        # FastAPI wraps the lifespan of the application anew for every router.
        app.include_router(manager.get_manager_router(), prefix=f"/{number}")
        managers.append(manager)
    async with app.router.lifespan_context(app):
        for number, manager in enumerate(managers):
            await wait_until_async(partial(_leads, manager), "it leads")
            await manager.control.trigger([KEY], "request")
            await wait_until_async(started[number].is_set, "the task runs")
    assert released == []
    assert [manager.is_running for manager in managers] == [False] * 3


async def _leads(manager: TaskManager) -> bool:
    return (await manager.health_check()).is_leader


async def test_a_manager_that_fails_to_stop_does_not_prevent_others_from_stopping() -> None:
    @asynccontextmanager
    async def leaking(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        async with MemoryStore().open(clock=clock, retention=retention) as backend:
            yield backend
        raise ConnectionError("the pool is closed already")

    app, events = FastAPI(), [Recorder(), Recorder()]
    async with no_task_left():
        managers = [
            TaskManager(app, OperationalConfig(**QUICK), backend=backend, observers=[recorder])
            for backend, recorder in zip((MemoryStore().open, leaking), events, strict=True)
        ]
        lifespan = app.router.lifespan_context(app)
        await lifespan.__aenter__()
        for manager in managers:
            await wait_until_async(partial(_leads, manager), "it leads")
        with pytest.raises(ConnectionError, match="closed already"):
            await lifespan.__aexit__(None, None, None)
    assert [len(recorder.of(TermEnded)) for recorder in events] == [1, 1]


async def test_a_manager_of_two_applications_runs_while_one_of_them_runs() -> None:
    store = SlowStore()
    apps = [FastAPI(), FastAPI()]
    manager = managing(store.open)
    for app in apps:
        manager.append_to_app_lifecycle(app)
    lifespans = [app.router.lifespan_context(app) for app in apps]
    entering = [asyncio.create_task(lifespan.__aenter__()) for lifespan in lifespans]
    store.gate.set()
    await asyncio.gather(*entering)
    assert store.opening == 1
    await lifespans[0].__aexit__(None, None, None)
    assert manager.is_running
    async with apps[0].router.lifespan_context(apps[0]):
        await lifespans[1].__aexit__(None, None, None)
        assert manager.is_running
    assert not manager.is_running


async def test_an_application_that_fails_to_start_does_not_keep_the_manager_running() -> None:
    failing = FastAPI()
    manager = managing()
    manager.append_to_app_lifecycle(failing)

    @asynccontextmanager
    async def broken(_scope: Any) -> AsyncGenerator[None]:
        async with joined(failing):
            raise LookupError("another part of the application")
        yield

    joined, failing.router.lifespan_context = failing.router.lifespan_context, broken
    app = FastAPI()
    manager.append_to_app_lifecycle(app)
    async with app.router.lifespan_context(app):
        with pytest.raises(LookupError):
            async with failing.router.lifespan_context(failing):
                pytest.fail("it has started")
        assert manager.is_running
    assert not manager.is_running


async def test_an_explicit_stop_ends_a_manager_that_applications_still_use() -> None:
    app, manager = build()
    async with app.router.lifespan_context(app):
        await manager.stop()
        assert not manager.is_running
        await manager.start()
        assert manager.is_running
    assert not manager.is_running


# -- a lifespan that never runs or never ends -------------------------------------------------------------------------


@asynccontextmanager
async def mounted(sub: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of an outer application that mounts this one."""
    outer = FastAPI()
    outer.mount("/sub", sub)
    transport = httpx.ASGITransport(app=outer)
    async with outer.router.lifespan_context(outer), httpx.AsyncClient(transport=transport, base_url="http://x") as one:
        yield one


async def test_a_manager_of_a_mounted_application_reports_that_it_never_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sub, manager = build()
    async with mounted(sub) as client:
        for _ in range(2):
            health = await client.get(f"/sub{PREFIX}/health")
            assert health.status_code == 503
            assert "runs none of a mounted application" in health.json()["reason"]
        assert "mounted application" in (await client.get(f"/sub{PREFIX}/tasks")).json()["detail"]
    with pytest.raises(RuntimeError, match=r"not running: the lifespan .* append_to_app_lifecycle\(outer_app\)"):
        _ = manager.control
    assert [(record.levelname, record.name) for record in caplog.records if "mounted" in record.message] == [
        ("WARNING", "fastapi.task-manager.runner")
    ]


async def test_a_mounted_application_without_the_management_api_reports_it_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sub = FastAPI()
    router = APIRouter()
    router.add_api_route("/hello", lambda: "hello")
    managers = [TaskManager(sub, OperationalConfig(**QUICK), backend=MemoryStore().open) for _ in range(2)]
    sub.include_router(router)
    async with mounted(sub) as client:
        for _ in range(2):
            assert (await client.get("/sub/hello")).json() == "hello"
    assert [manager.is_running for manager in managers] == [False, False]
    assert len([record for record in caplog.records if "mounted" in record.message]) == 2


async def test_a_mounted_application_may_have_its_manager_join_the_outer_one(caplog: pytest.LogCaptureFixture) -> None:
    sub, manager = build()
    outer = FastAPI()
    manager.append_to_app_lifecycle(outer)
    outer.mount("/sub", sub)
    async with outer.router.lifespan_context(outer), client_of(outer) as client:
        client.base_url = httpx.URL(f"http://test/sub{PREFIX}")
        assert (await client.get("/health")).status_code == 200
    assert not manager.is_running
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_no_check_remains_in_front_of_requests_after_the_start() -> None:
    app = FastAPI()
    before = app.router.middleware_stack
    for _ in range(2):
        TaskManager(app, OperationalConfig(**QUICK), backend=MemoryStore().open)
    assert app.router.middleware_stack != before
    async with serving(app):
        assert app.router.middleware_stack == before


async def test_an_event_loop_that_is_closed_without_a_stop_releases_its_runs() -> None:
    """An interrupted program ends in this way, and so does a server that gets a second signal."""
    store = MemoryStore()

    async def program() -> None:
        started = asyncio.Event()

        async def endless() -> None:
            started.set()
            await asyncio.Event().wait()

        manager = managing(store.open, call=endless)
        await manager.start()
        await manager.control.trigger([KEY], "request")
        await wait_until_async(started.is_set, "the task runs")

    await asyncio.to_thread(asyncio.run, program())
    async with store.open(clock=SystemClock(), retention=Retention()) as backend:
        snapshot = await backend.history.snapshot()
        lines = await backend.history.read(KEY, 10)
    assert [(run.state, run.failures) for view in snapshot.tasks for run in view.live] == [(RunState.QUEUED, 0)]
    assert (snapshot.nodes, snapshot.term, lines) == ((), None, ())


async def test_a_manager_starts_again_after_its_event_loop_was_closed() -> None:
    manager = managing()
    await asyncio.to_thread(asyncio.run, manager.start())
    assert not manager.is_running
    assert (await manager.health_check()).reason == "stopped"
    await manager.start()
    assert manager.is_running
    await manager.stop()


async def test_a_manager_is_stopped_in_its_own_event_loop_only() -> None:
    manager = managing()
    await manager.start()
    with pytest.raises(RuntimeError, match="runs in another event loop"):
        await asyncio.to_thread(asyncio.run, manager.stop())
    assert manager.is_running
    await manager.stop()
