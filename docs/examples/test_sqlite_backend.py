"""The author of a store tests it: with every law, and against another store as its model."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import task_manager_memory
from sqlite_backend import conformance_harness
from task_manager_core.ports import OpenBackend
from task_manager_core.testing.conformance import BackendContract, Harness, ModelContract, OpenHarness


class TestSqlite(BackendContract):
    @pytest_asyncio.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        async with conformance_harness() as harness:
            yield harness


class TestSqliteAgainstMemory(ModelContract):
    @pytest.fixture
    def open_harness(self) -> OpenHarness:
        return conformance_harness

    @pytest.fixture
    def model(self) -> OpenBackend:
        return task_manager_memory.open_backend
