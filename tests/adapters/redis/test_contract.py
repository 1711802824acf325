"""The Redis store keeps every law."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from task_manager_core.testing.conformance import RETENTION, BackendContract, Harness
from tests.adapters.redis.moved import open_moved


class TestRedis(BackendContract):
    @pytest_asyncio.fixture
    async def harness(self, redis_url: str) -> AsyncIterator[Harness]:
        async with open_moved(redis_url, RETENTION) as moved:
            yield Harness(backend=moved.backend, advance=moved.advance, wipe=moved.wipe, retention=RETENTION)
