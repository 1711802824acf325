"""Is it the store that is slow, or this process?"""

from __future__ import annotations

import asyncio

BEAT_SECONDS = 0.05
MOST_LAG_SECONDS = 1.0


class LoopLag:
    """A timer that should go off twenty times a second, and how late it was each time.

    A store cannot be blamed for an answer that stood in a socket while the event loop did something else.
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
        """How many of these seconds the loop was late."""
        return self._late + max(self._loop.time() - self._beat_at, 0.0)

    @property
    def is_too_high(self) -> bool:
        """Did the loop stand still for more than half of the time, and long enough for an answer to be missed?"""
        return self.lag > max(self.seconds / 2, MOST_LAG_SECONDS)

    def _wait(self) -> None:
        self._beat_at = self._loop.time() + BEAT_SECONDS
        self._timer = self._loop.call_at(self._beat_at, self._beat)

    def _beat(self) -> None:
        self._late += self._loop.time() - self._beat_at
        self._wait()
