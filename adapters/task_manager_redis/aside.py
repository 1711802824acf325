"""What could not be read. It is passed over, so that it hides nothing else, and said beside the answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_redis.keys import shown
from task_manager_redis.replies import Reply, pairs

T = TypeVar("T")

_MOST_SAID = 100
_MOST_KNOWN = 10_000


class Aside:
    """Law: each value is said once, however often it is met; what is forgotten of too many is said again."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str]] = set()
        self._unsaid: deque[BackendCorrupt] = deque(maxlen=_MOST_SAID)

    def read(self, where: str, read: Callable[[], T]) -> T | None:
        """What `read` answers, None if that raises BackendCorrupt. `where` names the value for people."""
        try:
            return read()
        except BackendCorrupt as error:
            self.note(BackendCorrupt(where, error.reason))
            return None

    def note(self, error: BackendCorrupt) -> None:
        """Something that stays where it is, and will be met again."""
        if (error.where, error.reason) in self._known:
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add((error.where, error.reason))
        self.say(error)

    def say(self, error: BackendCorrupt) -> None:
        """Something that has gone with this."""
        self._unsaid.append(error)

    def hear(self, strange: Reply) -> None:
        """What a script found, and passed over or put right: where, and what, in turns."""
        for where, what in pairs(strange):
            self.say(BackendCorrupt(shown(where), shown(what)))

    def take(self) -> tuple[BackendCorrupt, ...]:
        """What was not said yet."""
        said = tuple(self._unsaid)
        self._unsaid.clear()
        return said
