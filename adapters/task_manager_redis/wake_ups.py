"""Waits of workers for a wake-up. One queued run wakes one worker.

An idle worker waits again and again for a short time. Its waits share one request, which blocks for longer. The request
may take a wake-up while its worker does not wait any more. So a request that no wait needs soon is cancelled, and a
promotion then wakes another worker if a run is queued.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_redis.client import RedisClient
from task_manager_redis.promotion_timer import PromotionTimer

LONGEST_REQUEST = timedelta(seconds=5)
"""A proxy between the process and Redis may close connections that are silent for longer."""

NEXT_WAIT_WITHIN = 0.1
"""Seconds. A worker that found nothing waits again at once, unless it stops or the store is away."""


class WakeUps:
    """Law: a wake-up that no wait has answered leads to a promotion, unless the store is away or closed."""

    def __init__(self, client: RedisClient, timer: PromotionTimer) -> None:
        self._client = client
        self._timer = timer
        self._requests: dict[NodeId, asyncio.Task[bool]] = {}
        self._drops: dict[NodeId, asyncio.TimerHandle] = {}

    async def wait(self, worker: NodeId, seconds: float, bells: tuple[str, ...]) -> bool:
        """Wait until a run is queued; False after the end of the wait. A request that is under way goes on, also if it
        waits for other bells. Raises what the request raises."""
        loop = asyncio.get_running_loop()
        if worker in self._drops:
            self._drops.pop(worker).cancel()
        request = self._requests.get(worker)
        if request is not None and request.done() and request.exception() is not None:
            request = None  # The connection was lost between two waits.
        if request is None:
            block = max(timedelta(seconds=seconds), LONGEST_REQUEST)
            request = loop.create_task(self._client.pop(bells, block))
            self._requests[worker] = request
        try:
            await asyncio.wait({request}, timeout=seconds)
        except asyncio.CancelledError:
            self._drop(worker)
            raise
        if request.done():
            del self._requests[worker]
            return request.result()
        self._drops[worker] = loop.call_later(NEXT_WAIT_WITHIN, self._drop, worker)
        return False

    async def close(self) -> None:
        requests = list(self._requests.values())
        for worker in list(self._requests):
            self._drop(worker)
        if requests:
            await asyncio.wait(requests)

    def _drop(self, worker: NodeId) -> None:
        """Cancel a request. It may have taken a wake-up already."""
        drop = self._drops.pop(worker, None)
        if drop is not None:
            drop.cancel()
        request = self._requests.pop(worker)
        request.cancel()
        request.add_done_callback(_read_error)
        self._timer.schedule(timedelta(0))


def _read_error(request: asyncio.Task[bool]) -> None:
    """Read the error of a request, so that the event loop does not report it as never retrieved."""
    if not request.cancelled():
        request.exception()
