"""The clocks of simulated machines. A wall clock jumps and drifts; a monotonic clock only drifts."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from task_manager_core.ports import Clock

START = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday, midnight."""

_MILLISECOND = timedelta(milliseconds=1)


class SimClock(Clock):
    """A `Clock` over virtual time. `rate` is how many seconds this machine counts in one true second."""

    def __init__(self, time: Callable[[], float], start: datetime = START, *, rate: float = 1.0) -> None:
        self._time = time
        self._start = start.astimezone(UTC)
        self._offset = timedelta(0)
        self._rate = rate
        self._since = time()
        self._counted = self._since

    def monotonic(self) -> float:
        return self._counted + (self._time() - self._since) * self._rate

    def now(self) -> datetime:
        return self._start + self._offset + timedelta(seconds=self.monotonic())

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._offset += timedelta(seconds=seconds)

    def drift(self, rate: float) -> None:
        """From now on count `rate` seconds in one true second."""
        self._counted, self._since = self.monotonic(), self._time()
        self._rate = rate


class StoreClock:
    """The clock of a store. It shows whole milliseconds, so that a checker computes the same instants as the store.

    `now` can be set back; `steady` cannot.
    """

    def __init__(self, time: Callable[[], float], start: datetime = START) -> None:
        self._time = time
        self._start = start.astimezone(UTC)
        self._set_back = timedelta(0)

    def monotonic(self) -> float:
        return self._time()

    def steady(self) -> datetime:
        # A microsecond of tolerance: sums of many sleeps may end a little before the instant that they should reach.
        return self._start + int(self._time() * 1000 + 1e-3) * _MILLISECOND

    def now(self) -> datetime:
        return self.steady() - self._set_back

    def set_back(self, seconds: float) -> None:
        self._set_back += timedelta(seconds=seconds)


local_clock: ContextVar[SimClock] = ContextVar("local_clock")
"""The clock of the machine that the current code runs on."""
