"""The run queue in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Claim, Retried, Run, RunState, Settlement
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Cancelling, Enqueued, Extension, RunQueue
from task_manager_memory.state import RunEntry, State


class MemoryRunQueue(RunQueue):
    def __init__(self, state: State) -> None:
        self._state = state

    async def enqueue(
        self, runs: Sequence[Run], asked: str = "", memory: timedelta = REQUEST_MEMORY
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        others = frozenset(run.id for run in runs if self._remembered(run) not in (None, asked))
        return AskedOtherwise(others) if others else tuple(self._enqueue(run, asked, memory) for run in runs)

    def _remembered(self, run: Run) -> str | None:
        """What was asked for when this run was; None if nothing is remembered."""
        entry = self._state.entries.get(run.task)
        return None if entry is None else entry.asked(run.id, self._state.steady())

    def _enqueue(self, run: Run, asked: str, memory: timedelta) -> Enqueued:
        entry = self._state.entries.get(run.task)
        if entry is None:
            return Enqueued.UNKNOWN_TASK
        if run.id in entry.requests or entry.place(run.id) is not None:
            return Enqueued.DUPLICATE
        entry.remember(run.id, self._state.steady() + memory, asked)
        if run.exclusive and (entry.live or entry.held):
            entry.held.append(RunEntry(run=run, state=RunState.HELD))
            return Enqueued.HELD
        place = entry.live[run.id] = RunEntry(run=run, state=RunState.QUEUED)
        self._state.to_queue(place)
        return Enqueued.QUEUED

    async def claim(
        self, worker: NodeId, limit: int, wait: timedelta, known: Collection[Claim] | None = None
    ) -> tuple[Claim, ...]:
        if known is not None:
            tokens = {(claim.run.id, claim.token) for claim in known}
            mine = [place for place in self._state.claimed.values() if place.worker == worker]
            unknown = [place.claim() for place in mine if (place.run.id, place.token) not in tokens][:limit]
            return (*unknown, *self._claim(worker, limit - len(unknown)))
        claims = self._claim(worker, limit)
        # The loop's time and not the store's: who waits is this process, and a test may hold the store's time still.
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait.total_seconds()
        while not claims and (left := timedelta(seconds=deadline - loop.time())) > timedelta(0):
            # Only looked at: what was promoted between the claim and the wait would ring before anybody listens.
            following = self._state.next_instant()
            await self._state.wake.wait(left if following is None else min(left, following - self._state.steady()))
            claims = self._claim(worker, limit)
        return claims

    def _claim(self, worker: NodeId, limit: int) -> tuple[Claim, ...]:
        self._state.promote()
        queued = self._state.queued
        line = list(islice(chain(queued[Priority.HIGH].values(), queued[Priority.LOW].values()), limit))
        for place in line:
            self._state.take(place)
            place.state, place.worker, place.beat = RunState.RUNNING, worker, self._state.steady()
            place.token = self._state.next_token()  # Not before: a store that was set back gives the run again.
            self._state.claimed[place.run.id] = place
        return tuple(place.claim() for place in line)

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        now = self._state.steady()
        lost: set[Claim] = set()
        cancelling: set[Claim] = set()
        for claim in claims:
            place = self._state.holder(claim)
            if place is None or now - place.beat >= ttl:
                lost.add(claim)
                continue
            place.beat = now
            if place.cancelling:
                cancelling.add(claim)
        return Extension(frozenset(lost), frozenset(cancelling))

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        return frozenset(settlement.claim for settlement in settlements if not self._settle(settlement))

    def _settle(self, settlement: Settlement) -> bool:
        place = self._state.holder(settlement.claim)
        if place is None:
            return False
        self._record(place.run.task, settlement.record())
        if isinstance(settlement.outcome, Retried) and not place.cancelling:
            self._state.take(place)
            place.attempt, place.failures = place.attempt + 1, place.failures + 1
            self._state.to_waiting(place, self._state.steady() + settlement.outcome.delay, retrying=True)
        else:
            self._state.end(place)
        return True

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        lost: set[Claim] = set()
        for claim in claims:
            place = self._state.holder(claim)
            if place is None:
                lost.add(claim)
                continue
            if place.cancelling:
                now = self._state.now()
                self._record(claim.run.task, _record(place.claim(), AttemptStatus.CANCELLED, now, now))
                self._state.end(place)
                continue
            self._state.take(place)
            place.attempt += started
            if delay > timedelta(0):
                self._state.to_waiting(place, self._state.steady() + delay, retrying=False)
            else:
                self._state.to_queue(place)
        return frozenset(lost)

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        if not self._state.reigns(term):
            return Fenced()
        now, shown = self._state.steady(), self._state.shown
        expired = [place for place in self._state.claimed.values() if now - place.beat >= ttl][:limit]
        claims = tuple(place.claim() for place in expired)
        for place, claim in zip(expired, claims, strict=True):
            self._record(place.run.task, _record(claim, AttemptStatus.LOST, shown(place.beat), shown(now)))
            self._state.take(place)
            if place.cancelling:
                self._state.end(place)
                continue
            place.attempt, place.losses = place.attempt + 1, place.losses + 1
            self._state.to_queue(place)
        return claims

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        answers = tuple(self._cancel(key, run) for key, run in runs)
        if Cancelling.REQUESTED in answers:
            self._state.signal.notify()
        return answers

    def _cancel(self, key: TaskKey, run: RunId) -> Cancelling:
        entry = self._state.entries.get(key)
        if entry is None:
            return Cancelling.NOT_LIVE
        place = entry.place(run)
        if place is None:
            return Cancelling.NOT_LIVE
        if place.state is RunState.RUNNING:
            place.cancelling = True
            return Cancelling.REQUESTED
        now = self._state.now()
        # Nobody has claimed this attempt, so it has no token.
        claim = Claim(run=place.run, attempt=place.attempt, failures=place.failures, token=0, worker=NodeId(""))
        self._record(key, _record(claim, AttemptStatus.CANCELLED, now, now))
        if place.state is RunState.HELD:
            entry.held.remove(place)
        else:
            self._state.end(place)
        return Cancelling.CANCELLED

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        named, left = set(keys), {run for _, run in spared}
        waiting = self._state.waiting.values()
        chosen = [place for place in waiting if place.run.task in named and place.run.id not in left]
        for place in chosen:
            self._state.to_queue(self._state.waiting.pop(place.run.id))
        return len(chosen)

    def _record(self, key: TaskKey, record: AttemptRecord) -> None:
        self._state.entries[key].records.appendleft(record)


def _record(claim: Claim, status: AttemptStatus, started_at: datetime, now: datetime) -> AttemptRecord:
    """A line that the store writes itself, because no worker can."""
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
