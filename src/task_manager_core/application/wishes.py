"""What code asks for and the store has not heard of yet."""

from __future__ import annotations

from itertools import count
from typing import TypeVar

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.task import TaskDefinition

T = TypeVar("T")


class Wishes:
    """Laws: removals are granted first, so that a removal and then an addition of one name make a task anew. A wish
    that the store has answered stays in sight until the store is read again: until then the reading is older than the
    answer.

    Code asks from any thread, the registrar answers in its loop; each of them changes one dictionary at a time.
    """

    def __init__(self) -> None:
        self.removals: dict[TaskKey, int] = {}
        """Each with a number of its own, since a task may be asked away again while its removal is on the way."""
        self.additions: dict[TaskKey, TaskDefinition] = {}
        self._answered: dict[TaskKey, tuple[int, TaskDefinition | None]] = {}
        self._numbers = count(1)

    def add(self, task: TaskDefinition) -> None:
        """Create this dynamic task, unless the store holds one of its name."""
        self.additions[task.key] = task

    def remove(self, key: TaskKey) -> None:
        self.additions.pop(key, None)
        self.removals[key] = next(self._numbers)

    def is_pending(self, key: TaskKey) -> bool:
        return key in self.additions or key in self.removals

    # -- the registrar's side -----------------------------------------------------------------------------------------

    def added(self, task: TaskDefinition) -> None:
        """The store holds it. A wish that has changed meanwhile stands."""
        if self.additions.get(task.key) is task:
            self._answered[task.key] = next(self._numbers), task
            self.additions.pop(task.key, None)

    def kept(self, task: TaskDefinition) -> None:
        """The store holds another task of this name, which stays."""
        if self.additions.get(task.key) is task:
            self.additions.pop(task.key, None)

    def removed(self, removals: dict[TaskKey, int]) -> None:
        """The store holds these no longer. What was asked for meanwhile stands."""
        for key, number in removals.items():
            self._answered[key] = next(self._numbers), None
            if self.removals.get(key) == number:
                self.removals.pop(key, None)

    def answered(self) -> dict[TaskKey, int]:
        """The answers that a reading of the store which begins now includes."""
        return {key: number for key, (number, _) in self._answered.items()}

    def read(self, answers: dict[TaskKey, int]) -> None:
        """The store was read, and the reading is known here."""
        for key, number in answers.items():
            if self._answered.get(key, (0, None))[0] == number:
                del self._answered[key]

    # -- what code sees -----------------------------------------------------------------------------------------------

    def unread(self) -> set[TaskKey]:
        """The tasks about which the last reading of the store is not the last word."""
        return {*list(self._answered), *list(self.removals), *list(self.additions)}

    def expected(self, key: TaskKey, read: T | None) -> T | TaskDefinition | None:
        """The dynamic task of this key once every wish is granted; `read` is the one of the last reading."""
        _, answer = self._answered.get(key, (0, read))
        standing = None if key in self.removals else answer
        return self.additions.get(key) if standing is None else standing
