"""Measures how late the event loop is: it tells whether the store is slow, or this process."""

from __future__ import annotations

import asyncio

BEAT_SECONDS = 0.05
MOST_LAG_SECONDS = 1.0


class LoopLag:
    """A timer that should run twenty times a second, and the sum of its delays.

    An answer of the store may wait in a socket while the event loop does other work. Then the store is not slow.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._beat_at = self._loop.time()
        self._late = 0.0
        self._wait()

    def stop(self) -> None:
        self._timer.cancel()

    @property
    def seconds(self) -> float:
        return self._loop.time() - self._began

    @property
    def lag(self) -> float:
        """For how many of these seconds the event loop was blocked."""
        return self._late + max(self._loop.time() - self._beat_at, 0.0)

    @property
    def is_too_high(self) -> bool:
        """Was the event loop blocked for more than half of the time, and long enough to miss an answer?"""
        return self.lag > max(self.seconds / 2, MOST_LAG_SECONDS)

    def _wait(self) -> None:
        self._beat_at = self._loop.time() + BEAT_SECONDS
        self._timer = self._loop.call_at(self._beat_at, self._beat)

    def _beat(self) -> None:
        self._late += self._loop.time() - self._beat_at
        self._wait()
