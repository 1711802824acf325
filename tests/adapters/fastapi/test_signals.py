"""SIGTERM and SIGINT: the node resigns at the signal, and every handler that was installed earlier is still called."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import pytest

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager, runtime
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
    """A handler of the server or of the application. It calls `before`, the handler installed before it."""

    def __init__(self, before: object = None) -> None:
        self.received: list[int] = []
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if callable(self._before):
            self._before(number, frame)


class Program:
    """A process with one task, whose run waits for the event `gate`."""

    def __init__(self) -> None:
        self.events = Recorder()
        self.started, self.gate = asyncio.Event(), asyncio.Event()
        self.store = MemoryStore()
        group = TaskGroup("g")
        group.add_task("0 0 1 1 *", name="n")(self._gated)
        self.manager = TaskManager(
            config=OperationalConfig(**PATIENT), backend=self.store.open, observers=[self.events]
        )
        self.manager.add_task_group(group)

    async def _gated(self) -> None:
        self.started.set()
        await self.gate.wait()

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
            one.gate.set()
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
async def test_at_the_signal_the_node_resigns_and_stops_claiming_while_its_runs_continue(
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
        # The worker keeps renewing the claim of its run. The test waits three times the duration of a claim.
        await one.trigger("too late for this process")
        await asyncio.sleep(9 * QUICK["running_heartbeat_interval"])
        assert await one.live() == [(RunState.RUNNING, 0), (RunState.QUEUED, 0)]
        one.gate.set()
        await wait_until_async(lambda: one.events.of(RunSettled), "it is settled before the manager is stopped")
        await one.manager.stop()
        assert isinstance(one.events.one(RunSettled).settlement.outcome, Succeeded)
        assert (len(one.events.of(RunStarted)), one.events.of(ClaimLost)) == (1, [])
        assert await one.live() == [(RunState.QUEUED, 0)]
        assert server.received == [number]
        assert signal.getsignal(number) is server


async def test_every_manager_receives_the_signal_and_the_last_to_stop_restores_the_handlers(
    server: Handler,
) -> None:
    async with programs(2) as [one, other]:
        one.gate.set()
        await one.manager.stop()
        assert signal.getsignal(signal.SIGTERM) is not server
        await one.manager.start()
        await wait_until_async(one.leads, "it leads again")
        send()
        await wait_until_async(lambda: len(one.events.of(TermEnded)) == 2, "the first manager has resigned again")
        await wait_until_async(lambda: other.events.of(TermEnded), "the second manager has resigned")
    assert len(server.received) == 1
    assert signal.getsignal(signal.SIGTERM) is server


def _replaces() -> Handler:
    handler = Handler()
    signal.signal(signal.SIGTERM, handler)
    return handler


def _calls_the_previous() -> Handler:
    handler = Handler(signal.getsignal(signal.SIGTERM))
    signal.signal(signal.SIGTERM, handler)
    return handler


def _in_the_loop() -> Handler:
    handler = Handler()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: handler(signal.SIGTERM, None))
    return handler


@pytest.mark.parametrize("install", [_replaces, _calls_the_previous, _in_the_loop])
async def test_a_handler_that_is_installed_later_is_called_too_and_stays(
    server: Handler, monkeypatch: pytest.MonkeyPatch, install: Callable[[], Handler]
) -> None:
    monkeypatch.setattr(runtime, "WATCH_SECONDS", 0.01)
    async with programs() as [one]:
        later = install()
        installed: object = signal.getsignal(signal.SIGTERM)
        await wait_until_async(
            lambda: signal.getsignal(signal.SIGTERM) is not installed, "the node has seen the new handler"
        )
        send()
        await wait_until_async(lambda: one.events.of(TermEnded), "it has resigned")
        await wait_until_async(lambda: later.received, "the later handler is called")
        assert one.events.of(RunReleased) == []
        one.gate.set()
        await one.manager.stop()
        assert signal.getsignal(signal.SIGTERM) is installed
    assert later.received == [signal.SIGTERM]
    assert len(server.received) == (install is _calls_the_previous)
    if install is _in_the_loop:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


async def test_a_handler_that_is_installed_just_before_the_stop_stays_too(server: Handler) -> None:
    async with programs() as [one]:
        one.gate.set()
        handler = _calls_the_previous()
    send()
    assert (handler.received, server.received) == ([signal.SIGTERM], [signal.SIGTERM])
    assert signal.getsignal(signal.SIGTERM) is handler


async def test_no_handler_replaces_a_default_or_ignored_signal() -> None:
    """The default action of the system leaves no time to resign, and an ignored signal does not end the process."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        async with programs():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


