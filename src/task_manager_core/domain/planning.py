"""The rules for due slots: each slot is dispatched, held, or skipped with a reason. No slot is lost.

The scheduler reads the due tasks, calls `decide_slots` and commits the decision. In the atomic step of the commit the
store compares again everything that another process may have changed (version, next slot, pause, live runs). The rules
apply in the order of the reasons that `explain` shows:

    paused → deadline → catch_up → backoff → overlap → dispatch
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import groupby
from typing import assert_never

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import CatchUp, CatchUpMode, Overlap
from task_manager_core.domain.run import Run
from task_manager_core.domain.task import TaskDefinition

SLOTS_PER_DECISION = 1000
"""After a long outage a frequent task is decided in steps of this many slots, so that no step blocks a process."""


class SkipReason(Enum):
    """Why a slot was not dispatched."""

    PAUSED = "paused"
    OVERLAP = "overlap"
    BACKOFF = "backoff"
    DEADLINE = "deadline"
    CATCH_UP = "catch_up"
    DELETED = "deleted"
    STORE_LOST = "store_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """`count` consecutive slots from `first` to `last` (both included) that share a reason."""

    first: datetime
    last: datetime
    count: int
    reason: SkipReason


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSlot:
    """The next slot of a task and the instant (slot + jitter) from which it may be dispatched."""

    slot: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTask:
    """A task whose next slot is due, with all that the decision needs. Instants are in the store's time.

    `live` counts the runs that are queued, running or waiting, `held` the runs that wait for them, and `retrying` the
    live runs that wait for a retry. The last pause ended at `resumed_at`: slots that fell due up to then fell into the
    pause.
    """

    key: TaskKey
    version: int
    slot: datetime
    due_at: datetime
    paused: bool = False
    resumed_at: datetime | None = None
    live: int = 0
    held: int = 0
    retrying: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """The store's time, the due tasks (earliest first), and the next instant at which a task is due.

    `unreadable` counts the due tasks that are left out because the store could not read their state. `upcoming` is the
    number of tasks that are due at that next instant.
    """

    now: datetime
    due: tuple[DueTask, ...]
    next_due: datetime | None
    unreadable: int = 0
    upcoming: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDecision:
    """The decision about the due slots of one task.

    The store keeps it only while the task has this `version` and the next slot `slot`, is not paused (if a run is
    dispatched or held), and has no live or held runs that exclude the runs of `dispatch` and `hold`.
    """

    key: TaskKey
    version: int
    slot: datetime
    dispatch: tuple[Run, ...] = ()
    hold: Run | None = None
    skipped: tuple[Skipped, ...] = ()
    next_slot: NextSlot | None = None

    @property
    def last(self) -> datetime | None:
        """The last slot of this decision."""
        if not self.skipped and self.hold is None and len(self.dispatch) == 1:
            return self.dispatch[0].slot
        runs = self.dispatch if self.hold is None else (*self.dispatch, self.hold)
        slots = [run.slot for run in runs if run.slot is not None]
        return max((*slots, *(skip.last for skip in self.skipped)), default=None)

    @property
    def slots(self) -> int:
        """The number of slots of this decision."""
        return len(self.dispatch) + (self.hold is not None) + sum(skip.count for skip in self.skipped)


def next_slot_after(task: TaskDefinition, instant: datetime) -> NextSlot | None:
    """The first slot after an instant, or None when the schedule has ended."""
    slot = task.schedule.next_after(instant)
    return None if slot is None else NextSlot(slot=slot, due_at=task.schedule.due_at(task.key, slot))


def first_slot(task: TaskDefinition, now: datetime) -> NextSlot | None:
    """The first slot of a new task: the first slot after `now`, or `now` itself if the task runs on start.

    A task runs on start only within the bounds of its schedule.
    """
    if task.run_on_start and task.schedule.holds(now):
        return NextSlot(slot=now, due_at=now)
    return next_slot_after(task, now)


def abandoned_slots(
    task: TaskDefinition, next_slot: NextSlot | None, now: datetime, reason: SkipReason
) -> tuple[Skipped | None, NextSlot | None]:
    """The slots up to `now` that get no decision, because their schedule or their store is gone.

    Returns at most SLOTS_PER_DECISION of them, and the next slot after them.
    """
    slots: list[datetime] = []
    while next_slot is not None and next_slot.slot <= now and len(slots) < SLOTS_PER_DECISION:
        slots.append(next_slot.slot)
        next_slot = next_slot_after(task, next_slot.slot)
    if not slots:
        return None, next_slot
    return Skipped(first=slots[0], last=slots[-1], count=len(slots), reason=reason), next_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class _DueSlot:
    """A due slot. `opens_at` is the first instant at which it can be dispatched.

    Slots are dispatched in their order. A slot with little jitter may follow a slot with much jitter: it then waits for
    the slot before it, and is not late before that one is due.
    """

    slot: datetime
    due_at: datetime
    opens_at: datetime


@dataclass(slots=True)
class _Undecided:
    """The due slots of one task while the rules are applied: those that are left, and those that are skipped."""

    left: list[_DueSlot]
    skipped: dict[datetime, SkipReason] = field(default_factory=dict[datetime, SkipReason])

    def skip(self, slots: Iterable[_DueSlot], reason: SkipReason) -> None:
        for one in slots:
            self.skipped[one.slot] = reason
        self.left = [one for one in self.left if one.slot not in self.skipped]


def decide_slots(task: TaskDefinition, due: DueTask, now: datetime) -> SlotDecision:
    """Decide about every slot of the task that is due at the store's `now`."""
    slots, next_slot = _due_slots(task, due, now)
    slots, next_slot, more = _step(task, slots, next_slot, now)

    undecided = _Undecided(slots)
    if due.paused:
        undecided.skip(slots, SkipReason.PAUSED)
    if due.resumed_at is not None:
        resumed_at = due.resumed_at
        undecided.skip([one for one in slots if one.due_at <= resumed_at], SkipReason.PAUSED)
    if task.start_deadline is not None:
        oldest = now - task.start_deadline
        undecided.skip([one for one in undecided.left if one.opens_at < oldest], SkipReason.DEADLINE)
    undecided.skip(_not_caught_up(task.catch_up, undecided.left, now, more=more), SkipReason.CATCH_UP)
    if due.retrying:
        undecided.skip(undecided.left, SkipReason.BACKOFF)
    dispatch, hold, overlapping = _apply_overlap(task, undecided.left, due)
    undecided.skip(overlapping, SkipReason.OVERLAP)

    return SlotDecision(
        key=task.key,
        version=due.version,
        slot=due.slot,
        dispatch=tuple(task.run_of_slot(one.slot, due.version, one.opens_at) for one in dispatch),
        hold=None if hold is None else task.run_of_slot(hold.slot, due.version, hold.opens_at),
        skipped=_ranges([one.slot for one in slots], undecided.skipped),
        next_slot=next_slot,
    )


