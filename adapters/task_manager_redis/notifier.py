"""Notifications in Redis: a short stream. Each process reads it from the last item that it has seen."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.ports import Notifier
from task_manager_redis.client import RedisClient

_MOST_ITEMS = 1000


class RedisNotifier(Notifier):
    def __init__(self, client: RedisClient) -> None:
        self._client = client
        # The first wait also sees older notifications and may end at once. The port permits this, and no notification
        # is missed.
        self._seen = "0-0"

    async def wait(self, timeout: timedelta) -> None:
        stream = self._client.key("signals")
        self._seen = await self._client.last_after(stream, self._seen, _MOST_ITEMS, timeout)
