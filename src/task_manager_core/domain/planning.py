"""What happens to slots that have fallen due: each is dispatched, held, or skipped with a reason. Never nothing.

The scheduler reads what is due, asks `advance` and commits the answer; the store repeats the comparisons that another
process could have overtaken (version, next slot, pause, live runs) in the same atomic step. The order of the rules is
the order of the reasons that `explain` shows:

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
"""A long outage of a frequent task is worked off in steps of this many slots, so that no step blocks a process."""


class SkipReason(Enum):
    """Why a slot was not dispatched. A closed set."""

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
    """A task whose next slot is due (at `due_at`, as it was planned), with what the decision needs. Instants are the
    store's.

    `live` counts runs that are queued, running or waiting; `held` those that wait for them; `retrying` the live ones
    that wait for a backoff. Slots that fell due up to `resumed_at` did so in a pause that has ended.
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
    """What the store shows a scheduler: its time, the due tasks (earliest first), the next instant anything is due."""

    now: datetime
    due: tuple[DueTask, ...]
    next_due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDecision:
    """The decision about the due slots of one task.

    Valid only while the task is at `version` with next slot `slot`, is not paused (if anything is dispatched), and its
    live and held runs leave room for what `fire` and `hold` promise.
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
        """The last slot that this decision accounts for."""
        runs = self.dispatch if self.hold is None else (*self.dispatch, self.hold)
        slots = [run.slot for run in runs if run.slot is not None]
        return max((*slots, *(skip.last for skip in self.skipped)), default=None)

    @property
    def slots(self) -> int:
        """How many slots this decision accounts for."""
        return len(self.dispatch) + (self.hold is not None) + sum(skip.count for skip in self.skipped)


def next_slot_after(task: TaskDefinition, instant: datetime) -> NextSlot | None:
    """The first slot after an instant, or None when the schedule has ended."""
    slot = task.schedule.next_after(instant)
    return None if slot is None else NextSlot(slot=slot, due_at=task.schedule.due_at(task.key, slot))


def first_slot(task: TaskDefinition, now: datetime) -> NextSlot | None:
    """The plan of a task that nobody has seen before: its first slot to come, or `now` if it runs on start.

    A task that runs on start does so within the bounds of its schedule only.
    """
    if task.run_on_start and task.schedule.holds(now):
        return NextSlot(slot=now, due_at=now)
    return next_slot_after(task, now)


def abandoned_slots(
    task: TaskDefinition, next_slot: NextSlot | None, now: datetime, reason: SkipReason
) -> tuple[Skipped | None, NextSlot | None]:
    """The slots up to `now` that nobody will decide about, because their schedule or their store is gone: at most a
    step of them, and the plan that follows."""
    slots: list[datetime] = []
    while next_slot is not None and next_slot.slot <= now and len(slots) < SLOTS_PER_DECISION:
        slots.append(next_slot.slot)
        next_slot = next_slot_after(task, next_slot.slot)
    if not slots:
        return None, next_slot
    return Skipped(first=slots[0], last=slots[-1], count=len(slots), reason=reason), next_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class _DueSlot:
    """`opens_at`: from when it could be dispatched. Slots go in their order, so one with little jitter that follows one
    with much waits for that, and is not late before."""

    slot: datetime
    due_at: datetime
    opens_at: datetime


@dataclass(slots=True)
class _Sorting:
    """The due slots of one task on their way through the rules."""

    left: list[_DueSlot]
    skipped: dict[datetime, SkipReason] = field(default_factory=dict[datetime, SkipReason])

    def skip(self, slots: Iterable[_DueSlot], reason: SkipReason) -> None:
        for one in slots:
            self.skipped[one.slot] = reason
        self.left = [one for one in self.left if one.slot not in self.skipped]


def decide_slots(task: TaskDefinition, due: DueTask, now: datetime) -> SlotDecision:
    """Decide about every slot of the task that is due at the store's `now`."""
    slots, plan = _due_slots(task, due, now)
    slots, plan, more = _step(task, slots, plan, now)

    sorting = _Sorting(slots)
    if due.paused:
        sorting.skip(slots, SkipReason.PAUSED)
    if due.resumed_at is not None:
        resumed_at = due.resumed_at
        sorting.skip([one for one in slots if one.due_at <= resumed_at], SkipReason.PAUSED)
    if task.start_deadline is not None:
        oldest = now - task.start_deadline
        sorting.skip([one for one in sorting.left if one.opens_at < oldest], SkipReason.DEADLINE)
    sorting.skip(_not_caught_up(task.catch_up, sorting.left, now, more=more), SkipReason.CATCH_UP)
    if due.retrying:
        sorting.skip(sorting.left, SkipReason.BACKOFF)
    fire, hold, overlapping = _room(task.overlap, sorting.left, due)
    sorting.skip(overlapping, SkipReason.OVERLAP)

    return SlotDecision(
        key=task.key,
        version=due.version,
        slot=due.slot,
        dispatch=tuple(task.run_of_slot(one.slot, due.version, one.opens_at) for one in fire),
        hold=None if hold is None else task.run_of_slot(hold.slot, due.version, hold.opens_at),
        skipped=_ranges([one.slot for one in slots], sorting.skipped),
        next_slot=plan,
    )


