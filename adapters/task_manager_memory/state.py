"""The dictionaries that the memory ports share. Nothing here awaits, so every method is one atomic step."""

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
from task_manager_core.domain.observation import LiveRun, Presence
from task_manager_core.domain.planning import NextSlot, Skipped, SkipReason
from task_manager_core.domain.policy import Priority, Retention
from task_manager_core.domain.run import AttemptRecord, Claim, Run, RunState
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import CHANGES_REMEMBERED, Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_HELD = (
    *("entries", "version", "changes", "incarnation", "term", "lease_ends"),
    *("queued", "claimed", "waiting", "instants", "present"),
)
"""What a store loses in a wipe. Its time, and the tokens that it gave out, go on."""


@dataclass(slots=True, kw_only=True)
class RunEntry:
    """Where a live run stands. `token` is that of its last claim; `beat` and `due_at` are steady instants."""

    run: Run
    state: RunState
    attempt: int = 1
    failures: int = 0
    losses: int = 0
    token: int = 0
    worker: NodeId | None = None
    beat: datetime = _EPOCH
    due_at: datetime | None = None
    retrying: bool = False
    cancelling: bool = False

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

    def view(self, shown: Callable[[datetime], datetime]) -> LiveRun:
        return LiveRun(
            run=self.run.id,
            slot=self.run.slot,
            state=self.state,
            attempt=self.attempt,
            failures=self.failures,
            losses=self.losses,
            worker=self.worker,
            due_at=None if self.due_at is None else shown(self.due_at),
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
    paused: bool = False
    resumed_at: datetime | None = None
    retired: bool = False
    live: dict[RunId, RunEntry] = field(default_factory=dict[RunId, RunEntry])
    held: deque[RunEntry] = field(default_factory=deque[RunEntry])
    requests: dict[RunId, tuple[datetime, str]] = field(default_factory=dict[RunId, tuple[datetime, str]])
    """Until when each run that was asked for is remembered, and what was asked."""
    requests_end: list[tuple[datetime, str]] = field(default_factory=list[tuple[datetime, str]])
    """The same instants as a heap."""
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
        """What was asked for when this run was; None if nothing is remembered."""
        while self.requests_end and self.requests_end[0][0] <= now:
            over = RunId(heapq.heappop(self.requests_end)[1])
            if over in self.requests and self.requests[over][0] <= now:
                del self.requests[over]
        return self.requests[run][1] if run in self.requests else None

    def place(self, run: RunId) -> RunEntry | None:
        return self.live.get(run) or next((place for place in self.held if place.run.id == run), None)

    @property
    def retrying(self) -> int:
        return sum(place.retrying for place in self.live.values())


class Condition:
    """Wakes all waiters at once. Holds nothing of an event loop, so a store may outlive the loop it was used in."""

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
    """What a store held at one instant."""

    held: dict[str, object]


def _milliseconds(seconds: float) -> timedelta:
    """Cut to whole milliseconds; a microsecond is forgiven, because sums of seconds end a little below their end."""
    return timedelta(milliseconds=int(seconds * 1000 + 1e-3))


class State:
    """One store. `now` is its time, in whole milliseconds like every other store's. Lengths of time are measured by
    `steady`, which begins with the same instant and goes on when the clock is set."""

    def __init__(self, clock: Clock, retention: Retention) -> None:
        self._clock = clock
        self._began = self.now() - _milliseconds(clock.monotonic())
        self.retention = retention
        self.wake = Condition()
        self.signal = Condition()
        self.entries: dict[TaskKey, TaskEntry] = {}
        self.version = 0
        self.changes: deque[tuple[int, TaskKey]] = deque(maxlen=CHANGES_REMEMBERED)
        """The newest versions, each with the task that it is about."""
        self.incarnation = 0
        self.term: Term | None = None
        self.lease_ends = _EPOCH
        self.queued: dict[Priority, dict[RunId, RunEntry]] = {priority: {} for priority in Priority}
        self.claimed: dict[RunId, RunEntry] = {}
        self.waiting: dict[RunId, RunEntry] = {}
        self.instants: list[tuple[datetime, int, RunId]] = []
        """A heap of when the waiting runs are due. An instant stays in it when its run no longer waits for it."""
        self.present: dict[NodeId, tuple[Presence, datetime]] = {}
        self._token = 0
        self._number = 0

    def copy(self) -> StateCopy:
        """Everything that the store holds, at this instant."""
        return StateCopy(copy.deepcopy({name: getattr(self, name) for name in _HELD}))

    def restore(self, held: StateCopy | None) -> None:
        """Hold what a copy holds, or nothing."""
        chosen = State(self._clock, self.retention).copy() if held is None else held
        for name, value in copy.deepcopy(chosen.held).items():
            setattr(self, name, value)
        self.wake.notify()
        self.signal.notify()

    def now(self) -> datetime:
        now = self._clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def steady(self) -> datetime:
        return self._began + _milliseconds(self._clock.monotonic())

    def shown(self, instant: datetime) -> datetime:
        """A steady instant as the clock says it."""
        return instant + (self.now() - self.steady())

    def next_number(self, last: int) -> int:
        """Strictly greater than `last`, and greater than anything a wiped store may have given out before."""
        return max(last + 1, (self.steady() - _EPOCH) // timedelta(milliseconds=1))

    def next_token(self) -> int:
        """Strictly greater than every token before, and than those of an earlier process, whose time was before."""
        self._token = max(self._token + 1, (self.steady() - _EPOCH) // timedelta(microseconds=1))
        return self._token

    def reigns(self, term: Term) -> bool:
        return self.term == term and self.steady() < self.lease_ends

    # -- the places of a run ------------------------------------------------------------------------------------------

    def to_queue(self, place: RunEntry) -> None:
        """Queue a run, at the end of the line."""
        place.state, place.worker, place.due_at, place.retrying = RunState.QUEUED, None, None, False
        self.queued[place.run.priority][place.run.id] = place
        self.wake.notify()

    def to_waiting(self, place: RunEntry, due_at: datetime, *, retrying: bool) -> None:
        place.state, place.worker, place.due_at, place.retrying = RunState.WAITING, None, due_at, retrying
        self.waiting[place.run.id] = place
        self._number += 1
        heapq.heappush(self.instants, (due_at, self._number, place.run.id))
        if len(self.instants) > 2 * len(self.waiting) + 100:
            self.instants = [one for one in self.instants if self._waits(one)]
            heapq.heapify(self.instants)
        self.wake.notify()

    def _waits(self, instant: tuple[datetime, int, RunId]) -> bool:
        due_at, _, run = instant
        return run in self.waiting and self.waiting[run].due_at == due_at

    def next_instant(self) -> datetime | None:
        """When the next waiting run is due."""
        while self.instants and not self._waits(self.instants[0]):
            heapq.heappop(self.instants)
        return self.instants[0][0] if self.instants else None

    def promote(self) -> datetime | None:
        """Queue the waiting runs whose instant has come; the answer is the next instant."""
        now = self.steady()
        while (following := self.next_instant()) is not None and following <= now:
            self.to_queue(self.waiting.pop(self.instants[0][2]))
        return following

    def take(self, place: RunEntry) -> None:
        """Take a live run out of the place where it stands."""
        for line in (*self.queued.values(), self.claimed, self.waiting):
            line.pop(place.run.id, None)

    def end(self, place: RunEntry) -> None:
        """A run has ended: forget its place and let the next held run go."""
        self.take(place)
        entry = self.entries.get(place.run.task)
        if entry is None:
            return
        entry.live.pop(place.run.id, None)
        if entry.held and not entry.live:
            following = entry.held.popleft()
            entry.live[following.run.id] = following
            self.to_queue(following)

    def holder(self, claim: Claim) -> RunEntry | None:
        """The place of a claim that still holds its run."""
        place = self.claimed.get(claim.run.id)
        return place if place is not None and (place.token, place.worker) == (claim.token, claim.worker) else None
