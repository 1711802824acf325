"""Runs a manager in a test: on a store in memory, with a clock that the test moves.

Only tests call `TaskManager.testing`, which imports this module then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

from fastapi_task_manager.group_registry import GroupRegistry
from fastapi_task_manager.lifecycle import ManagerLifecycle
from fastapi_task_manager.observers.fanout import Fanout
from task_manager_core.application.callbacks import CallbackRunner
from task_manager_core.application.loop import running_loop
from task_manager_core.application.node import Node
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.policy import LeadershipPolicy, NodePolicy, Retention
from task_manager_core.ports import Backend, Cancelling, Clock
from task_manager_core.testing.clock import START, ManualClock
from task_manager_core.testing.stepping import AttemptLog, FinishedAttempt, StepLimitError, SteppedNode, Stepper
from task_manager_memory import MemoryStore
from task_manager_memory.run_queue import MemoryRunQueue
from task_manager_memory.state import State

__all__ = ["BlockingClock", "FinishedAttempt", "StepLimitError", "Testing", "VirtualClock"]

T = TypeVar("T")

_FOR_EVER = timedelta(days=3650)
"""The node of a test has no rival, so its lease need not be renewed while the clock moves by months."""


class _Session:
    """The parts of one test: its clock, its store, and the node once it has started."""

    def __init__(self, now: datetime, *, eager: bool, patience: float) -> None:
        self.clock = ManualClock(now)
        self.attempts = AttemptLog()
        self.store = _Store(self)
        self._eager = eager
        self._patience = patience
        self._stepper: Stepper | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def make_node(self, **parts: Any) -> Node:
        """The node of the manager, on this clock."""
        policy: NodePolicy = parts["policy"]
        parts["policy"] = replace(
            policy, leadership=LeadershipPolicy(heartbeat=_FOR_EVER), shutdown_timeout=timedelta(0)
        )
        observers: Fanout = parts["observer"]
        callbacks = [one for one in observers.observers if isinstance(one, CallbackRunner)]
        parts["observer"] = Fanout((observers, self.attempts))
        parts["clock"] = self.clock
        parts["processes"] = None  # Functions with executor="process" run in threads, where a test can patch them.
        node = SteppedNode(**parts)
        self._loop = asyncio.get_running_loop()
        self._stepper = Stepper(
            node,
            store=self.store,
            clock=self.clock,
            attempts=self.attempts,
            patience=self._patience,
            beside=lambda: [task for one in callbacks for task in one.running],
        )
        return node

    @property
    def stepper(self) -> Stepper:
        if self._stepper is None:
            raise RuntimeError("the manager has not started yet: its application starts it")
        return self._stepper

    def blocking(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work in the event loop of the manager. Errors: RuntimeError in that loop."""
        loop = self._loop
        if loop is None or loop.is_closed() or running_loop() is loop:
            work.close()
            if loop is not None and not loop.is_closed():
                raise RuntimeError(
                    "this blocks the event loop of the manager: use `async with manager.testing()` there"
                )
            raise RuntimeError("the manager is not running: enter its application inside `with manager.testing()`")
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    async def requested(self) -> None:
        """A caller has queued a run."""
        if self._stepper is None:
            return
        if self._eager and not self._stepper.is_inside():
            await self._stepper.until_idle()
        else:
            self._stepper.wake()

    def wake(self) -> None:
        if self._stepper is not None:
            self._stepper.wake()


class _Store(MemoryStore):
    """The store in memory, with the time of the test."""

    def __init__(self, session: _Session) -> None:
        super().__init__()
        self._session = session

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:  # noqa: ARG002
        """Open it with the clock of the test, whatever the clock of the process is."""
        async with super().open(clock=self._session.clock, retention=retention) as backend:
            yield replace(backend, queue=_RunQueue(self._opened(), self._session))

    def next_instant(self) -> datetime | None:
        state = self._opened()
        waiting = state.next_due_instant()
        instants = (state.first_due(), None if waiting is None else state.clock_time(waiting))
        return min((instant for instant in instants if instant is not None), default=None)

    def has_queued(self) -> bool:
        state = self._opened()
        state.promote()
        return any(state.queued.values())


class _RunQueue(MemoryRunQueue):
    """Notifies the session when a caller has queued or cancelled a run."""

    def __init__(self, state: State, session: _Session) -> None:
        super().__init__(state)
        self._session = session

    async def enqueue(self, *args: Any, **kwargs: Any) -> Any:
        answers = await super().enqueue(*args, **kwargs)
        await self._session.requested()
        return answers

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        answers = await super().cancel(runs)
        self._session.wake()
        return answers


class _Seen:
    """What a test reads."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    def now(self) -> datetime:
        """The instant of the clock, in UTC."""
        return self._session.clock.now()

    @property
    def runs(self) -> list[FinishedAttempt]:
        """The attempts that have ended, in this order. A run that is retried has several."""
        return list(self._session.attempts.finished)

    @property
    def failures(self) -> list[FinishedAttempt]:
        """Those whose function raised an exception, also if another attempt follows."""
        return [attempt for attempt in self._session.attempts.finished if attempt.error is not None]


class VirtualClock(_Seen):
    """The clock of a test. It stands still until the test moves it."""

    async def advance(
        self,
        delta: timedelta = timedelta(0),
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> None:
        """Move the clock, and execute every slot and every retry on the way, at its instant and in order.

        Args:
            delta: How far.
            days: Added to `delta`, like all further arguments.
            hours: Hours.
            minutes: Minutes.
            seconds: Seconds.

        Raises:
            ValueError: A negative sum.
            StepLimitError: A function does not end, or there is no end of runs.
        """
        delta += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        await self._session.stepper.advance(delta)

    async def until_idle(self) -> None:
        """Execute the runs that are queued, and those that they trigger. The clock stands still, so a retry waits.

        Raises:
            StepLimitError: As for `advance`.
        """
        await self._session.stepper.until_idle()


class BlockingClock(_Seen):
    """The same for tests without `async`, beside Starlette's TestClient."""

    def advance(
        self,
        delta: timedelta = timedelta(0),
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> None:
        """As `VirtualClock.advance`."""
        delta += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self._session.blocking(self._session.stepper.advance(delta))

    def until_idle(self) -> None:
        """As `VirtualClock.until_idle`."""
        self._session.blocking(self._session.stepper.until_idle())


class Testing:
    """What `TaskManager.testing` returns: a context for tests, with or without `async`."""

    __test__ = False  # pytest shall not collect it
    __slots__ = ("_groups", "_lifecycle", "_restore", "_session")

    def __init__(
        self,
        lifecycle: ManagerLifecycle,
        groups: GroupRegistry,
        *,
        now: datetime | None,
        eager: bool,
        patience: float,
    ) -> None:
        if patience <= 0:
            raise ValueError(f"patience={patience!r}: must be above 0")
        self._lifecycle = lifecycle
        self._groups = groups
        self._session = _Session(START if now is None else now, eager=eager, patience=patience)

    def __enter__(self) -> BlockingClock:
        self._begin()
        return BlockingClock(self._session)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    async def __aenter__(self) -> VirtualClock:
        self._begin()
        try:
            await self._lifecycle.hold(self)
        except BaseException:
            self._end()
            raise
        return VirtualClock(self._session)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._lifecycle.release(self)
            await self._lifecycle.stop()  # An application whose lifespan runs holds it, too.
        finally:
            self._end()

    def _begin(self) -> None:
        self._lifecycle.begin_test(self._session.store.open, self._session.make_node)
        self._restore = self._groups.copy_changes()

    def _end(self) -> None:
        self._restore()
        self._lifecycle.end_test()
