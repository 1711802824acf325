"""A store on a server of the test's own, whose time the test shifts. A file that needs another one overrides these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import redis

from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from tests.adapters.redis.shifted_time import ShiftedRedis, open_shifted
from tests.redis_server import RedisServer


@pytest_asyncio.fixture
async def shifted(own_redis_server: RedisServer) -> AsyncIterator[ShiftedRedis]:
    async with open_shifted(own_redis_server.url) as shifted:
        yield shifted


@pytest.fixture
def store(shifted: ShiftedRedis) -> Store:
    return Store(Harness(backend=shifted.backend, advance=shifted.advance))


@pytest.fixture
def server(own_redis_server: RedisServer) -> Iterator[redis.Redis]:
    with own_redis_server.client() as server:
        yield server