def _due_slots(task: TaskDefinition, due: DueTask, now: datetime) -> tuple[list[_DueSlot], NextSlot | None]:
    """The due slots from the stored next slot on, at most SLOTS_PER_DECISION, and the next slot after them."""
    slots: list[_DueSlot] = []
    opens_at = due.due_at
    found: NextSlot | None = NextSlot(slot=due.slot, due_at=due.due_at)
    while found is not None and len(slots) < SLOTS_PER_DECISION and (not slots or found.due_at <= now):
        opens_at = max(opens_at, found.due_at)
        slots.append(_DueSlot(slot=found.slot, due_at=found.due_at, opens_at=opens_at))
        found = next_slot_after(task, found.slot)
    if found is not None and found.due_at < opens_at:
        found = NextSlot(slot=found.slot, due_at=opens_at)
    return slots, found


def _step(
    task: TaskDefinition, slots: list[_DueSlot], next_slot: NextSlot | None, now: datetime
) -> tuple[list[_DueSlot], NextSlot | None, bool]:
    """Leave the newest slots of a full step of missed slots to the next step.

    Only the next step knows whether they are the newest missed slots of all. The third result is True if slots were
    left.
    """
    if len(slots) < SLOTS_PER_DECISION or next_slot is None or not _missed(task.catch_up, slots[-1], now):
        return slots, next_slot, False
    keep = task.catch_up.limit
    first = slots[-keep]
    return slots[:-keep], NextSlot(slot=first.slot, due_at=first.opens_at), True


def _missed(policy: CatchUp, one: _DueSlot, now: datetime) -> bool:
    return now - one.opens_at > policy.grace


def _not_caught_up(policy: CatchUp, slots: Sequence[_DueSlot], now: datetime, *, more: bool) -> list[_DueSlot]:
    """The missed slots that the catch-up policy drops. `more` means that a later step has newer missed slots."""
    missed = [one for one in slots if _missed(policy, one, now)]
    kept: Sequence[_DueSlot]
    match policy.mode:
        case CatchUpMode.NONE:
            kept = ()
        case CatchUpMode.LATEST:
            kept = missed[-1:] if len(missed) == len(slots) and not more else ()
        case CatchUpMode.ALL:
            kept = () if more else [one for one in missed if now - one.opens_at <= policy.window][-policy.limit :]
        case _:
            assert_never(policy.mode)
    run = {one.slot for one in kept}
    return [one for one in missed if one.slot not in run]


def _apply_overlap(
    task: TaskDefinition, slots: Sequence[_DueSlot], due: DueTask
) -> tuple[Sequence[_DueSlot], _DueSlot | None, Sequence[_DueSlot]]:
    """Split slots into those to dispatch, the one to hold, and those that overlap."""
    if task.live_limit is None:
        return slots, None, ()
    places = 0 if due.held else max(0, task.live_limit - due.live)
    dispatch, rest = slots[:places], slots[places:]
    if task.overlap is Overlap.BUFFER_ONE and due.held == 0 and rest:
        return dispatch, rest[0], rest[1:]
    return dispatch, None, rest


def _ranges(slots: Sequence[datetime], skipped: dict[datetime, SkipReason]) -> tuple[Skipped, ...]:
    """One record for each sequence of slots that share a reason."""
    found: list[Skipped] = []
    for reason, group in groupby(slots, key=skipped.get):
        members = list(group)
        if reason is not None:
            found.append(Skipped(first=members[0], last=members[-1], count=len(members), reason=reason))
    return tuple(found)
