"""A production node without its loops: a test moves the clock, and the services tick when something is due.

Time stands still while functions execute, and moves from one due instant to the next in between. So every slot and
every retry is on time, in order, and nothing is skipped because a test took long.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Collection, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

from task_manager_core.application.attempt import AttemptKey, key_of
from task_manager_core.application.node import Node
from task_manager_core.domain.events import ClaimLost, Event, RunReleased, RunSettled, RunStarted
from task_manager_core.domain.identity import TaskKey
from task_manager_core.testing.clock import ManualClock

MOST_ATTEMPTS = 100_000
"""One call of `advance` or `until_idle` executes no more: a run that triggers itself again at once would never end."""

_inside: ContextVar[bool] = ContextVar("inside", default=False)
"""Is this code called by a run that a stepper executes?"""


class StepLimitError(RuntimeError):
    """A test would never end: too many attempts within one call, or an attempt that does not end."""


class SteppedStore(Protocol):
    """What a stepper has to know of its store."""

    def next_instant(self) -> datetime | None:
        """The earliest due instant of all slots and waiting runs."""
        ...

    def has_queued(self) -> bool:
        """Is a run in the queue? Waiting runs that are due are queued first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedAttempt:
    """An attempt that a test has seen, as the store recorded it.

    Attributes:
        group: Group of the task.
        name: Name of the task.
        run_id: The id of the run; the attempts of one run share it.
        slot: The planned instant; None for a triggered run.
        attempt: Counts from 1.
        started_at: The instant of the test's clock.
        status: "succeeded", "retried" (it failed, and another attempt follows), "failed", "cancelled" or "expired".
        error: The exception of the function.
    """

    group: str
    name: str
    run_id: str
    slot: datetime | None
    attempt: int
    started_at: datetime
    status: str
    error: BaseException | None


class AttemptLog:
    """An observer that keeps the finished attempts, and knows those that execute."""

    def __init__(self) -> None:
        self.finished: list[FinishedAttempt] = []
        self.executing: dict[AttemptKey, TaskKey] = {}
        self.started = 0

    def notice(self, event: Event) -> None:
        match event:
            case RunStarted(claim=claim):
                self.started += 1
                self.executing[key_of(claim)] = claim.run.task
            case ClaimLost(claim=claim) | RunReleased(claim=claim):
                self.executing.pop(key_of(claim), None)
            case RunSettled(settlement=settlement, error=error):
                record, task = settlement.record(), settlement.claim.run.task
                self.executing.pop(key_of(settlement.claim), None)
                self.finished.append(
                    FinishedAttempt(
                        group=task.group,
                        name=task.name,
                        run_id=record.run.value,
                        slot=record.slot,
                        attempt=record.attempt,
                        started_at=record.started_at,
                        status=record.status.value,
                        error=error,
                    )
                )
            case _:
                pass


