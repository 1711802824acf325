"""Several observers as one."""

from __future__ import annotations

from collections.abc import Sequence

from task_manager_core.domain.events import Event
from task_manager_core.ports import Observer


class Fanout:
    """Tells each of them, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def notice(self, event: Event) -> None:
        for observer in self._observers:
            observer.notice(event)
