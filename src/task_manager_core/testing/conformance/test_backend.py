"""The suite for the store that `--backend` names."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from task_manager_core.testing.conformance.cli_target import opener
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.suite import BackendContract


class TestBackend(BackendContract):
    @pytest_asyncio.fixture
    async def harness(self, request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
        named: str | None = request.config.getoption("--backend", None)
        if named is None:
            pytest.fail("no --backend=MODULE:NAME")
        async with opener(named)() as harness:
            yield harness
