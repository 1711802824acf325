"""This node's copy of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.observation import TaskView
from task_manager_core.domain.planning import Plan
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import StoredTask, Task
from task_manager_core.ports import Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What this node knows of what the store has lost. `wiped`: all of it; else the store fell back to an older state.

    `tasks` come with their next slots if this node gave them; `paused` are tasks that it saw paused, lost or not.
    """

    wiped: bool
    tasks: tuple[tuple[Task, Plan | None], ...]
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
        """What to read from: `version`, or 0 if what is known may be wrong."""
        self._doubted: dict[TaskKey, int] = {}
        self._incarnation = 0
        self._plans: dict[TaskKey, tuple[Schedule, Plan | None]] = {}
        self._paused: dict[TaskKey, None] = {}
        self._follows = False
        """Has somebody else begun to lead since the last reading?"""
        self.lost_pauses: set[TaskKey] = set()
        """To be written again."""
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

    def planned(self, key: TaskKey, version: int, plan: Plan | None) -> None:
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
        gone = (stored.task for key, stored in self._tasks.items() if key not in changes.keys)
        return Loss(
            wiped=not same,
            tasks=tuple((task, self._plan_of(task)) for task in gone),
            paused=frozenset(self._paused),
        )

    def _plan_of(self, task: Task) -> Plan | None:
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
            self.since = 0

    def apply(self, changes: Changes) -> tuple[tuple[TaskKey, ...], tuple[TaskKey, ...]]:
        """Take over what changed; the answer names the keys that changed and those that are gone."""
        removed = tuple(sorted(key for key in self._tasks if key not in changes.keys))
        for key in removed:
            del self._tasks[key]
            self._plans.pop(key, None)
            self._paused.pop(key, None)
        changed = tuple(stored.task.key for stored in changes.changed if self._tasks.get(stored.task.key) != stored)
        self._tasks.update((stored.task.key, stored) for stored in changes.changed)
        self._retired = changes.retired
        read = {stored.task.key for stored in changes.changed}
        self._unreadable = (self._unreadable - read | changes.unreadable) & changes.keys
        self.version = self.since = changes.version
        self._incarnation = changes.incarnation
        return changed, removed
