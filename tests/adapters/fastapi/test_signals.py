"""SIGTERM and SIGINT: the node leaves at the signal, and every handler that was installed is called as before."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import pytest

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from fastapi_task_manager import runtime as life
from fastapi_task_manager.container import SystemClock
from fastapi_task_manager.signals import END_SIGNALS, MOST_LINKS, EndSignals, Listener
from task_manager_core.domain.events import ClaimLost, RunReleased, RunSettled, RunStarted, TermEnded
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import LeadershipTransition
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import RunState, Succeeded
from task_manager_core.testing import Recorder
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import QUICK
from tests.waiting import wait_until_async

KEY = TaskKey("g", "n")
PATIENT: dict[str, Any] = QUICK | {"shutdown_timeout": 60}


class Handler:
    """A handler of the server or of the application. `before`: the one that it calls, as a good one does."""

    def __init__(self, before: object = None) -> None:
        self.heard: list[int] = []
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.heard.append(number)
        if callable(self._before):
            self._before(number, frame)


class Program:
    """A process with one running task, which goes on until its door is opened."""

    def __init__(self) -> None:
        self.events = Recorder()
        self.started, self.door = asyncio.Event(), asyncio.Event()
        self.store = MemoryStore()
        group = TaskGroup("g")
        group.add_task("0 0 1 1 *", name="n")(self._gated)
        self.manager = TaskManager(
            config=OperationalConfig(**PATIENT), backend=self.store.open, observers=[self.events]
        )
        self.manager.add_task_group(group)

    async def _gated(self) -> None:
        self.started.set()
        await self.door.wait()

    async def start(self) -> None:
        await self.manager.start()
        await wait_until_async(self.leads, "it leads")
        await self.trigger("first")
        await wait_until_async(self.started.is_set, "the task runs")

    async def leads(self) -> bool:
        return (await self.manager.health_check()).is_leader

    async def trigger(self, request: str) -> None:
        await self.manager.control.trigger([KEY], request)

    async def live(self) -> list[tuple[RunState, int]]:
        async with self.store.open(clock=SystemClock(), retention=Retention()) as backend:
            snapshot = await backend.history.snapshot()
        return [(run.state, run.failures) for view in snapshot.tasks for run in view.live]


@asynccontextmanager
async def programs(count: int = 1) -> AsyncGenerator[list[Program]]:
    running = [Program() for _ in range(count)]
    try:
        for one in running:
            await one.start()
        yield running
    finally:
        for one in running:
            one.door.set()
            await one.manager.stop()


@pytest.fixture
def server() -> Generator[Handler]:
    """The handler that a server installs before it starts the application."""
    handler = Handler()
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield handler
    for number, one in before.items():
        signal.signal(number, one)


def send(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_at_the_signal_the_node_resigns_and_claims_no_more_and_what_runs_goes_on(
    server: Handler, number: int
) -> None:
    async with programs() as [one]:
        send(number)
        await wait_until_async(lambda: one.events.of(TermEnded), "it has resigned")
        assert one.events.one(TermEnded).transition is LeadershipTransition.RESIGNED
        assert one.manager.is_running
        health = await one.manager.health_check()
        assert (health.status, health.is_leader) == ("unhealthy", False)
        assert health.reason == "the process is going to end: it leads and claims no more"
        # The claim of what runs is kept: three times its life pass.
        await one.trigger("too late for this process")
        await asyncio.sleep(9 * QUICK["running_heartbeat_interval"])
        assert await one.live() == [(RunState.RUNNING, 0), (RunState.QUEUED, 0)]
        one.door.set()
        await wait_until_async(lambda: one.events.of(RunSettled), "it is settled before anybody stops the manager")
        await one.manager.stop()
        assert isinstance(one.events.one(RunSettled).settlement.outcome, Succeeded)
        assert (len(one.events.of(RunStarted)), one.events.of(ClaimLost)) == (1, [])
        assert await one.live() == [(RunState.QUEUED, 0)]
        assert server.heard == [number]
        assert signal.getsignal(number) is server


async def test_every_manager_of_the_process_hears_it_and_the_handlers_are_put_back_with_the_last(
    server: Handler,
) -> None:
    async with programs(2) as [one, other]:
        one.door.set()
        await one.manager.stop()
        assert signal.getsignal(signal.SIGTERM) is not server
        await one.manager.start()
        await wait_until_async(one.leads, "it leads again")
        send()
        await wait_until_async(lambda: len(one.events.of(TermEnded)) == 2, "the one has resigned once more")
        await wait_until_async(lambda: other.events.of(TermEnded), "the other has resigned")
    assert len(server.heard) == 1
    assert signal.getsignal(signal.SIGTERM) is server


def _replaces() -> Handler:
    handler = Handler()
    signal.signal(signal.SIGTERM, handler)
    return handler


def _calls_the_one_before() -> Handler:
    handler = Handler(signal.getsignal(signal.SIGTERM))
    signal.signal(signal.SIGTERM, handler)
    return handler


def _in_the_loop() -> Handler:
    handler = Handler()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: handler(signal.SIGTERM, None))
    return handler


@pytest.mark.parametrize("install", [_replaces, _calls_the_one_before, _in_the_loop])
async def test_a_handler_that_is_installed_later_is_called_too_and_stays(
    server: Handler, monkeypatch: pytest.MonkeyPatch, install: Callable[[], Handler]
) -> None:
    monkeypatch.setattr(life, "WATCH_SECONDS", 0.01)
    async with programs() as [one]:
        later = install()
        standing: object = signal.getsignal(signal.SIGTERM)
        await wait_until_async(lambda: signal.getsignal(signal.SIGTERM) is not standing, "the node has seen it")
        send()
        await wait_until_async(lambda: one.events.of(TermEnded), "it has resigned")
        await wait_until_async(lambda: later.heard, "the later handler is called")
        assert one.events.of(RunReleased) == []
        one.door.set()
        await one.manager.stop()
        assert signal.getsignal(signal.SIGTERM) is standing
    assert later.heard == [signal.SIGTERM]
    assert len(server.heard) == (install is _calls_the_one_before)
    if install is _in_the_loop:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


async def test_a_handler_that_is_installed_just_before_the_end_stays_too(server: Handler) -> None:
    async with programs() as [one]:
        one.door.set()
        handler = _calls_the_one_before()
    send()
    assert (handler.heard, server.heard) == ([signal.SIGTERM], [signal.SIGTERM])
    assert signal.getsignal(signal.SIGTERM) is handler


async def test_a_signal_that_ends_the_process_at_once_is_left_alone() -> None:
    """The system's default leaves no time to resign, and an ignored signal ends nothing."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        async with programs():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


