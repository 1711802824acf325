"""What code asks for and the store has not heard of yet."""

from __future__ import annotations

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.task import Task


class Wishes:
    """Law: removals are granted first, so that a removal and then an addition of one name make a task anew."""

    def __init__(self) -> None:
        self.removals: list[TaskKey] = []
        self.additions: dict[TaskKey, Task] = {}

    def add(self, task: Task) -> None:
        """Create this dynamic task, unless the store holds one of its name."""
        self.additions[task.key] = task

    def remove(self, key: TaskKey) -> None:
        self.additions.pop(key, None)
        self.removals.append(key)

    def concern(self, key: TaskKey) -> bool:
        return key in self.additions or key in self.removals

    def added(self, task: Task) -> None:
        """The store answered. A wish that has changed meanwhile stands."""
        if self.additions.get(task.key) is task:
            del self.additions[task.key]

    def removed(self, count: int) -> None:
        """The first removals are done. Whatever was asked for meanwhile stands."""
        del self.removals[:count]
