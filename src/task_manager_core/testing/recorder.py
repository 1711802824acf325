"""An observer that keeps every event."""

from __future__ import annotations

from typing import TypeVar

from task_manager_core.domain.events import Event

_E = TypeVar("_E")


class Recorder:
    """An `Observer` for tests. It keeps the events in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notice(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[_E]) -> list[_E]:
        """The events of this class, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[_E]) -> _E:
        """The only event of this class; AssertionError if there are more or fewer."""
        found = self.of(kind)
        assert len(found) == 1, f"{len(found)} events of {kind.__name__} among {self.events}"
        return found[0]

    def clear(self) -> None:
        self.events.clear()
