"""Mistakes about waiting workers and waiters."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import Claim
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.ports import Clock
from task_manager_memory.run_queue import MemoryRunQueue
from task_manager_memory.state import Condition, State
from tests.testing.broken.making import BrokenStore, memory, silence


class _SleepsThroughAnInstant(MemoryRunQueue):
    """A queued run wakes a waiting worker, but the instant of a waiting run does not queue that run."""

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        claims = await super().claim(worker, limit, timedelta(0), known, scope)
        if known is not None:
            return claims
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait.total_seconds()
        while not claims and (left := deadline - loop.time()) > 0:
            await self._state.run_queued.wait(timedelta(seconds=left))
            claims = await super().claim(worker, limit, timedelta(0), scope=scope)
        return claims


class _WaitsForALock(MemoryRunQueue):
    """A lock that is never released."""

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        await asyncio.get_running_loop().create_future()
        return await super().promote(keys, spared)


class _ReleasesQuietly(MemoryRunQueue):
    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        with silence(self._state):
            return await super().release(claims, delay, started=started)


class _ReapsQuietly(MemoryRunQueue):
    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        with silence(self._state):
            return await super().reap(term, ttl, limit)


class _WakesOne(Condition):
    """A notification wakes the first waiter, also if that waiter was cancelled."""

    def notify(self) -> None:
        if self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)


class _OneIsWoken(State):
    def __init__(self, clock: Clock, retention: Retention) -> None:
        super().__init__(clock, retention)
        self.run_queued = _WakesOne()


class _OncePerBatch(Condition):
    """A batch of runs wakes one worker: all notifications of one step count as one."""

    _rung = False

    def notify(self) -> None:
        if self._rung or not self._waiters:
            return
        self._rung = True
        waiter = self._waiters.pop(0)
        if not waiter.done():
            waiter.set_result(None)
        asyncio.get_running_loop().call_soon(self._again)

    def _again(self) -> None:
        self._rung = False


class _OneIsWokenForABatch(State):
    def __init__(self, clock: Clock, retention: Retention) -> None:
        super().__init__(clock, retention)
        self.run_queued = _OncePerBatch()


class _OneSignal(State):
    def __init__(self, clock: Clock, retention: Retention) -> None:
        super().__init__(clock, retention)
        self.notifications = _WakesOne()


BROKEN = (
    BrokenStore(
        mistake="a verb never answers",
        law="run_queue 12",
        killed_by="test_promoted_runs_can_be_claimed_now",
        open_harness=memory(queue=_WaitsForALock),
    ),
    BrokenStore(
        mistake="a waiting worker misses the instant of a waiting run",
        law="run_queue 7",
        killed_by="test_a_worker_that_waits_already_gets_the_run_whose_instant_comes",
        open_harness=memory(queue=_SleepsThroughAnInstant),
    ),
    BrokenStore(
        mistake="a release wakes no waiting worker",
        law="run_queue 3",
        killed_by="test_a_waiting_worker_gets_a_run_that_is_queued_again",
        open_harness=memory(queue=_ReleasesQuietly),
    ),
    BrokenStore(
        mistake="reaping wakes no waiting worker",
        law="run_queue 3",
        killed_by="test_a_waiting_worker_gets_a_run_that_is_queued_again",
        open_harness=memory(queue=_ReapsQuietly),
    ),
    BrokenStore(
        mistake="a cancelled worker consumes the notification",
        law="run_queue 3",
        killed_by="test_a_worker_that_stops_waiting_consumes_no_notification",
        open_harness=memory(state=_OneIsWoken),
    ),
    BrokenStore(
        mistake="a batch of runs wakes one worker",
        law="run_queue 3",
        killed_by="test_a_worker_that_stops_waiting_consumes_no_notification",
        open_harness=memory(state=_OneIsWokenForABatch),
    ),
    BrokenStore(
        mistake="a notification wakes one waiter",
        law="notifier 1",
        killed_by="test_all_waiters_are_woken",
        open_harness=memory(state=_OneSignal),
    ),
)
