"""Pages of tasks with their state and their newest attempts.

A page costs a bounded number of requests to the store, whatever the number of tasks: it reads at most MOST_EXAMINED of
them.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from task_manager_core.domain.errors import InvalidPolicy, TaskNotFound
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.observation import TaskView
from task_manager_core.domain.policy import require
from task_manager_core.domain.run import AttemptRecord
from task_manager_core.domain.standing import Standing, standings
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition
from task_manager_core.ports import History

MOST_LISTED = 500
"""Most tasks of one page."""

MOST_EXAMINED = 1_000
"""Most tasks whose state one page reads."""

LINES_READ = 40
"""The lines of history that are read of each task of a page."""

LONGEST_TEXT = 200
TASKS_PER_SLICE = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST = 2**62

Place = tuple[int, str, str]
"""The place of a task in a list: the value by which the list is sorted, its group and its name."""


class Order(Enum):
    """The order of a list of tasks: by group and name, the next run first, or the last run first."""

    NAME = "name"
    NEXT_RUN = "next_run"
    LAST_RUN = "last_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A definition with its state and its newest attempts, the newest first, in outline."""

    stored: VersionedDefinition
    view: TaskView
    standings: tuple[Standing, ...]
    recent: tuple[AttemptRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which tasks of a list a page holds. `text` has words, each of which stands in the group, the name, the
    description, the function or a tag of the task. `after` is the place of the last task of the page before.

    Errors: InvalidPolicy.
    """

    limit: int = 100
    after: Place | None = None
    standing: Standing | None = None
    text: str = ""
    order: Order = Order.NAME

    def __post_init__(self) -> None:
        require(1 <= self.limit <= MOST_LISTED, "limit", self.limit, f"must be between 1 and {MOST_LISTED}")
        require(len(self.text) <= LONGEST_TEXT, "text", len(self.text), f"must not exceed {LONGEST_TEXT} characters")

    def place_of(self, overview: Overview) -> Place:
        key = overview.stored.definition.key
        return self._value(overview), key.group, key.name

    def _value(self, overview: Overview) -> int:
        match self.order:
            case Order.NEXT_RUN:
                following = overview.view.next_slot
                return _LAST if following is None else (following.due_at - _EPOCH) // _MILLISECOND
            case Order.LAST_RUN:
                return -((overview.recent[0].started_at - _EPOCH) // _MILLISECOND) if overview.recent else _LAST
            case _:
                return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Tasks in their order. `following` is the place after which the next page begins; None if this is the last one.

    A page of a list that is filtered by standing may hold fewer tasks than its limit, also none, and have a next page.
    """

    overviews: tuple[Overview, ...]
    following: Place | None


class Overviews:
    """Reads pages of tasks, and single tasks."""

    def __init__(self, *, history: History, definition: Callable[[TaskKey], VersionedDefinition]) -> None:
        self._history = history
        self._definition = definition

    async def one(self, key: TaskKey) -> Overview:
        """A task with its state and its newest attempts. Errors: TaskNotFound."""
        found = await self._read([self._definition(key)], LINES_READ)
        if not found:
            raise TaskNotFound(key.group, key.name)
        return found[0]

    async def page(self, selected: Sequence[VersionedDefinition], query: PageQuery) -> Page:
        """A page of these tasks, which stand in the order of their keys. Errors: InvalidPolicy for a list that is too
        long to be sorted by its state."""
        left = await _matching(selected, query.text)
        if query.order is Order.NAME:
            if query.after is not None:
                left = left[bisect_right(left, query.after[1:], key=_names) :]
            examined = left[: query.limit if query.standing is None else MOST_EXAMINED]
        else:
            if len(left) > MOST_EXAMINED:
                reason = f"is possible for at most {MOST_EXAMINED} tasks, and {len(left)} match: add a filter"
                raise InvalidPolicy("sort", query.order.value, reason)
            examined = left
        plain = query.order is Order.NAME and query.standing is None
        found = await self._read(examined, LINES_READ if plain else 1)
        placed = sorted(
            (query.place_of(overview), number)
            for number, overview in enumerate(found)
            if query.standing is None or query.standing in overview.standings
        )
        places = [(place, number) for place, number in placed if query.after is None or place > query.after]
        shown = places[: query.limit]
        overviews = [found[number] for _, number in shown]
        if not plain:
            overviews = await self._read([overview.stored for overview in overviews], LINES_READ)
        following: Place | None = None
        if len(places) > query.limit:
            following = shown[-1][0]
        elif len(examined) < len(left):
            following = 0, *_names(examined[-1])
        return Page(overviews=tuple(overviews), following=following)

    async def _read(self, stored: Sequence[VersionedDefinition], lines: int) -> list[Overview]:
        """The overviews of those of these tasks that still exist, in the order of the arguments."""
        keys = [one.definition.key for one in stored]
        if not keys:
            return []
        snapshot = await self._history.snapshot(keys)
        recent: Mapping[TaskKey, tuple[AttemptRecord, ...]] = await self._history.recent(keys, lines)
        views = {view.key: view for view in snapshot.tasks}
        found: list[Overview] = []
        for number, one in enumerate(stored):
            if number % TASKS_PER_SLICE == 0:
                await asyncio.sleep(0)
            task = one.definition
            view, records = views.get(task.key), recent.get(task.key, ())
            if view is not None:
                state = standings(task, view, records[0] if records else None, snapshot.now)
                found.append(Overview(stored=one, view=view, standings=state, recent=records))
        return found


def _names(stored: VersionedDefinition) -> tuple[str, str]:
    return stored.definition.key.group, stored.definition.key.name


async def _matching(selected: Sequence[VersionedDefinition], text: str) -> Sequence[VersionedDefinition]:
    """Those of the tasks in which each word of the text stands. Other tasks of the process run meanwhile: a description
    may be long."""
    words = text.casefold().split()
    if not words:
        return selected
    found: list[VersionedDefinition] = []
    for number, one in enumerate(selected):
        if number % TASKS_PER_SLICE == 0:
            await asyncio.sleep(0)
        searched = _searched(one.definition)
        if all(word in searched for word in words):
            found.append(one)
    return found


def _searched(task: TaskDefinition) -> str:
    parts = (task.key.group, task.key.name, task.function, task.description or "", *task.tags)
    return "\n".join(parts).casefold()
