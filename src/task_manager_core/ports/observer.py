"""The observer: the one place where the core reports what happened."""

from __future__ import annotations

from typing import Protocol

from task_manager_core.domain.events import Event


class Observer(Protocol):
    """Law: an observer changes nothing. It must not raise and must not wait."""

    def notice(self, event: Event) -> None:
        """Take note of an event.

        Args:
            event: What happened on this node.
        """
        ...