class SteppedNode(Node):
    """A node whose services tick only when a `Stepper` says so. No other node shares its store, so it needs no
    heartbeat, no reconciliation and no wait for notifications."""

    services: ClassVar[Collection[str] | None] = ()
    _first_pass: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write the definitions, and begin to lead."""
        self._first_pass = asyncio.get_running_loop().create_task(self._begin())

    async def _begin(self) -> None:
        await self.registrar.tick()
        await self.elector.tick()
        self.ready.set()

    async def begun(self) -> None:
        """Wait until the definitions are written. Errors: those of the store."""
        assert self._first_pass is not None
        await asyncio.shield(self._first_pass)


class Stepper:
    """Executes what is due, and moves the clock.

    Laws: every slot and every waiting run is executed at its instant, in the order of the instants. The clock does not
    move while a function executes.
    """

    def __init__(
        self,
        node: SteppedNode,
        *,
        store: SteppedStore,
        clock: ManualClock,
        attempts: AttemptLog,
        patience: float,
        beside: Callable[[], Collection[asyncio.Task[None]]] = tuple,
    ) -> None:
        self._node = node
        self._store = store
        self._clock = clock
        self._attempts = attempts
        self._patience = patience
        self._beside = beside
        """The tasks that runs have started beside them, such as callbacks."""
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()
        self._context = contextvars.copy_context()
        self._context.run(_inside.set, True)  # noqa: FBT003 - ContextVar.set has no keyword
        self._most = 0
        node.worker.on_free = node.worker.on_finished = self._woken.set

    @staticmethod
    def is_inside() -> bool:
        """Is the caller a run that a stepper executes, or called by one?"""
        return _inside.get()

    def wake(self) -> None:
        """A caller has queued or cancelled a run."""
        self._woken.set()

    async def advance(self, delta: timedelta) -> None:
        """Move the clock, and execute everything that falls due on the way. Errors: ValueError for a negative delta;
        StepLimitError."""
        if delta < timedelta(0):
            raise ValueError(f"time does not go back: {delta}")
        await self._in_turn(self._advance(delta))

    async def until_idle(self) -> None:
        """Execute what is due now, and what that triggers. The clock does not move. Errors: StepLimitError."""
        await self._in_turn(self._execute_due())

    async def _in_turn(self, steps: Coroutine[object, object, None]) -> None:
        """One call at a time. Runs get the context of the node, and not that of the caller, as in production."""
        if self.is_inside():
            steps.close()
            raise RuntimeError("a run cannot wait for the clock of the test: the clock waits for the run")
        try:
            await self._node.begun()
            async with self._turn:
                self._most = self._attempts.started + MOST_ATTEMPTS
                await asyncio.get_running_loop().create_task(steps, context=self._context.copy())
        finally:
            steps.close()

    async def _advance(self, delta: timedelta) -> None:
        clock, until = self._clock, self._clock.now() + delta
        await self._execute_due()
        while (instant := self._store.next_instant()) is not None and instant <= until:
            # An instant that is not after now belongs to a slot that could not be decided: it is tried again later.
            later = instant if instant > clock.now() else min(until, clock.now() + timedelta(seconds=1))
            if later <= clock.now():
                break
            clock.advance(later - clock.now())
            await self._execute_due()
        clock.advance(until - clock.now())

    async def _execute_due(self) -> None:
        while True:
            await self._node.registrar.tick()
            instant = self._store.next_instant()
            if instant is not None and instant <= self._clock.now():
                await self._decide()
            if not await self._execute_queued():
                return

    async def _decide(self) -> None:
        if self._node.elector.trusted() is None:
            await self._node.elector.tick()
        while await self._node.scheduler.tick() == 0.0:
            pass

    async def _execute_queued(self) -> bool:
        """Execute until the queue is empty and no attempt executes. Returns whether there was anything to do."""
        worker, before = self._node.worker, self._attempts.started
        while True:
            self._woken.clear()
            while self._store.has_queued() and await worker.claim() is not None:
                pass
            while await worker.settle() is not None:
                pass
            if self._attempts.started > self._most:
                raise StepLimitError(f"more than {MOST_ATTEMPTS} attempts in one call: a run that triggers itself?")
            if worker.running:
                await worker.beat()  # It tells a running attempt that a caller has cancelled it.
                await self._wait()
            elif self._beside():
                await self._wait_beside()
            elif not self._store.has_queued():
                return self._attempts.started > before

    async def _wait_beside(self) -> None:
        _, left = await asyncio.wait(self._beside(), timeout=self._patience)
        if left:
            raise StepLimitError(f"{len(left)} callbacks have not ended for {self._patience:g} s of real time")

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._woken.wait()
        except TimeoutError:
            tasks = ", ".join(sorted(str(task) for task in self._attempts.executing.values()))
            raise StepLimitError(
                f"no run has ended for {self._patience:g} s of real time; executing: {tasks}. The clock stands still "
                "while a function executes, so a function that sleeps really sleeps"
            ) from None
