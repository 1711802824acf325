"""The memory store keeps every law."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from task_manager_core.testing.conformance import BackendContract, Harness, clock_harness
from task_manager_memory import open_backend


class TestMemory(BackendContract):
    @pytest_asyncio.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        async with clock_harness(open_backend) as harness:
            yield harness
