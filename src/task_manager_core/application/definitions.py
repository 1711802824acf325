"""This node's copy of the catalogue."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush
from itertools import islice, takewhile

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.observation import TaskView
from task_manager_core.domain.planning import NextSlot
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition
from task_manager_core.ports import Changes

NEVER = -1
"""A version that no store gives. The changes after it are the whole catalogue, also of a store that is empty now. The
changes after version 0 of an empty store are none."""

MOST_PLACED = 100
"""Up to so many keys are inserted one by one. Sorting all keys is faster for more of them."""


def names_of(key: TaskKey) -> tuple[str, str]:
    """The order of many keys. Comparing two keys themselves takes longer."""
    return key.group, key.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The data that the store has lost, as far as this node knows it.

    `wiped`: the store lost everything. Otherwise it fell back to an older state. `tasks` are the lost definitions, with
    the next slots that this node wrote as the leader. `paused` are all tasks that this node saw paused.
    """

    wiped: bool
    tasks: tuple[tuple[TaskDefinition, NextSlot | None], ...]
    paused: frozenset[TaskKey]


class Definitions:
    """Law: this copy equals the catalogue of the store at `version`. Only the registrar changes it.

    The node also keeps here what it has seen as the leader: the next slots that it wrote, and which tasks are paused.
    """

    def __init__(self) -> None:
        self.loaded = False
        """Has the store been read? Until then this node cannot tell that a task does not exist."""
        self.version = 0
        self.since = 0
        """Read the changes after this version: `version`, or NEVER if this copy may be wrong."""
        self._doubted: dict[TaskKey, int] = {}
        self._incarnation = 0
        self._next_slots: dict[TaskKey, tuple[Schedule, NextSlot | None]] = {}
        self._paused: dict[TaskKey, None] = {}
        self._other_leads = False
        """Has another node begun to lead since the last reading?"""
        self.lost_pauses: set[TaskKey] = set()
        """The pauses that the store has lost: the registrar writes them again."""
        self._tasks: dict[TaskKey, VersionedDefinition] = {}
        self._retired: set[TaskKey] = set()
        self._unreadable: set[TaskKey] = set()
        self._unnamed = 0
        """How many more tasks the store counts than a complete reading named: their names cannot be read."""
        self._order: list[TaskKey] = []
        self._moved: set[TaskKey] = set()
        """The tasks that came or went since `_order` was updated."""
        self.scheduled: set[TaskKey] = set()
        """The static tasks that are not retired. A living process should declare each of them."""
        self._last_instants: dict[TaskKey, datetime] = {}
        """The last instant of each dynamic task whose schedule names single instants."""
        self._instants: list[tuple[datetime, TaskKey]] = []
        """The same as a heap, with entries of tasks that have changed since."""
        self._over: dict[TaskKey, None] = {}
        """Those of these tasks whose last instant has passed."""
        self.revision = 0
        """Grows with every change."""
        self.touched: set[TaskKey] = set()
        """The tasks that changed. The registrar clears the set after it has checked them."""
        self.on_touched: Callable[[Collection[TaskKey]], None] = lambda _keys: None
        """Called with the tasks that changed."""

    def __iter__(self) -> Iterator[VersionedDefinition]:
        """In the order of their keys."""
        return iter([self._tasks[key] for key in self._ordered()])

    def named(self, group: str | None, name: str | None) -> list[VersionedDefinition]:
        """The definitions of this group and this name, in the order of their keys. None stands for any."""
        if group is not None and name is not None:
            try:
                found = self._tasks.get(TaskKey(group, name))
            except DefinitionError:  # No task can have these names.
                found = None
            return [] if found is None else [found]
        keys: Iterable[TaskKey] = self._ordered()
        if group is not None:
            first = bisect_left(self._order, (group, ""), key=names_of)
            keys = takewhile(lambda key: key.group == group, islice(self._order, first, None))
        return [self._tasks[key] for key in keys if name is None or key.name == name]

    def _ordered(self) -> list[TaskKey]:
        """All keys in order. A few keys that came or went are inserted or deleted: sorting costs time for every
        task."""
        if len(self._moved) > MOST_PLACED:
            self._order = sorted(self._tasks, key=names_of)
        else:
            for key in self._moved:
                at = bisect_left(self._order, names_of(key), key=names_of)
                found = self._order[at : at + 1] == [key]
                if key in self._tasks and not found:
                    self._order.insert(at, key)
                elif key not in self._tasks and found:
                    del self._order[at]
        self._moved.clear()
        return self._order

    def get(self, key: TaskKey) -> VersionedDefinition | None:
        return self._tasks.get(key)

    def at(self, key: TaskKey, version: int) -> TaskDefinition | None:
        """The definition of this version, None if this node does not know that version."""
        stored = self._tasks.get(key)
        return stored.definition if stored is not None and stored.version == version else None

    def is_retired(self, key: TaskKey) -> bool:
        return key in self._retired

    def is_unreadable(self, key: TaskKey) -> bool:
        """Does the store hold a definition that this release cannot read?"""
        return key in self._unreadable

    def remember_next_slot(self, key: TaskKey, version: int, next_slot: NextSlot | None) -> None:
        """Remember the next slot that this node wrote as the leader, for this version of the definition."""
        task = self.at(key, version)
        if task is None:
            self._next_slots.pop(key, None)
        else:
            self._next_slots[key] = task.schedule, next_slot

    def follow_other_leader(self) -> None:
        """Another node leads, and writes the next slots now. The pauses that this node saw become outdated: it forgets
        them once the store has been read without a loss."""
        self._next_slots.clear()
        self._other_leads = True

    def note_pause(self, key: TaskKey, *, paused: bool) -> None:
        """Remember whether a task is paused."""
        if paused:
            self._paused[key] = None
        else:
            self._paused.pop(key, None)

    def note_pauses(self, views: Iterable[TaskView]) -> None:
        for view in views:
            self.note_pause(view.key, paused=view.paused)

    def resumed(self, keys: Iterable[TaskKey]) -> None:
        """A caller has resumed these tasks through this node: forget their pauses."""
        for key in keys:
            self._paused.pop(key, None)
            self.lost_pauses.discard(key)

    def some_paused(self, limit: int) -> list[TaskKey]:
        """Some tasks that this node saw paused, to be checked again. The next call returns the tasks after them."""
        chosen = list(islice(self._paused, limit))
        for key in chosen:
            self._paused[key] = self._paused.pop(key)
        return chosen

    def _note_last_instant(self, key: TaskKey, task: TaskDefinition | None) -> None:
        one_off = task is not None and task.dynamic and task.schedule.is_one_off
        last = task.schedule.last_instant if task is not None and one_off else None
        if last == self._last_instants.get(key):
            return
        self._over.pop(key, None)
        if last is None:
            del self._last_instants[key]
            return
        self._last_instants[key] = last
        heappush(self._instants, (last, key))
        if len(self._instants) > 2 * len(self._last_instants) + MOST_PLACED:  # Most entries are of earlier schedules.
            self._instants = [(instant, key) for key, instant in self._last_instants.items() if key not in self._over]
            heapify(self._instants)

    def some_over(self, now: datetime, limit: int) -> list[VersionedDefinition]:
        """Some dynamic tasks whose schedule names single instants, the last of which has passed. The next call returns
        the tasks after them. A task whose instants are to come costs nothing."""
        while self._instants and self._instants[0][0] <= now:
            instant, key = heappop(self._instants)
            if self._last_instants.get(key) == instant:
                self._over[key] = None
        chosen = list(islice(self._over, limit))
        for key in chosen:
            self._over[key] = self._over.pop(key)
        return [self._tasks[key] for key in chosen]

    def lost(self, changes: Changes) -> Loss | None:
        """The data that the store has lost, None if it has lost nothing.

        A store with another incarnation, or with an older version than this node has seen, has lost the missing tasks:
        no caller removed them.
        """
        same = changes.incarnation == self._incarnation
        if self._incarnation == 0 or (same and changes.version >= self.version):
            return None
        present = changes.keys
        gone = (stored.definition for key, stored in self._tasks.items() if key not in present)
        return Loss(
            wiped=not same,
            tasks=tuple((task, self._next_slot_of(task)) for task in gone),
            paused=frozenset(self._paused),
        )

    def _next_slot_of(self, task: TaskDefinition) -> NextSlot | None:
        """The next slot that this node wrote for the task, unless its schedule has changed since."""
        schedule, next_slot = self._next_slots.get(task.key, (task.schedule, None))
        return next_slot if schedule == task.schedule else None

    def read(self) -> None:
        """The store has been read and has lost nothing."""
        if self._other_leads:
            self._paused.clear()
            self._other_leads = False

    def doubt(self, key: TaskKey, version: int) -> None:
        """The store shows this version of a definition. If this node should know it and does not, the store fell back
        to an older state and was written to since: everything has to be read again. This happens once for each version,
        because this release may be unable to read it."""
        if self.at(key, version) is None and version <= self.version and self._doubted.get(key) != version:
            self._doubted[key] = version
            self.since = NEVER

    def follows(self, changes: Changes) -> bool:
        """Do these changes continue this copy? If they do not, everything has to be read again: the store is another
        one, or older than this copy, or a change is missing."""
        if changes.complete:
            return True
        known = len(self._tasks) + sum(key not in self._tasks for key in self._unreadable) + self._unnamed
        more = sum(not self._knows(key) for key in changes.keys) - sum(map(self._knows, changes.removed))
        follows = (
            changes.incarnation == self._incarnation
            and changes.version >= self.version
            and known + more == changes.total
        )
        if not follows:
            self.since = NEVER
        return follows

    def _knows(self, key: TaskKey) -> bool:
        return key in self._tasks or key in self._unreadable

    def apply(self, changes: Changes) -> tuple[tuple[TaskKey, ...], tuple[TaskKey, ...]]:
        """Apply the changes. Returns the keys that changed and the keys that are gone."""
        present = changes.keys
        if changes.complete:
            gone = {key for known in (self._tasks, self._unreadable) for key in known if key not in present}
            self._unnamed = changes.total - len(present)
        else:
            gone = set(changes.removed)
        removed = tuple(sorted((key for key in gone if key in self._tasks), key=names_of))
        for key in removed:
            del self._tasks[key]
            self._next_slots.pop(key, None)
            self._paused.pop(key, None)
        changed = tuple(
            stored.definition.key for stored in changes.changed if self._tasks.get(stored.definition.key) != stored
        )
        self._moved.update(removed, (key for key in changed if key not in self._tasks))
        self._tasks.update((stored.definition.key, stored) for stored in changes.changed)
        read = {stored.definition.key for stored in changes.changed}
        was_retired = self._retired & (read | gone | changes.unreadable)
        was_unreadable = self._unreadable & (read | gone)
        newly_retired = changes.retired - self._retired
        self._retired = self._retired - was_retired | changes.retired
        self._unreadable = self._unreadable - was_unreadable | changes.unreadable
        self._touch({*changed, *gone, *changes.unreadable, *was_retired, *was_unreadable, *newly_retired})
        self.version = self.since = changes.version
        self._incarnation = changes.incarnation
        return changed, removed

    def _touch(self, keys: set[TaskKey]) -> None:
        if not keys:
            return
        for key in keys:
            stored = self._tasks.get(key)
            if stored is None or stored.definition.dynamic or key in self._retired:
                self.scheduled.discard(key)
            else:
                self.scheduled.add(key)
            self._note_last_instant(key, None if stored is None else stored.definition)
        self.touched |= keys
        self.revision += 1
        self.on_touched(keys)
