"""Which intervals meet, and which instants are crowded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from task_manager_core.domain.identity import TaskKey


class Interval(Protocol):
    """From `began` on, to `ended` or open."""

    @property
    def began(self) -> datetime: ...

    @property
    def ended(self) -> datetime | None: ...


T = TypeVar("T", bound=Interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapInterval(Generic[T]):
    """Two that went on together, from the beginning of the second to the end of the one that ended first."""

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
    """An instant and the tasks that have a slot there."""

    at: datetime
    tasks: tuple[TaskKey, ...]

    def __str__(self) -> str:
        return f"{len(self.tasks)} slots at {self.at:%Y-%m-%d %H:%M:%S}"


def overlaps(intervals: Sequence[T], end: datetime) -> Iterator[OverlapInterval[T]]:
    """Every two of them that have an instant in common; open ones last until `end`. To touch is not to meet."""
    going_on: list[T] = []
    for interval in sorted(intervals, key=lambda one: one.began):
        going_on = [one for one in going_on if (one.ended or end) > interval.began]
        for other in going_on:
            if (interval.ended or end) > other.began:
                yield _overlap(other, interval, end)
        going_on.append(interval)


def overlaps_between(ones: Sequence[T], others: Sequence[T], end: datetime) -> Iterator[OverlapInterval[T]]:
    """The same for one of the ones and one of the others."""
    mine = frozenset(map(id, ones))
    for overlap in overlaps([*ones, *others], end):
        if (id(overlap.first) in mine) != (id(overlap.second) in mine):
            yield overlap


def _overlap(first: T, second: T, end: datetime) -> OverlapInterval[T]:
    return OverlapInterval(
        first=first, second=second, began=second.began, ended=min(first.ended or end, second.ended or end)
    )


def gathered(slots: Iterable[tuple[datetime, TaskKey]], at_least: int) -> tuple[PileUp, ...]:
    """The instants with at least so many slots, the greatest crowd first, then the earliest."""
    crowds: defaultdict[datetime, list[TaskKey]] = defaultdict(list)
    for slot, key in slots:
        crowds[slot].append(key)
    found = (PileUp(at=at, tasks=tuple(keys)) for at, keys in crowds.items() if len(keys) >= at_least)
    return tuple(sorted(found, key=lambda pile: (-len(pile.tasks), pile.at)))
