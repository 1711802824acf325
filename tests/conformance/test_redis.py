"""The Redis store keeps every law, on a real server, and answers like the memory store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
import pytest_asyncio

from task_manager_core.ports import OpenBackend
from task_manager_core.testing.conformance import RETENTION, BackendContract, Harness
from task_manager_core.testing.conformance.model import ModelContract, OpenHarness
from task_manager_memory import open_backend
from tests.adapters.redis.shifted_time import open_shifted


@asynccontextmanager
async def moved_harness(url: str, prefix: str) -> AsyncGenerator[Harness]:
    async with open_shifted(url, RETENTION, prefix=prefix) as shifted:
        yield Harness(
            backend=shifted.backend,
            advance=shifted.advance,
            wipe=shifted.wipe,
            set_back=shifted.set_back,
            reopen=lambda: shifted.reopened(url, prefix),
            retention=RETENTION,
        )


class TestRedis(BackendContract):
    @pytest_asyncio.fixture
    async def harness(self, redis_url: str) -> AsyncIterator[Harness]:
        async with moved_harness(redis_url, "conformance") as harness:
            yield harness


class TestRedisAgainstMemory(ModelContract):
    examples = 25

    @pytest.fixture
    def open_harness(self, redis_url: str) -> OpenHarness:
        # A new prefix is an empty store, without a flush of the server.
        numbers = count()
        return lambda: moved_harness(redis_url, f"model {next(numbers)}")

    @pytest.fixture
    def model(self) -> OpenBackend:
        return open_backend
