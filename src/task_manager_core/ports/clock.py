"""The time of one process."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Law: no rule of safety depends on a Clock.

    `now` is for people. `monotonic` limits how long a leader trusts its term.
    """

    def now(self) -> datetime:
        """Read the wall clock.

        Returns:
            An aware datetime in UTC. It may jump, forwards and backwards.
        """
        ...

    def monotonic(self) -> float:
        """Read the monotonic clock.

        Returns:
            Seconds since an arbitrary instant. The value never goes back and never jumps.
        """
        ...
