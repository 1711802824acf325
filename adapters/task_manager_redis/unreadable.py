"""The stored values that could not be read: a verb passes over such a value, so that it hides no other, and reports
it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_redis.keys import for_display
from task_manager_redis.replies import Reply, pairs

T = TypeVar("T")

_MOST_PENDING = 100
_MOST_REPORTED = 10_000


class UnreadableValues:
    """Law: each value is reported once, however often it is read. Of more than 10,000 values the memory is cleared, and
    each is reported once more."""

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()
        self._pending: deque[BackendCorrupt] = deque(maxlen=_MOST_PENDING)

    def read(self, where: Callable[[], str], read: Callable[[], T]) -> T | None:
        """The result of `read`; None if it raises BackendCorrupt. `where` names the value in the log; it is called for
        such a value only."""
        try:
            return read()
        except BackendCorrupt as error:
            self.add_once(BackendCorrupt(where(), error.reason))
            return None

    def add_once(self, error: BackendCorrupt) -> None:
        """Report a value that stays in the store, and that will be read again."""
        if (error.where, error.reason) in self._reported:
            return
        if len(self._reported) >= _MOST_REPORTED:
            self._reported.clear()
        self._reported.add((error.where, error.reason))
        self._add(error)

    def add_anomalies(self, anomalies: Reply) -> None:
        """Report the values that a script found and deleted or repaired: a flat list of places and reasons."""
        for where, what in pairs(anomalies):
            self._add(BackendCorrupt(for_display(where), for_display(what)))

    def take(self) -> tuple[BackendCorrupt, ...]:
        """The values that were found since the last call."""
        taken = tuple(self._pending)
        self._pending.clear()
        return taken

    def _add(self, error: BackendCorrupt) -> None:
        self._pending.append(error)
