"""The state that the ports in memory share. No method that changes it awaits, so each is one atomic step."""

from __future__ import annotations

import asyncio
import copy
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.observation import LiveRun, Presence
from task_manager_core.domain.planning import NextSlot, Skipped, SkipReason
from task_manager_core.domain.policy import Priority, Retention
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord, Claim, Run, RunState
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import CHANGES_REMEMBERED, Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_COPIED = (
    *("entries", "version", "changes", "incarnation", "term", "lease_ends", "progress"),
    *("queued", "claimed", "waiting", "instants", "present"),
)
"""The attributes that a copy holds, and that a wipe empties. The clock and the last token are not among them."""


@dataclass(slots=True, kw_only=True)
class RunEntry:
    """The state of a live run. `token` is the one of its last claim. `heartbeat` and `due_at` are steady instants."""

    run: Run
    state: RunState
    attempt: int = 1
    failures: int = 0
    losses: int = 0
    token: int = 0
    worker: NodeId | None = None
    heartbeat: datetime = _EPOCH
    due_at: datetime | None = None
    retrying: bool = False
    delayed: bool = False
    cancelling: bool = False
    progress: Progress | None = None
    place: int = 0
    """The place of a queued run: runs with a greater place are behind it, also those of other queues."""

    def claim(self) -> Claim:
        assert self.worker is not None
        return Claim(
            run=self.run,
            attempt=self.attempt,
            failures=self.failures,
            losses=self.losses,
            token=self.token,
            worker=self.worker,
        )

    def view(self, clock_time: Callable[[datetime], datetime]) -> LiveRun:
        return LiveRun(
            run=self.run.id,
            slot=self.run.slot,
            state=self.state,
            attempt=self.attempt,
            failures=self.failures,
            losses=self.losses,
            worker=self.worker,
            due_at=None if self.due_at is None else clock_time(self.due_at),
            retrying=self.retrying,
            cancelling=self.cancelling,
        )


@dataclass(slots=True, kw_only=True)
class TaskEntry:
    """A task and everything that belongs to it."""

    task: TaskDefinition
    version: int
    next_slot: NextSlot | None
    decided: datetime | None = None
    memory: TaskMemory = TaskMemory()
    paused: bool = False
    resumed_at: datetime | None = None
    retired: bool = False
    live: dict[RunId, RunEntry] = field(default_factory=dict[RunId, RunEntry])
    held: deque[RunEntry] = field(default_factory=deque[RunEntry])
    requests: dict[RunId, tuple[datetime, str]] = field(default_factory=dict[RunId, tuple[datetime, str]])
    """For each requested run: until when the request is remembered, and the digest of what it asked for."""
    requests_end: list[tuple[datetime, str]] = field(default_factory=list[tuple[datetime, str]])
    """The ends of the remembered requests, as a heap."""
    records: deque[AttemptRecord]
    skips: deque[Skipped]
    skipped: Counter[SkipReason] = field(default_factory=Counter[SkipReason])

    def skip(self, skipped: Iterable[Skipped]) -> None:
        for skip in skipped:
            self.skips.appendleft(skip)
            self.skipped[skip.reason] += skip.count

    def remember(self, run: RunId, until: datetime, asked: str) -> None:
        self.requests[run] = until, asked
        heapq.heappush(self.requests_end, (until, run.value))

    def asked(self, run: RunId, now: datetime) -> str | None:
        """The digest of the remembered request for this run; None if the store remembers none."""
        while self.requests_end and self.requests_end[0][0] <= now:
            over = RunId(heapq.heappop(self.requests_end)[1])
            if over in self.requests and self.requests[over][0] <= now:
                del self.requests[over]
        return self.requests[run][1] if run in self.requests else None

    def run_entry(self, run: RunId) -> RunEntry | None:
        return self.live.get(run) or next((run_entry for run_entry in self.held if run_entry.run.id == run), None)

    def admits(self, run: Run, count: int = 1) -> bool:
        """May so many runs like this one be queued beside the live runs?"""
        limit = run.live_limit
        return limit is None or (not self.held and len(self.live) + count <= limit)

    @property
    def retrying(self) -> int:
        return sum(run_entry.retrying for run_entry in self.live.values())