async def test_a_second_signal_releases_runs_at_once_even_before_the_manager_is_stopped(
    server: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "ECHO_SECONDS", 0.0)
    async with programs() as [one]:
        send()
        await wait_until_async(lambda: one.events.of(TermEnded), "it has resigned")
        send()
        await wait_until_async(lambda: one.events.of(RunReleased), "it is released")
        await wait_until_async(lambda: not one.manager.is_running, "it has ended")
        assert await one.live() == [(RunState.QUEUED, 0)]
    assert len(server.received) == 2


async def test_two_signals_within_a_moment_count_as_one(server: Handler) -> None:
    """Control-C reaches the whole process group, and the parent of the server sends the signal again."""
    async with programs() as [one]:
        send(signal.SIGINT)
        await wait_until_async(lambda: one.events.of(TermEnded), "it has resigned")
        stopping = asyncio.create_task(one.manager.stop())
        await wait_until_async(lambda: not one.manager.is_running, "it drains")
        send(signal.SIGTERM)
        one.gate.set()
        await stopping
        assert one.events.of(RunReleased) == []
    assert server.received == [signal.SIGINT, signal.SIGTERM]


async def test_a_signal_while_draining_releases_runs_at_once_and_ends_no_process() -> None:
    """No server has installed a handler here. The default action of this signal would end the tests."""
    async with programs() as [one]:
        stopping = asyncio.create_task(one.manager.stop())
        await wait_until_async(lambda: signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, "draining")
        send()
        async with asyncio.timeout(10):
            await stopping
        assert len(one.events.of(RunReleased)) == 1
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_node_whose_store_opens_after_the_signal_never_claims(server: Handler) -> None:
    one = Program()
    opened, gate = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(**arguments: Any) -> AsyncGenerator[Any]:
        opened.set()
        await gate.wait()
        async with one.store.open(**arguments) as backend:
            yield backend

    manager = TaskManager(config=OperationalConfig(**QUICK), backend=slow, observers=[one.events])
    starting = asyncio.create_task(manager.start())
    await opened.wait()
    send()
    gate.set()
    await starting
    assert manager.is_running
    assert "going to end" in str((await manager.health_check()).reason)
    await asyncio.sleep(2 * QUICK["leader_retry_interval"])
    await manager.stop()
    assert (one.events.of(TermEnded), len(server.received)) == ([], 1)


async def test_outside_the_main_thread_no_handler_is_installed_and_the_lifespan_stops_the_manager(
    server: Handler,
) -> None:
    async def program() -> None:
        async with programs() as [one]:
            assert signal.getsignal(signal.SIGTERM) is server
            one.gate.set()
            await one.manager.stop()
            assert one.events.one(TermEnded).transition is LeadershipTransition.RESIGNED

    await asyncio.to_thread(asyncio.run, program())
    assert signal.getsignal(signal.SIGTERM) is server


async def test_a_listener_in_another_thread_is_called_if_the_main_thread_has_one(server: Handler) -> None:
    async with programs() as [one]:
        received = asyncio.Event()
        listener = Listener(asyncio.get_running_loop(), lambda _at: received.set())
        await asyncio.to_thread(END_SIGNALS.add, listener)
        send()
        await received.wait()
        await asyncio.to_thread(END_SIGNALS.remove, listener)
        one.gate.set()


async def test_a_closed_loop_gets_no_signal_and_does_not_affect_the_others(server: Handler) -> None:
    signals, closed = EndSignals(), asyncio.new_event_loop()
    closed.close()
    received = asyncio.Event()
    listeners = [Listener(loop, lambda _at: received.set()) for loop in (closed, asyncio.get_running_loop())]
    for listener in listeners:
        signals.add(listener)
    send()
    await received.wait()
    for listener in listeners:
        signals.remove(listener)
    assert (len(server.received), signal.getsignal(signal.SIGTERM)) == (1, server)


async def test_a_library_that_keeps_installing_its_handler_first_succeeds_in_the_end(server: Handler) -> None:
    signals = EndSignals()
    listener = Listener(asyncio.get_running_loop(), lambda _at: None)
    signals.add(listener)
    latest = server
    for _ in range(2 * MOST_LINKS):
        latest = _calls_the_previous()
        signals.renew()
    assert signal.getsignal(signal.SIGTERM) is latest
    signals.remove(listener)
    send()
    assert len(server.received) == 1
