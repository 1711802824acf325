"""A clock that moves when it is told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """A `Clock` for tests: time is an argument of the test.

    `advance` moves both readings, as time does; `set_wall` moves only the wall clock, as an operator does.
    """

    def __init__(self, now: datetime = START) -> None:
        self._now = _utc(now)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, delta: timedelta) -> None:
        """Let time pass. ValueError for a negative delta: only `set_wall` goes back."""
        if delta < timedelta(0):
            raise ValueError(f"time does not go back: {delta}")
        self._now += delta
        self._monotonic += delta.total_seconds()

    def set_wall(self, now: datetime) -> None:
        """Let the wall clock jump, to and fro."""
        self._now = _utc(now)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"not an aware instant: {instant}")
    return instant.astimezone(UTC)
