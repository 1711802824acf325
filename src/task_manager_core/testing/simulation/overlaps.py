"""Finds intervals that overlap, and instants with many slots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from task_manager_core.domain.identity import TaskKey


class Interval(Protocol):
    """Begins at `began`. Ends at `ended`; None: it goes on."""

    @property
    def began(self) -> datetime: ...

    @property
    def ended(self) -> datetime | None: ...


T = TypeVar("T", bound=Interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapInterval(Generic[T]):
    """The time that two intervals have in common: from the beginning of the second until one of them ends."""

    first: T
    second: T
    began: datetime
    ended: datetime

    @property
    def lasting(self) -> timedelta:
        return self.ended - self.began

    def __str__(self) -> str:
        return f"{self.lasting} from {self.began:%Y-%m-%d %H:%M:%S}: {self.first} | {self.second}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PileUp:
    """An instant, and the tasks that have a slot at it."""

    at: datetime
    tasks: tuple[TaskKey, ...]

    def __str__(self) -> str:
        return f"{len(self.tasks)} slots at {self.at:%Y-%m-%d %H:%M:%S}"


def overlaps(intervals: Sequence[T], end: datetime) -> Iterator[OverlapInterval[T]]:
    """Every two intervals that overlap. Open ones last until `end`. Two that only touch do not overlap."""
    open_ones: list[T] = []
    for interval in sorted(intervals, key=lambda one: one.began):
        open_ones = [one for one in open_ones if (one.ended or end) > interval.began]
        for other in open_ones:
            if (interval.ended or end) > other.began:
                yield _overlap(other, interval, end)
        open_ones.append(interval)


def overlaps_between(ones: Sequence[T], others: Sequence[T], end: datetime) -> Iterator[OverlapInterval[T]]:
    """The same, for one interval of each of the two sequences."""
    first_ids = frozenset(map(id, ones))
    for overlap in overlaps([*ones, *others], end):
        if (id(overlap.first) in first_ids) != (id(overlap.second) in first_ids):
            yield overlap


def _overlap(first: T, second: T, end: datetime) -> OverlapInterval[T]:
    return OverlapInterval(
        first=first, second=second, began=second.began, ended=min(first.ended or end, second.ended or end)
    )


def pile_ups_of(slots: Iterable[tuple[datetime, TaskKey]], at_least: int) -> tuple[PileUp, ...]:
    """The instants with at least so many slots: the greatest number first, then the earliest."""
    tasks_at: defaultdict[datetime, list[TaskKey]] = defaultdict(list)
    for slot, key in slots:
        tasks_at[slot].append(key)
    found = (PileUp(at=at, tasks=tuple(keys)) for at, keys in tasks_at.items() if len(keys) >= at_least)
    return tuple(sorted(found, key=lambda pile: (-len(pile.tasks), pile.at)))
