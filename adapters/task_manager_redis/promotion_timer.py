"""Queues waiting runs when they are due.

A worker reads the next due instant before it blocks. It does not learn of a run that begins to wait afterwards. So the
process that lets a run wait also sets a timer for it. If that process ends, a worker finds the run with its next claim:
only punctuality depends on the timer.
"""

from __future__ import annotations

import asyncio
import heapq
from contextlib import suppress
from datetime import timedelta

from task_manager_core.domain.errors import BackendError
from task_manager_redis.client import RedisClient
from task_manager_redis.scripts import script

RECHECK_INTERVAL = timedelta(minutes=1)
"""A worker that blocks claims again after this time at the latest, so no timer is needed for a longer wait."""

_PROMOTE = script("promote_due")


class PromotionTimer:
    """One timer, set for the earliest due instant."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._instants: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self._promoting: asyncio.Task[None] | None = None

    def schedule(self, delay: timedelta) -> None:
        """Promote due runs after this delay, because a run waits for it."""
        if delay <= RECHECK_INTERVAL:
            loop = asyncio.get_running_loop()
            heapq.heappush(self._instants, loop.time() + delay.total_seconds())
            self._restart(loop)

    async def close(self) -> None:
        self._instants.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._promoting is not None:
            self._promoting.cancel()
            await asyncio.wait([self._promoting])

    def _restart(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._promoting is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._instants[0], self._on_due) if self._instants else None

    def _on_due(self) -> None:
        self._promoting = asyncio.get_running_loop().create_task(self._promote())

    async def _promote(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._instants and self._instants[0] <= now:
            heapq.heappop(self._instants)
        try:
            with suppress(BackendError):
                await self._client.run(_PROMOTE)
        finally:
            self._promoting = None
            self._restart(loop)
