"""The coming slots of many tasks, in the order of their instants."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.preview import Upcoming, search
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComingSlots:
    """The slots of one instant that tasks with equal schedules have."""

    upcoming: Upcoming
    tasks: tuple[TaskKey, ...]


def coming_slots(tasks: Iterable[TaskDefinition], start: datetime, end: datetime) -> Iterator[ComingSlots | None]:
    """The slots in [start, end) in order, and None for each step that has found none yet.

    Tasks with equal schedules cost as much as one. The caller may stop or pause after any step, and the slots found so
    far have no slot missing between them.
    """
    schedules: dict[Schedule, list[TaskKey]] = {}
    for task in tasks:
        schedules.setdefault(task.schedule, []).append(task.key)
        yield None
    heap: list[tuple[datetime, int, Upcoming, Iterator[Upcoming | None], tuple[TaskKey, ...]]] = []
    for number, (schedule, equal) in enumerate(schedules.items()):
        found = search(schedule, start - _MILLISECOND)
        for upcoming in found:
            if upcoming is not None:
                heap.append((upcoming.slot, number, upcoming, found, tuple(equal)))
                break
            yield None
    heapq.heapify(heap)
    while heap and heap[0][0] < end:
        _, number, upcoming, found, keys = heap[0]
        yield ComingSlots(upcoming=upcoming, tasks=keys)
        for following in found:
            if following is not None:
                heapq.heapreplace(heap, (following.slot, number, following, found, keys))
                break
            yield None
        else:
            heapq.heappop(heap)
