"""Signals in Redis: a short stream that everybody reads from where they stopped."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.ports import Notifier
from task_manager_redis.client import RedisClient

_MOST = 1000


class RedisNotifier(Notifier):
    def __init__(self, client: RedisClient) -> None:
        self._client = client
        # What was rung before the first wait ends it at once, which is allowed; it cannot be missed, which is better.
        self._seen = "0-0"

    async def wait(self, timeout: timedelta) -> None:
        stream = self._client.key("signals")
        self._seen = await self._client.last_after(stream, self._seen, _MOST, timeout)
