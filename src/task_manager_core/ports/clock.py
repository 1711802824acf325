"""The time of one process."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Law: no rule of safety depends on it. `now` is for people, `monotonic` bounds a leader's trust in its term."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary instant. Never goes back and never jumps."""
        ...
