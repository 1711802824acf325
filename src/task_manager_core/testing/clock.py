"""A clock that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from task_manager_core.ports import Clock

START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock(Clock):
    """A `Clock` for tests. `advance` moves both clocks; `set_wall` moves only the wall clock."""

    def __init__(self, now: datetime = START) -> None:
        self._now = _utc(now)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, delta: timedelta) -> None:
        """Let time pass. Errors: ValueError for a negative delta; only `set_wall` can go back."""
        if delta < timedelta(0):
            raise ValueError(f"time does not go back: {delta}")
        self._now += delta
        self._monotonic += delta.total_seconds()

    def set_wall(self, now: datetime) -> None:
        """Set the wall clock, forward or back."""
        self._now = _utc(now)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"not an aware instant: {instant}")
    return instant.astimezone(UTC)
