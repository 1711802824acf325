"""The memory store keeps every law, and the comparison with itself finds no difference."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from task_manager_core.ports import OpenBackend
from task_manager_core.testing.conformance import BackendContract, Harness, clock_harness
from task_manager_core.testing.conformance.model import ModelContract, OpenHarness
from task_manager_memory import open_backend


class TestMemory(BackendContract):
    @pytest_asyncio.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        async with clock_harness(open_backend) as harness:
            yield harness


class TestMemoryAgainstItself(ModelContract):
    @pytest.fixture
    def open_harness(self) -> OpenHarness:
        return lambda: clock_harness(open_backend)

    @pytest.fixture
    def model(self) -> OpenBackend:
        return open_backend
