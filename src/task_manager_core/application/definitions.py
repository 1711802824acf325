"""This node's copy of the catalogue."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.observation import TaskView
from task_manager_core.domain.planning import NextSlot
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition
from task_manager_core.ports import Changes

NEVER = -1
"""A version that no store gives out. A reader at it reads everything, also of a store that holds nothing any more: to
such a reader at 0 the store has nothing to tell."""

MOST_PLACED = 100
"""So many keys are put in their places one by one; to sort all is quicker for more of them."""


def _names(key: TaskKey) -> tuple[str, str]:
    return key.group, key.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What this node knows of what the store has lost. `wiped`: all of it; else the store fell back to an older state.

    `tasks` come with their next slots if this node gave them; `paused` are tasks that it saw paused, lost or not.
    """

    wiped: bool
    tasks: tuple[tuple[TaskDefinition, NextSlot | None], ...]
    paused: frozenset[TaskKey]


class Definitions:
    """Law: at `version`, exactly what the store held at that version. Only the registrar writes it.

    Beside it stands what the node has seen as the leader: the next slots that it gave, and which tasks are paused.
    """

    def __init__(self) -> None:
        self.loaded = False
        """Has the store been read at all? Until then nobody can say that a task does not exist."""
        self.version = 0
        self.since = 0
        """What to read from: `version`, or NEVER if what is known may be wrong."""
        self._doubted: dict[TaskKey, int] = {}
        self._incarnation = 0
        self._plans: dict[TaskKey, tuple[Schedule, NextSlot | None]] = {}
        self._paused: dict[TaskKey, None] = {}
        self._follows = False
        """Has somebody else begun to lead since the last reading?"""
        self.lost_pauses: set[TaskKey] = set()
        """To be written again."""
        self._tasks: dict[TaskKey, VersionedDefinition] = {}
        self._retired: set[TaskKey] = set()
        self._unreadable: set[TaskKey] = set()
        self._unnamed = 0
        """How many tasks the store counts beyond those that a complete reading named: their names are none."""
        self._order: list[TaskKey] = []
        self._moved: set[TaskKey] = set()
        """The tasks that came or went since `_order` was looked at."""
        self.scheduled: set[TaskKey] = set()
        """The static tasks that are not retired: a living process should declare each of them."""
        self.revision = 0
        """Another one with every change."""
        self.touched: set[TaskKey] = set()
        """The tasks of which something changed; the registrar takes them out when it has looked at them."""

    def __iter__(self) -> Iterator[VersionedDefinition]:
        """In the order of their keys."""
        return iter([self._tasks[key] for key in self._ordered()])

    def named(self, group: str | None, name: str | None) -> list[VersionedDefinition]:
        """Those of this group and this name, None for any, in the order of their keys."""
        if group is not None and name is not None:
            try:
                found = self._tasks.get(TaskKey(group, name))
            except DefinitionError:  # No task can have these names.
                found = None
            return [] if found is None else [found]
        keys: Iterable[TaskKey] = self._ordered()
        if group is not None:
            first = bisect_left(self._order, (group, ""), key=_names)
            keys = takewhile(lambda key: key.group == group, islice(self._order, first, None))
        return [self._tasks[key] for key in keys if name is None or key.name == name]

    def _ordered(self) -> list[TaskKey]:
        """Few tasks that came or went are put in their places: to sort all of them takes as long as there are many."""
        if len(self._moved) > MOST_PLACED:
            self._order = sorted(self._tasks, key=_names)
        else:
            for key in self._moved:
                at = bisect_left(self._order, _names(key), key=_names)
                stood = self._order[at : at + 1] == [key]
                if key in self._tasks and not stood:
                    self._order.insert(at, key)
                elif key not in self._tasks and stood:
                    del self._order[at]
        self._moved.clear()
        return self._order

    def get(self, key: TaskKey) -> VersionedDefinition | None:
        return self._tasks.get(key)

    def at(self, key: TaskKey, version: int) -> TaskDefinition | None:
        """The definition of this very version, or None if this node has yet to learn it."""
        stored = self._tasks.get(key)
        return stored.definition if stored is not None and stored.version == version else None

    def is_retired(self, key: TaskKey) -> bool:
        return key in self._retired

    def is_unreadable(self, key: TaskKey) -> bool:
        """Does the store hold a definition that this release cannot read?"""
        return key in self._unreadable

    def planned(self, key: TaskKey, version: int, plan: NextSlot | None) -> None:
        """Remember the next slot that this node, as the leader, gave a task by this version of its definition."""
        task = self.at(key, version)
        if task is None:
            self._plans.pop(key, None)
        else:
            self._plans[key] = task.schedule, plan

    def forget_plans(self) -> None:
        """Somebody else gives the tasks their next slots now. What the node saw of pauses grows old from now on, and is
        forgotten once the store has been read without a loss."""
        self._plans.clear()
        self._follows = True

    def saw(self, key: TaskKey, *, paused: bool) -> None:
        """Remember that a task is paused, or is not."""
        if paused:
            self._paused[key] = None
        else:
            self._paused.pop(key, None)

    def saw_all(self, views: Iterable[TaskView]) -> None:
        for view in views:
            self.saw(view.key, paused=view.paused)

    def resumed(self, keys: Iterable[TaskKey]) -> None:
        """Somebody has resumed these tasks here: no older pause of them counts."""
        for key in keys:
            self._paused.pop(key, None)
            self.lost_pauses.discard(key)

    def some_paused(self, limit: int) -> list[TaskKey]:
        """Tasks that this node saw paused, to be looked at again; with the next call the ones after them."""
        chosen = list(islice(self._paused, limit))
        for key in chosen:
            self._paused[key] = self._paused.pop(key)
        return chosen

    def lost(self, changes: Changes) -> Loss | None:
        """What the store has lost; None if it has lost nothing.

        A store in another incarnation, or at an older version than the one seen before, did not remove what is missing.
        """
        same = changes.incarnation == self._incarnation
        if self._incarnation == 0 or (same and changes.version >= self.version):
            return None
        standing = changes.keys
        gone = (stored.definition for key, stored in self._tasks.items() if key not in standing)
        return Loss(
            wiped=not same,
            tasks=tuple((task, self._plan_of(task)) for task in gone),
            paused=frozenset(self._paused),
        )

    def _plan_of(self, task: TaskDefinition) -> NextSlot | None:
        """The next slot that this node gave the task, unless its schedule was changed since."""
        schedule, plan = self._plans.get(task.key, (task.schedule, None))
        return plan if schedule == task.schedule else None

    def read(self) -> None:
        """The store has been read and has lost nothing."""
        if self._follows:
            self._paused.clear()
            self._follows = False

    def doubt(self, key: TaskKey, version: int) -> None:
        """The store shows this version. If it should be known and is not, the store fell back to an older state and has
        been written to since: everything has to be read again. Once for each version, since one may be unreadable."""
        if self.at(key, version) is None and version <= self.version and self._doubted.get(key) != version:
            self._doubted[key] = version
            self.since = NEVER

    def follows(self, changes: Changes) -> bool:
        """Do these changes lead on from what is known here? If they do not, everything has to be read again: the store
        is another one, or older than what is known, or a change was missed."""
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
        """Take over what changed; the answer names the keys that changed and those that are gone."""
        standing = changes.keys
        if changes.complete:
            gone = {key for known in (self._tasks, self._unreadable) for key in known if key not in standing}
            self._unnamed = changes.total - len(standing)
        else:
            gone = set(changes.removed)
        removed = tuple(sorted(key for key in gone if key in self._tasks))
        for key in removed:
            del self._tasks[key]
            self._plans.pop(key, None)
            self._paused.pop(key, None)
        changed = tuple(
            stored.definition.key for stored in changes.changed if self._tasks.get(stored.definition.key) != stored
        )
        self._moved.update(removed, (key for key in changed if key not in self._tasks))
        self._tasks.update((stored.definition.key, stored) for stored in changes.changed)
        read = {stored.definition.key for stored in changes.changed}
        was_off = self._retired & (read | gone | changes.unreadable), self._unreadable & (read | gone)
        touched = {*changed, *gone, *changes.unreadable, *was_off[0], *was_off[1], *(changes.retired - self._retired)}
        self._retired -= was_off[0]
        self._retired |= changes.retired
        self._unreadable -= was_off[1]
        self._unreadable |= changes.unreadable
        self._touch(touched)
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
        self.touched |= keys
        self.revision += 1
