"""The run queue in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge
from itertools import chain, islice

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.memory import Remembered, TaskMemory
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.progress import ProgressReport
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Claim, Retried, Run, RunState, Settlement
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Cancelling, Enqueued, Extension, RunQueue
from task_manager_memory.state import RunEntry, State


class MemoryRunQueue(RunQueue):
    def __init__(self, state: State) -> None:
        self._state = state

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        conflicts = frozenset(run.id for run in runs if self._remembered(run) not in (None, asked))
        if conflicts:
            return AskedOtherwise(conflicts)
        return tuple(self._enqueue(run, asked, memory, delay) for run in runs)

    def _remembered(self, run: Run) -> str | None:
        """The digest of the remembered request for this run; None if the store remembers none."""
        entry = self._state.entries.get(run.task)
        return None if entry is None else entry.asked(run.id, self._state.steady())

    def _enqueue(self, run: Run, asked: str, memory: timedelta, delay: timedelta) -> Enqueued:
        entry = self._state.entries.get(run.task)
        if entry is None:
            return Enqueued.UNKNOWN_TASK
        if run.id in entry.requests or entry.run_entry(run.id) is not None:
            return Enqueued.DUPLICATE
        entry.remember(run.id, self._state.steady() + memory, asked)
        if not entry.admits(run):
            entry.held.append(RunEntry(run=run, state=RunState.HELD))
            return Enqueued.HELD
        run_entry = entry.live[run.id] = RunEntry(run=run, state=RunState.QUEUED)
        if delay > timedelta(0):
            self._state.to_waiting(run_entry, self._state.steady() + delay, delayed=True)
            return Enqueued.WAITING
        self._state.to_queue(run_entry)
        return Enqueued.QUEUED

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        if known is not None:
            tokens = {(claim.run.id, claim.token) for claim in known}
            mine = [run_entry for run_entry in self._state.claimed.values() if run_entry.worker == worker]
            unknown = [one.claim() for one in mine if (one.run.id, one.token) not in tokens][:limit]
            return (*unknown, *self._claim(worker, limit - len(unknown), scope))
        claims = self._claim(worker, limit, scope)
        # This wait uses the loop's time, not the store's: this process waits, and a test may stop the store's time.
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait.total_seconds()
        while not claims and (left := timedelta(seconds=deadline - loop.time())) > timedelta(0):
            # Read the instant only: a promotion here would notify before this task waits, and the notification would be
            # lost.
            next_due = self._state.next_due_instant()
            await self._state.run_queued.wait(left if next_due is None else min(left, next_due - self._state.steady()))
            claims = self._claim(worker, limit, scope)
        return claims

    def _claim(self, worker: NodeId, limit: int, scope: Scope) -> tuple[Claim, ...]:
        self._state.promote()
        line = chain(self._lane(Priority.HIGH, scope), self._lane(Priority.LOW, scope))
        for run_entry in (taken := list(islice(line, limit))):
            self._state.take(run_entry)
            run_entry.state, run_entry.worker, run_entry.heartbeat = RunState.RUNNING, worker, self._state.steady()
            run_entry.token = self._state.next_token()  # Not when it is queued: a restored store gives the run again.
            self._state.claimed[run_entry.run.id] = run_entry
        return tuple(run_entry.claim() for run_entry in taken)

    def _lane(self, priority: Priority, scope: Scope) -> Iterator[RunEntry]:
        """The queued runs of a priority that the scope admits, in the order of their places."""
        lanes = [
            lane.values()
            for (own, queue), lane in self._state.queued.items()
            if own is priority and (scope.queues is None or queue in scope.queues)
        ]
        found = iter(lanes[0]) if len(lanes) == 1 else merge(*lanes, key=lambda one: one.place)
        return (one for one in found if one.run.task not in scope.without) if scope.without else found

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        """As the port says, and in any thread: it reads, and writes one attribute of each run."""
        now = self._state.steady()
        lost: set[Claim] = set()
        cancelling: set[Claim] = set()
        for claim in claims:
            run_entry = self._state.holder(claim)
            if run_entry is None or now - run_entry.heartbeat >= ttl:
                lost.add(claim)
                continue
            run_entry.heartbeat = now
            if run_entry.cancelling:
                cancelling.add(claim)
        return Extension(frozenset(lost), frozenset(cancelling))

    async def report(self, reports: Sequence[ProgressReport], ttl: timedelta) -> frozenset[Claim]:  # noqa: ARG002 - kept longer
        lost: set[Claim] = set()
        for report in reports:
            run_entry = self._state.holder(report.claim)
            if run_entry is None:
                lost.add(report.claim)
            else:
                run_entry.progress = report.progress
        return frozenset(lost)

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        return frozenset(settlement.claim for settlement in settlements if not self._settle(settlement))

    def _settle(self, settlement: Settlement) -> bool:
        run_entry = self._state.holder(settlement.claim)
        if run_entry is None:
            return False
        self._record(run_entry.run.task, settlement.record())
        if settlement.remembered is not None:
            self._remember(run_entry.run.task, settlement.remembered)
        if isinstance(settlement.outcome, Retried) and not run_entry.cancelling:
            self._state.take(run_entry)
            run_entry.attempt, run_entry.failures = run_entry.attempt + 1, run_entry.failures + 1
            self._state.to_waiting(run_entry, self._state.steady() + settlement.outcome.delay, retrying=True)
        else:
            self._state.end(run_entry)
        return True

    def _remember(self, key: TaskKey, remembered: Remembered) -> None:
        entry = self._state.entries[key]
        cursor = entry.memory.cursor if remembered.cursor is None else remembered.cursor
        entry.memory = TaskMemory(success=remembered.success, cursor=cursor)

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        lost: set[Claim] = set()
        for claim in claims:
            run_entry = self._state.holder(claim)
            if run_entry is None:
                lost.add(claim)
                continue
            if run_entry.cancelling:
                now = self._state.now()
                self._record(claim.run.task, _record(run_entry.claim(), AttemptStatus.CANCELLED, now, now))
                self._state.end(run_entry)
                continue
            self._state.take(run_entry)
            run_entry.attempt += started
            if delay > timedelta(0):
                self._state.to_waiting(run_entry, self._state.steady() + delay)
            else:
                self._state.to_queue(run_entry)
        return frozenset(lost)

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        if not self._state.is_current_term(term):
            return Fenced()
        now, clock_time = self._state.steady(), self._state.clock_time
        expired = [run_entry for run_entry in self._state.claimed.values() if now - run_entry.heartbeat >= ttl][:limit]
        claims = tuple(run_entry.claim() for run_entry in expired)
        for run_entry, claim in zip(expired, claims, strict=True):
            line = _record(claim, AttemptStatus.LOST, clock_time(run_entry.heartbeat), clock_time(now))
            self._record(run_entry.run.task, line)
            self._state.take(run_entry)
            if run_entry.cancelling:
                self._state.end(run_entry)
                continue
            run_entry.attempt, run_entry.losses = run_entry.attempt + 1, run_entry.losses + 1
            self._state.to_queue(run_entry)
        return claims

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        answers = tuple(self._cancel(key, run) for key, run in runs)
        if Cancelling.REQUESTED in answers:
            self._state.notifications.notify()
        return answers

    def _cancel(self, key: TaskKey, run: RunId) -> Cancelling:
        entry = self._state.entries.get(key)
        if entry is None:
            return Cancelling.NOT_LIVE
        run_entry = entry.run_entry(run)
        if run_entry is None:
            return Cancelling.NOT_LIVE
        if run_entry.state is RunState.RUNNING:
            run_entry.cancelling = True
            return Cancelling.REQUESTED
        now = self._state.now()
        # No worker has claimed this attempt, so its line has no worker and the token 0.
        claim = Claim(
            run=run_entry.run, attempt=run_entry.attempt, failures=run_entry.failures, token=0, worker=NodeId("")
        )
        self._record(key, _record(claim, AttemptStatus.CANCELLED, now, now))
        self._state.end(run_entry)
        return Cancelling.CANCELLED

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        named, left = set(keys), {run for _, run in spared}
        waiting = self._state.waiting.values()
        chosen = [
            run_entry
            for run_entry in waiting
            if run_entry.run.task in named and run_entry.run.id not in left and not run_entry.delayed
        ]
        for run_entry in chosen:
            self._state.to_queue(self._state.waiting.pop(run_entry.run.id))
        return len(chosen)

    def _record(self, key: TaskKey, record: AttemptRecord) -> None:
        self._state.entries[key].records.appendleft(record)


def _record(claim: Claim, status: AttemptStatus, started_at: datetime, now: datetime) -> AttemptRecord:
    """A line of history that the store writes itself, because no worker can."""
    return AttemptRecord(
        run=claim.run.id,
        slot=claim.run.slot,
        attempt=claim.attempt,
        status=status,
        started_at=started_at,
        duration=now - started_at,
        worker=claim.worker,
        token=claim.token,
    )
