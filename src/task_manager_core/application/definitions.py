"""This node's copy of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import Plan
from task_manager_core.domain.task import StoredTask, Task
from task_manager_core.ports import Changes


class Definitions:
    """Law: at `version`, exactly what the store held at that version. Only the registrar writes it."""

    def __init__(self) -> None:
        self.loaded = False
        """Has the store been read at all? Until then nobody can say that a task does not exist."""
        self.version = 0
        self.since = 0
        """What to read from: `version`, or 0 if what is known may be wrong."""
        self._doubted: dict[TaskKey, int] = {}
        self._incarnation = 0
        self._plans: dict[TaskKey, Plan | None] = {}
        self._tasks: dict[TaskKey, StoredTask] = {}
        self._retired: frozenset[TaskKey] = frozenset()
        self._unreadable: frozenset[TaskKey] = frozenset()

    def __iter__(self) -> Iterator[StoredTask]:
        return iter(sorted(self._tasks.values(), key=lambda stored: stored.task.key))

    def get(self, key: TaskKey) -> StoredTask | None:
        return self._tasks.get(key)

    def at(self, key: TaskKey, version: int) -> Task | None:
        """The definition of this very version, or None if this node has yet to learn it."""
        stored = self._tasks.get(key)
        return stored.task if stored is not None and stored.version == version else None

    def by_key(self) -> dict[TaskKey, Task]:
        return {key: stored.task for key, stored in self._tasks.items()}

    def is_retired(self, key: TaskKey) -> bool:
        return key in self._retired

    def is_unreadable(self, key: TaskKey) -> bool:
        """Does the store hold a definition that this release cannot read?"""
        return key in self._unreadable

    def planned(self, key: TaskKey, plan: Plan | None) -> None:
        """Remember the next slot that this node, as the leader, gave a task."""
        self._plans[key] = plan

    def forget_plans(self) -> None:
        """Somebody else gives the tasks their next slots now."""
        self._plans.clear()

    def lost(self, changes: Changes) -> tuple[tuple[Task, Plan | None], ...] | None:
        """The definitions that the store has forgotten, with their next slots if this node knows them; None if it has
        forgotten nothing.

        A store in another incarnation, or at an older version than the one seen before, did not remove what is missing.
        """
        same = changes.incarnation == self._incarnation and changes.version >= self.version
        if self._incarnation == 0 or same:
            return None
        gone = (stored.task for key, stored in self._tasks.items() if key not in changes.keys)
        return tuple((task, self._plans.get(task.key)) for task in gone)

    def doubt(self, key: TaskKey, version: int) -> None:
        """The store shows this version. If it should be known and is not, the store fell back to an older state and has
        been written to since: everything has to be read again. Once for each version, since one may be unreadable."""
        if self.at(key, version) is None and version <= self.version and self._doubted.get(key) != version:
            self._doubted[key] = version
            self.since = 0

    def apply(self, changes: Changes) -> tuple[tuple[TaskKey, ...], tuple[TaskKey, ...]]:
        """Take over what changed; the answer names the keys that changed and those that are gone."""
        removed = tuple(sorted(key for key in self._tasks if key not in changes.keys))
        for key in removed:
            del self._tasks[key]
            self._plans.pop(key, None)
        changed = tuple(stored.task.key for stored in changes.changed if self._tasks.get(stored.task.key) != stored)
        self._tasks.update((stored.task.key, stored) for stored in changes.changed)
        self._retired = changes.retired
        read = {stored.task.key for stored in changes.changed}
        self._unreadable = (self._unreadable - read | changes.unreadable) & changes.keys
        self.version = self.since = changes.version
        self._incarnation = changes.incarnation
        return changed, removed
