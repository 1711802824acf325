"""Queues waiting runs at their instant.

Whoever claims looks at what waits before it blocks. A run that begins to wait afterwards would be seen only with its
next look, so the process that let it wait sets an alarm. If that process ends, the next look finds the run: nothing
depends on an alarm but punctuality.
"""

from __future__ import annotations

import asyncio
import heapq
from contextlib import suppress
from datetime import timedelta

from task_manager_core.domain.errors import BackendError
from task_manager_redis.client import RedisClient
from task_manager_redis.scripts import script

LOOKING = timedelta(minutes=1)
"""Who blocks looks again after this long, so that no alarm has to be set for longer."""

_PROMOTE = script("promote_due")


class PromotionTimer:
    """One timer, for the earliest instant."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._instants: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ringing: asyncio.Task[None] | None = None

    def expect(self, delay: timedelta) -> None:
        """A run waits for this long from now."""
        if delay <= LOOKING:
            loop = asyncio.get_running_loop()
            heapq.heappush(self._instants, loop.time() + delay.total_seconds())
            self._set(loop)

    async def close(self) -> None:
        self._instants.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._ringing is not None:
            self._ringing.cancel()
            await asyncio.wait([self._ringing])

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._ringing is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._instants[0], self._ring) if self._instants else None

    def _ring(self) -> None:
        self._ringing = asyncio.get_running_loop().create_task(self._promote())

    async def _promote(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._instants and self._instants[0] <= now:
            heapq.heappop(self._instants)
        try:
            with suppress(BackendError):
                await self._client.run(_PROMOTE)
        finally:
            self._ringing = None
            self._set(loop)
