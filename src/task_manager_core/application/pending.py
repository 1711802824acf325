"""The additions and removals of dynamic tasks that code has requested and the store does not know yet."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TypeVar

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.task import TaskDefinition

T = TypeVar("T")


class PendingChanges:
    """Laws: removals are written first, so that a removal and then an addition of one name create a new task. A change
    that the store has answered stays visible until the store is read again: the last reading is older than the answer.

    Code adds and removes in any thread, the registrar answers in the event loop. Each call changes one dictionary at a
    time.
    """

    def __init__(self) -> None:
        self.removals: dict[TaskKey, int] = {}
        """Each removal has its own number: code may repeat a removal while the first one is on its way."""
        self.additions: dict[TaskKey, TaskDefinition] = {}
        self._replacing: dict[TaskKey, TaskDefinition] = {}
        """Those of the additions that replace a stored dynamic task."""
        self._answered: dict[TaskKey, tuple[int, TaskDefinition | None]] = {}
        self._numbers = count(1)

    def add(self, task: TaskDefinition, *, replace: bool = False) -> None:
        """Create this dynamic task. If the store holds a dynamic task of its name, replace it or keep it."""
        if replace:
            self._replacing[task.key] = task
        self.additions[task.key] = task

    def remove(self, key: TaskKey) -> None:
        """Remove this dynamic task. An earlier addition of its name is dropped."""
        self._drop(key)
        self.removals[key] = next(self._numbers)

    def is_pending(self, key: TaskKey) -> bool:
        return key in self.additions or key in self.removals

    def replaces(self, task: TaskDefinition) -> bool:
        """Does this addition replace a stored dynamic task of its name?"""
        return self._replacing.get(task.key) is task

    def _drop(self, key: TaskKey) -> None:
        self.additions.pop(key, None)
        self._replacing.pop(key, None)

    # -- what the registrar reports -----------------------------------------------------------------------------------

    def added(self, task: TaskDefinition) -> None:
        """The store holds this task now. An addition that code has replaced meanwhile stays pending."""
        if self.additions.get(task.key) is task:
            self._answered[task.key] = next(self._numbers), task
            self._drop(task.key)

    def kept(self, task: TaskDefinition) -> None:
        """The store holds another task of this name and keeps it: the addition is dropped."""
        if self.additions.get(task.key) is task:
            self._drop(task.key)

    def removed(self, removals: dict[TaskKey, int]) -> None:
        """The store no longer holds these tasks. A removal that code has repeated meanwhile stays pending."""
        for key, number in removals.items():
            self._answered[key] = next(self._numbers), None
            if self.removals.get(key) == number:
                self.removals.pop(key, None)

    def copy(self) -> Callable[[], None]:
        """Copy the changes that are pending now. The answer restores them, as if no store had answered since."""
        removals, additions, answered = dict(self.removals), dict(self.additions), dict(self._answered)
        replacing = dict(self._replacing)

        def restore() -> None:
            self.removals, self.additions, self._answered = removals, additions, answered
            self._replacing = replacing

        return restore

    def answered(self) -> dict[TaskKey, int]:
        """The answers so far. A reading of the store that begins now includes them."""
        return {key: number for key, (number, _) in self._answered.items()}

    def read(self, answers: dict[TaskKey, int]) -> None:
        """The store has been read: this reading includes these answers."""
        for key, number in answers.items():
            if self._answered.get(key, (0, None))[0] == number:
                del self._answered[key]

    # -- what code sees -----------------------------------------------------------------------------------------------

    def unread(self) -> set[TaskKey]:
        """The tasks that have changed since the last reading of the store, or are going to."""
        return {*list(self._answered), *list(self.removals), *list(self.additions)}

    def expected(self, key: TaskKey, read: T | None) -> T | TaskDefinition | None:
        """The dynamic task of this key after all pending changes; `read` is the task that the last reading showed."""
        _, answer = self._answered.get(key, (0, read))
        kept = None if key in self.removals or key in self._replacing else answer
        return self.additions.get(key) if kept is None else kept