class Condition:
    """Wakes all waiters at once. It keeps no reference to an event loop, so a store may be used in several loops, one
    after the other."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(None)

    async def wait(self, timeout: timedelta) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await waiter
        except TimeoutError:
            return
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)


@dataclass(frozen=True, slots=True)
class StateCopy:
    """The contents of a store at one instant."""

    held: dict[str, object]


def _milliseconds(seconds: float) -> timedelta:
    """Seconds cut to whole milliseconds. A microsecond is added first, because a sum of floats may end just below its
    exact value."""
    return timedelta(milliseconds=int(seconds * 1000 + 1e-3))


class State:
    """The state of one store.

    `now` is the time of the store, in whole milliseconds as in every store. `steady` is its steady time, which measures
    leases, waits and other lengths: it begins with the same instant, and never goes back when the clock is set.
    """

    def __init__(self, clock: Clock, retention: Retention) -> None:
        self._clock = clock
        self._began = self.now() - _milliseconds(clock.monotonic())
        self.retention = retention
        self.run_queued = Condition()
        self.notifications = Condition()
        self.entries: dict[TaskKey, TaskEntry] = {}
        self.version = 0
        self.changes: deque[tuple[int, TaskKey]] = deque(maxlen=CHANGES_REMEMBERED)
        """The newest versions, each with the task that changed."""
        self.incarnation = 0
        self.term: Term | None = None
        self.lease_ends = _EPOCH
        self.progress = 0
        self.queued: dict[tuple[Priority, str], dict[RunId, RunEntry]] = {}
        """The lanes: the queued runs of each priority and each queue, in their order."""
        self.claimed: dict[RunId, RunEntry] = {}
        self.waiting: dict[RunId, RunEntry] = {}
        self.instants: list[tuple[datetime, int, RunId]] = []
        """The due instants of waiting runs, as a heap. An instant stays in the heap when its run no longer waits for
        it."""
        self.present: dict[NodeId, tuple[Presence, datetime]] = {}
        self._token = 0
        self._number = 0

    def copy(self) -> StateCopy:
        """A copy of the contents of the store."""
        return StateCopy(copy.deepcopy({name: getattr(self, name) for name in _COPIED}))

    def restore(self, held: StateCopy | None) -> None:
        """Replace the contents of the store by a copy; by nothing if the copy is None."""
        chosen = State(self._clock, self.retention).copy() if held is None else held
        for name, value in copy.deepcopy(chosen.held).items():
            setattr(self, name, value)
        self.run_queued.notify()
        self.notifications.notify()

    def now(self) -> datetime:
        now = self._clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def steady(self) -> datetime:
        return self._began + _milliseconds(self._clock.monotonic())

    def clock_time(self, instant: datetime) -> datetime:
        """A steady instant as an instant of the store's clock."""
        return instant + (self.now() - self.steady())

    def next_number(self, last: int) -> int:
        """A number greater than `last`, and greater than every number that the store gave before a wipe."""
        return max(last + 1, (self.steady() - _EPOCH) // timedelta(milliseconds=1))

    def next_token(self) -> int:
        """A token greater than every token before, and than the tokens of an earlier process, whose time was before."""
        self._token = max(self._token + 1, (self.steady() - _EPOCH) // timedelta(microseconds=1))
        return self._token

    def is_current_term(self, term: Term) -> bool:
        return self.term == term and self.steady() < self.lease_ends

    def live_term(self) -> Term | None:
        return self.term if self.steady() < self.lease_ends else None

    def first_due(self) -> datetime | None:
        """The earliest due instant of all tasks that are not retired."""
        entries = (entry for entry in self.entries.values() if not entry.retired)
        return min((entry.next_slot.due_at for entry in entries if entry.next_slot is not None), default=None)

    # -- the states of a run ------------------------------------------------------------------------------------------

    def to_queue(self, run_entry: RunEntry) -> None:
        """Queue a run, behind the runs of its priority and its queue."""
        run_entry.state, run_entry.worker, run_entry.due_at = RunState.QUEUED, None, None
        run_entry.retrying = run_entry.delayed = False
        self._number += 1
        run_entry.place = self._number
        self.queued.setdefault((run_entry.run.priority, run_entry.run.queue), {})[run_entry.run.id] = run_entry
        self.run_queued.notify()

    def to_waiting(
        self, run_entry: RunEntry, due_at: datetime, *, retrying: bool = False, delayed: bool = False
    ) -> None:
        run_entry.state, run_entry.worker = RunState.WAITING, None
        run_entry.due_at, run_entry.retrying, run_entry.delayed = due_at, retrying, delayed
        self.waiting[run_entry.run.id] = run_entry
        self._number += 1
        heapq.heappush(self.instants, (due_at, self._number, run_entry.run.id))
        if len(self.instants) > 2 * len(self.waiting) + 100:
            self.instants = [one for one in self.instants if self._waits(one)]
            heapq.heapify(self.instants)
        self.run_queued.notify()

    def _waits(self, instant: tuple[datetime, int, RunId]) -> bool:
        due_at, _, run = instant
        return run in self.waiting and self.waiting[run].due_at == due_at

    def next_due_instant(self) -> datetime | None:
        """The due instant of the next waiting run; None if no run waits."""
        while self.instants and not self._waits(self.instants[0]):
            heapq.heappop(self.instants)
        return self.instants[0][0] if self.instants else None

    def promote(self) -> datetime | None:
        """Queue the waiting runs that are due. The answer is the next due instant."""
        now = self.steady()
        while (next_due := self.next_due_instant()) is not None and next_due <= now:
            self.to_queue(self.waiting.pop(self.instants[0][2]))
        return next_due

    def take(self, run_entry: RunEntry) -> None:
        """Remove a live run from the queue, the claims and the waiting runs."""
        run_entry.progress = None
        for line in (*self.queued.values(), self.claimed, self.waiting):
            line.pop(run_entry.run.id, None)
        lane = run_entry.run.priority, run_entry.run.queue
        if not self.queued.get(lane, run_entry):
            del self.queued[lane]

    def end(self, run_entry: RunEntry) -> None:
        """End a live or held run: delete its entry, and queue the next held run of its task if its limit allows."""
        self.take(run_entry)
        entry = self.entries.get(run_entry.run.task)
        if entry is None:
            return
        if run_entry.state is RunState.HELD:
            entry.held.remove(run_entry)
        else:
            entry.live.pop(run_entry.run.id, None)
        if entry.held and len(entry.live) < (entry.held[0].run.live_limit or 1):
            next_due = entry.held.popleft()
            entry.live[next_due.run.id] = next_due
            self.to_queue(next_due)

    def holder(self, claim: Claim) -> RunEntry | None:
        """The run entry of a claim; None if the claim is over."""
        run_entry = self.claimed.get(claim.run.id)
        return (
            run_entry
            if run_entry is not None and (run_entry.token, run_entry.worker) == (claim.token, claim.worker)
            else None
        )
