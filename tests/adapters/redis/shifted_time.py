"""Stores on a real Redis whose time a test can shift.

The scripts add the shift to the server's time. The shift does not change the time to live of a key, but no law depends
on that.
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
class ShiftedRedis:
    """An open store whose time can be shifted. `client` is for tests that read its keys or run its scripts."""

    backend: Backend
    client: RedisClient

    async def advance(self, delta: timedelta) -> None:
        """Let the store's time pass, and queue the runs that are due then."""
        self.client.shift += delta // _MILLISECOND
        await self.client.run(script("promote_due"))

    async def set_back(self, delta: timedelta) -> None:
        """Set the server's clock back, as an operator does."""
        self.client.shift -= delta // _MILLISECOND

    async def now(self) -> datetime:
        return (await self.backend.dispatch.agenda(0)).now

    @asynccontextmanager
    async def reopened(self, url: str, prefix: str) -> AsyncGenerator[Backend]:
        """The same store, opened once more with the same shift."""
        async with open_shifted(url, RETAINED, prefix=prefix) as another:
            another.client.shift = self.client.shift
            yield another.backend

    async def wipe(self) -> Backend:
        """Lose everything, as after a FLUSHALL."""
        await self.client.run(Script("wipe", "return redis.call('FLUSHALL')", "0" * 40))
        return self.backend


@asynccontextmanager
async def open_shifted(
    url: str, retention: Retention = RETAINED, *, prefix: str = PREFIX
) -> AsyncGenerator[ShiftedRedis]:
    """Open the store of a server. This does not empty it."""
    client = RedisClient(RedisSettings(url=url, prefix=prefix), retention)
    async with open_on(client) as backend:
        yield ShiftedRedis(backend, client)
