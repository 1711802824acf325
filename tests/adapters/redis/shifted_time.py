"""A real Redis with its time in the hands of a test.

Scripts add a shift to the server's time. Keys with a time to live know nothing of it, because no law rests on them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend
from task_manager_redis.backend import open_on
from task_manager_redis.client import RedisClient
from task_manager_redis.scripts import Script, script
from task_manager_redis.settings import RedisSettings

PREFIX = "tests"
RETAINED = Retention()
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class MovedRedis:
    """An open store whose time can be moved. `client` is its door, for tests that look behind it."""

    backend: Backend
    client: RedisClient

    async def advance(self, delta: timedelta) -> None:
        """Let the store's time pass, and wake whoever waits for an instant that has come."""
        self.client.shift += delta // _MILLISECOND
        await self.client.run(script("promote_due"))

    async def set_back(self, delta: timedelta) -> None:
        """Set the server's clock back, as an operator does."""
        self.client.shift -= delta // _MILLISECOND

    async def now(self) -> datetime:
        return (await self.backend.dispatch.agenda(0)).now

    async def wipe(self) -> Backend:
        """Lose everything, as a FLUSHALL does."""
        await self.client.run(Script("wipe", "return redis.call('FLUSHALL')", "0" * 40))
        return self.backend


@asynccontextmanager
async def open_moved(url: str, retention: Retention = RETAINED, *, prefix: str = PREFIX) -> AsyncGenerator[MovedRedis]:
    """Open the store of a server. It is not emptied."""
    client = RedisClient(RedisSettings(url=url, prefix=prefix), retention)
    async with open_on(client) as backend:
        yield MovedRedis(backend, client)