def _due_slots(task: TaskDefinition, due: DueTask, now: datetime) -> tuple[list[_DueSlot], NextSlot | None]:
    """The due slots from the next one on, at most a step of them, and the plan that follows."""
    slots: list[_DueSlot] = []
    opens_at = due.due_at
    plan: NextSlot | None = NextSlot(slot=due.slot, due_at=due.due_at)
    while plan is not None and len(slots) < SLOTS_PER_DECISION and (not slots or plan.due_at <= now):
        opens_at = max(opens_at, plan.due_at)
        slots.append(_DueSlot(slot=plan.slot, due_at=plan.due_at, opens_at=opens_at))
        plan = next_slot_after(task, plan.slot)
    if plan is not None and plan.due_at < opens_at:
        plan = NextSlot(slot=plan.slot, due_at=opens_at)
    return slots, plan


def _step(
    task: TaskDefinition, slots: list[_DueSlot], plan: NextSlot | None, now: datetime
) -> tuple[list[_DueSlot], NextSlot | None, bool]:
    """Of a full step of missed slots leave the newest for the next step, which alone knows whether they are the newest
    of all; the last answer is whether some were left."""
    if len(slots) < SLOTS_PER_DECISION or plan is None or not _missed(task.catch_up, slots[-1], now):
        return slots, plan, False
    keep = task.catch_up.limit
    first = slots[-keep]
    return slots[:-keep], NextSlot(slot=first.slot, due_at=first.opens_at), True


def _missed(policy: CatchUp, one: _DueSlot, now: datetime) -> bool:
    return now - one.opens_at > policy.grace


def _not_caught_up(policy: CatchUp, slots: Sequence[_DueSlot], now: datetime, *, more: bool) -> list[_DueSlot]:
    """The missed slots that the catch-up policy drops. `more`: newer missed slots follow in a later step."""
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


def _room(
    overlap: Overlap, slots: Sequence[_DueSlot], due: DueTask
) -> tuple[Sequence[_DueSlot], _DueSlot | None, Sequence[_DueSlot]]:
    """Split slots into those to dispatch, the one to hold, and those that overlap."""
    if overlap is Overlap.ALLOW:
        return slots, None, ()
    places = 1 if due.live == 0 and due.held == 0 else 0
    fire, rest = slots[:places], slots[places:]
    if overlap is Overlap.BUFFER_ONE and due.held == 0 and rest:
        return fire, rest[0], rest[1:]
    return fire, None, rest


def _ranges(slots: Sequence[datetime], skipped: dict[datetime, SkipReason]) -> tuple[Skipped, ...]:
    """Neighbouring slots with one reason as one record."""
    found: list[Skipped] = []
    for reason, group in groupby(slots, key=skipped.get):
        members = list(group)
        if reason is not None:
            found.append(Skipped(first=members[0], last=members[-1], count=len(members), reason=reason))
    return tuple(found)
