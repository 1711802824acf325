"""Starts and stops at every moment: while a store opens, beside each other, by several applications, or not at all."""

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
from tests.adapters.fastapi.unstable_store import Line, SwitchedStore
from tests.waiting import wait_until_async

KEY = TaskKey("g", "n")


class SlowStore:
    """A store that takes until `door` is opened to be opened. `stubborn`: it swallows an interruption meanwhile."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.door = asyncio.Event()
        self.opening = 0
        self.opened = 0
        self.closed = 0
        self._stubborn = stubborn
        self._store = MemoryStore()

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        self.opening += 1
        try:
            await self.door.wait()
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
async def leaving_nothing() -> AsyncGenerator[None]:
    """By the end of the block every task that was made in it has ended."""
    before = asyncio.all_tasks()
    yield
    await wait_until_async(lambda: asyncio.all_tasks() <= before, "nothing goes on", 5)


# -- a stop while the start is under way ------------------------------------------------------------------------------


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_stop_while_the_store_is_opened_leaves_nothing_behind(stubborn: bool) -> None:
    store = SlowStore(stubborn=stubborn)
    manager = managing(store.open)
    async with leaving_nothing():
        starting = asyncio.create_task(manager.start())
        await wait_until_async(lambda: store.opening == 1, "the store is being opened")
        assert not manager.is_running
        await manager.stop()
        store.door.set()
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
    manager = managing(SwitchedStore(Line.SILENT).open)
    async with leaving_nothing():
        starting = asyncio.create_task(manager.start())
        await wait_until_async(lambda: manager.is_running, "the node runs")
        await manager.stop()
        with pytest.raises(RuntimeError, match="stopped while it was starting"):
            await starting
    assert not manager.is_running


async def test_a_stop_before_anything_has_begun_leaves_nothing_behind() -> None:
    manager = managing()
    async with leaving_nothing():
        starting = asyncio.create_task(manager.start())
        await asyncio.sleep(0)
        await manager.stop()
        with pytest.raises(RuntimeError, match="stopped while it was starting"):
            await starting


async def test_two_starts_share_a_beginning_and_the_last_that_is_cancelled_ends_it() -> None:
    store = SlowStore()
    manager = managing(store.open)
    async with leaving_nothing():
        starts = [asyncio.create_task(manager.start()) for _ in range(3)]
        await wait_until_async(lambda: store.opening == 1, "the store is being opened")
        starts[0].cancel()
        await asyncio.wait({starts[0]})
        store.door.set()
        await asyncio.gather(*starts[1:])
        assert (store.opening, manager.is_running) == (1, True)
        await manager.stop()
        store.door.clear()
        starts = [asyncio.create_task(manager.start()) for _ in range(2)]
        await wait_until_async(lambda: store.opening == 2, "it is being opened again")
        for start in starts:
            start.cancel()
        await asyncio.wait(starts)
    assert (store.opened, store.closed) == (1, 1)


async def test_a_start_while_it_stops_waits_for_the_end_and_begins_anew() -> None:
    door, started = asyncio.Event(), asyncio.Event()

    async def gated() -> None:
        started.set()
        await door.wait()

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
    door.set()
    await asyncio.gather(stopping, starting)
    assert manager.is_running
    assert (await manager.health_check()).worker_id != first
    await manager.stop()


# -- several managers, several applications ---------------------------------------------------------------------------


async def test_several_managers_of_one_application_drain_beside_each_other() -> None:
    """The task of each ends when all have resigned. One after the other they would time out and hand it back."""
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


async def test_a_manager_that_cannot_be_stopped_in_order_keeps_no_other_from_it() -> None:
    @asynccontextmanager
    async def leaking(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        async with MemoryStore().open(clock=clock, retention=retention) as backend:
            yield backend
        raise ConnectionError("the pool is closed already")

    app, events = FastAPI(), [Recorder(), Recorder()]
    async with leaving_nothing():
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


async def test_one_manager_of_two_applications_runs_while_one_of_them_does() -> None:
    store = SlowStore()
    apps = [FastAPI(), FastAPI()]
    manager = managing(store.open)
    for app in apps:
        manager.append_to_app_lifecycle(app)
    lifespans = [app.router.lifespan_context(app) for app in apps]
    entering = [asyncio.create_task(lifespan.__aenter__()) for lifespan in lifespans]
    store.door.set()
    await asyncio.gather(*entering)
    assert store.opening == 1
    await lifespans[0].__aexit__(None, None, None)
    assert manager.is_running
    async with apps[0].router.lifespan_context(apps[0]):
        await lifespans[1].__aexit__(None, None, None)
        assert manager.is_running
    assert not manager.is_running


async def test_an_application_that_fails_to_start_holds_nothing() -> None:
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


async def test_a_stop_by_hand_ends_it_whoever_holds_it() -> None:
    app, manager = build()
    async with app.router.lifespan_context(app):
        await manager.stop()
        assert not manager.is_running
        await manager.start()
        assert manager.is_running
    assert not manager.is_running


# -- no lifespan, or no end of it -------------------------------------------------------------------------------------


@asynccontextmanager
async def mounted(sub: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of an application that has this one mounted."""
    outer = FastAPI()
    outer.mount("/sub", sub)
    transport = httpx.ASGITransport(app=outer)
    async with outer.router.lifespan_context(outer), httpx.AsyncClient(transport=transport, base_url="http://x") as one:
        yield one


async def test_a_manager_of_a_mounted_application_says_that_it_never_starts(caplog: pytest.LogCaptureFixture) -> None:
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


async def test_a_mounted_application_without_the_management_api_says_so_too(caplog: pytest.LogCaptureFixture) -> None:
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


async def test_nothing_stands_between_requests_and_an_application_that_has_started() -> None:
    app = FastAPI()
    before = app.router.middleware_stack
    for _ in range(2):
        TaskManager(app, OperationalConfig(**QUICK), backend=MemoryStore().open)
    assert app.router.middleware_stack != before
    async with serving(app):
        assert app.router.middleware_stack == before


async def test_an_event_loop_that_is_closed_without_a_stop_hands_back_what_runs() -> None:
    """Such is the end of a program that is interrupted, and of a server that is told a second time to end."""
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


async def test_a_manager_outlives_an_event_loop_that_was_closed() -> None:
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
