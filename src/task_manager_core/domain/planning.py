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
from task_manager_core.domain.policy import CatchUpMode, Overlap
from task_manager_core.domain.run import Run
from task_manager_core.domain.task import Task

SLOTS_PER_DECISION = 1000
"""A long outage of a frequent task is worked off in steps of this many slots, so that no step blocks a process."""

MOST_GIVEN_UP = 100_000
"""What is given up is counted in one go: some seconds of work for a secondly task after a day without a leader."""


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
class Plan:
    """The next slot of a task and the instant (slot + jitter) from which it may be dispatched."""

    slot: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTask:
    """A task whose next slot is due, with what the decision needs. Instants are the store's.

    `live` counts runs that are queued, running or waiting; `held` those that wait for them; `retrying` the live ones
    that wait for a backoff. Slots up to `resumed_at` fell into a pause that has ended.
    """

    key: TaskKey
    version: int
    slot: datetime
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
class Advance:
    """The decision about the due slots of one task.

    Valid only while the task is at `version` with next slot `slot`, is not paused (if anything is dispatched), and its
    live and held runs leave room for what `fire` and `hold` promise.
    """

    key: TaskKey
    version: int
    slot: datetime
    fire: tuple[Run, ...] = ()
    hold: Run | None = None
    skipped: tuple[Skipped, ...] = ()
    plan: Plan | None = None

    @property
    def slots(self) -> int:
        """How many slots this decision accounts for."""
        return len(self.fire) + (self.hold is not None) + sum(skip.count for skip in self.skipped)


def plan_after(task: Task, instant: datetime) -> Plan | None:
    """The first slot after an instant, or None when the schedule has ended."""
    slot = task.schedule.next_after(instant)
    return None if slot is None else Plan(slot=slot, due_at=task.schedule.due_at(task.key, slot))


def first_plan(task: Task, now: datetime) -> Plan | None:
    """The plan of a task that nobody has seen before: its first slot to come, or `now` if it runs on start.

    A task that runs on start does so within the bounds of its schedule only.
    """
    if task.run_on_start and task.schedule.holds(now):
        return Plan(slot=now, due_at=now)
    return plan_after(task, now)


def given_up(task: Task, plan: Plan | None, now: datetime, reason: SkipReason) -> tuple[Skipped, ...]:
    """The slots up to `now` that nobody will decide about, because their schedule or their store is gone."""
    slots: list[datetime] = []
    while plan is not None and plan.slot <= now and len(slots) < MOST_GIVEN_UP:
        slots.append(plan.slot)
        plan = plan_after(task, plan.slot)
    return _ranges(slots, dict.fromkeys(slots, reason))


@dataclass(slots=True)
class _Sorting:
    """The due slots of one task on their way through the rules."""

    left: list[datetime]
    skipped: dict[datetime, SkipReason] = field(default_factory=dict[datetime, SkipReason])

    def skip(self, slots: Iterable[datetime], reason: SkipReason) -> None:
        for slot in slots:
            self.skipped[slot] = reason
        self.left = [slot for slot in self.left if slot not in self.skipped]


def advance(task: Task, due: DueTask, now: datetime) -> Advance:
    """Decide about every slot of the task that is due at the store's `now`."""
    slots, plan = _due_slots(task, due.slot, now)
    accounted, plan = _step(task, slots, plan)
    more = len(accounted) < len(slots)

    sorting = _Sorting(list(accounted))
    if due.paused:
        sorting.skip(accounted, SkipReason.PAUSED)
    if due.resumed_at is not None:
        resumed_at = due.resumed_at
        sorting.skip([slot for slot in accounted if slot <= resumed_at], SkipReason.PAUSED)
    if task.start_deadline is not None:
        oldest = now - task.start_deadline
        late = [slot for slot in sorting.left if task.schedule.due_at(task.key, slot) < oldest]
        sorting.skip(late, SkipReason.DEADLINE)
    sorting.skip(_not_caught_up(task, sorting.left, now, more=more), SkipReason.CATCH_UP)
    if due.retrying:
        sorting.skip(sorting.left, SkipReason.BACKOFF)
    fire, hold, overlapping = _room(task.overlap, sorting.left, due)
    sorting.skip(overlapping, SkipReason.OVERLAP)

    return Advance(
        key=task.key,
        version=due.version,
        slot=due.slot,
        fire=tuple(task.run_of_slot(slot, due.version) for slot in fire),
        hold=None if hold is None else task.run_of_slot(hold, due.version),
        skipped=_ranges(accounted, sorting.skipped),
        plan=plan,
    )


def _due_slots(task: Task, first: datetime, now: datetime) -> tuple[list[datetime], Plan | None]:
    """The due slots from `first` on, at most a step of them, and the plan that follows."""
    slots: list[datetime] = []
    plan: Plan | None = Plan(slot=first, due_at=task.schedule.due_at(task.key, first))
    while plan is not None and len(slots) < SLOTS_PER_DECISION and (not slots or plan.due_at <= now):
        slots.append(plan.slot)
        plan = plan_after(task, plan.slot)
    return slots, plan


def _step(task: Task, slots: list[datetime], plan: Plan | None) -> tuple[list[datetime], Plan | None]:
    """Leave the newest slots of a full step for the next one, which alone knows whether they are the newest of all."""
    if len(slots) < SLOTS_PER_DECISION or plan is None:
        return slots, plan
    keep = task.catch_up.limit
    slot = slots[-keep]
    return slots[:-keep], Plan(slot=slot, due_at=task.schedule.due_at(task.key, slot))


def _not_caught_up(task: Task, slots: Sequence[datetime], now: datetime, *, more: bool) -> list[datetime]:
    """The missed slots that the catch-up policy drops. `more`: newer due slots follow in a later step."""
    policy = task.catch_up
    late = {slot: now - task.schedule.due_at(task.key, slot) for slot in slots}
    missed = [slot for slot in slots if late[slot] > policy.grace]
    kept: Sequence[datetime]
    match policy.mode:
        case CatchUpMode.NONE:
            kept = ()
        case CatchUpMode.LATEST:
            kept = missed[-1:] if len(missed) == len(slots) and not more else ()
        case CatchUpMode.ALL:
            kept = () if more else [slot for slot in missed if late[slot] <= policy.window][-policy.limit :]
        case _:
            assert_never(policy.mode)
    run = frozenset(kept)
    return [slot for slot in missed if slot not in run]


def _room(
    overlap: Overlap, slots: Sequence[datetime], due: DueTask
) -> tuple[Sequence[datetime], datetime | None, Sequence[datetime]]:
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