async def test_a_second_signal_hands_back_at_once_also_before_anybody_stops_the_manager(
    server: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life, "ECHO_SECONDS", 0.0)
    async with programs() as [one]:
        send()
        await wait_until_async(lambda: one.events.of(TermEnded), "it has resigned")
        send()
        await wait_until_async(lambda: one.events.of(RunReleased), "it is released")
        await wait_until_async(lambda: not one.manager.is_running, "it has ended")
        assert await one.live() == [(RunState.QUEUED, 0)]
    assert len(server.heard) == 2


async def test_a_signal_that_comes_twice_within_a_moment_is_one(server: Handler) -> None:
    """Control-C reaches the whole group of processes, and the server's parent passes it on besides."""
    async with programs() as [one]:
        send(signal.SIGINT)
        await wait_until_async(lambda: one.events.of(TermEnded), "it has resigned")
        stopping = asyncio.create_task(one.manager.stop())
        await wait_until_async(lambda: not one.manager.is_running, "it drains")
        send(signal.SIGTERM)
        one.door.set()
        await stopping
        assert one.events.of(RunReleased) == []
    assert server.heard == [signal.SIGINT, signal.SIGTERM]


async def test_a_signal_while_draining_hands_back_at_once_and_ends_no_process() -> None:
    """No server has installed anything here: the default of this signal would end these tests."""
    async with programs() as [one]:
        stopping = asyncio.create_task(one.manager.stop())
        await wait_until_async(lambda: signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, "draining")
        send()
        async with asyncio.timeout(10):
            await stopping
        assert len(one.events.of(RunReleased)) == 1
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_signal_while_the_store_is_opened_makes_a_node_that_never_claims(server: Handler) -> None:
    one = Program()
    opened, door = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(**arguments: Any) -> AsyncGenerator[Any]:
        opened.set()
        await door.wait()
        async with one.store.open(**arguments) as backend:
            yield backend

    manager = TaskManager(config=OperationalConfig(**QUICK), backend=slow, observers=[one.events])
    starting = asyncio.create_task(manager.start())
    await opened.wait()
    send()
    door.set()
    await starting
    assert manager.is_running
    assert "going to end" in str((await manager.health_check()).reason)
    await asyncio.sleep(2 * QUICK["leader_retry_interval"])
    await manager.stop()
    assert (one.events.of(TermEnded), len(server.heard)) == ([], 1)


async def test_off_the_main_thread_no_handler_is_installed_and_the_lifespan_does_all(server: Handler) -> None:
    async def program() -> None:
        async with programs() as [one]:
            assert signal.getsignal(signal.SIGTERM) is server
            one.door.set()
            await one.manager.stop()
            assert one.events.one(TermEnded).transition is LeadershipTransition.RESIGNED

    await asyncio.to_thread(asyncio.run, program())
    assert signal.getsignal(signal.SIGTERM) is server


async def test_a_listener_elsewhere_hears_with_one_in_the_main_thread(server: Handler) -> None:
    async with programs() as [one]:
        heard = asyncio.Event()
        listener = Listener(asyncio.get_running_loop(), lambda _at: heard.set())
        await asyncio.to_thread(END_SIGNALS.add, listener)
        send()
        await heard.wait()
        await asyncio.to_thread(END_SIGNALS.remove, listener)
        one.door.set()


async def test_a_loop_that_is_closed_hears_nothing_and_disturbs_nobody(server: Handler) -> None:
    signals, closed = EndSignals(), asyncio.new_event_loop()
    closed.close()
    heard = asyncio.Event()
    listeners = [Listener(loop, lambda _at: heard.set()) for loop in (closed, asyncio.get_running_loop())]
    for listener in listeners:
        signals.add(listener)
    send()
    await heard.wait()
    for listener in listeners:
        signals.remove(listener)
    assert (len(server.heard), signal.getsignal(signal.SIGTERM)) == (1, server)


async def test_a_library_that_insists_on_the_first_place_gets_it_in_the_end(server: Handler) -> None:
    signals = EndSignals()
    listener = Listener(asyncio.get_running_loop(), lambda _at: None)
    signals.add(listener)
    insisting = server
    for _ in range(2 * MOST_LINKS):
        insisting = _calls_the_one_before()
        signals.renew()
    assert signal.getsignal(signal.SIGTERM) is insisting
    signals.remove(listener)
    send()
    assert len(server.heard) == 1
