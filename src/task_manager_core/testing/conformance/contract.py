"""The base class of all parts of the suite."""

from __future__ import annotations

from typing import ClassVar

import pytest

from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import INTERLEAVINGS, Store


class Contract:
    """Tests of the store behind the fixture `harness`, which the author of the store writes."""

    # The mark is here because the tests run with the configuration of the author, whose pytest-asyncio has any mode.
    pytestmark: ClassVar[list[pytest.MarkDecorator]] = [pytest.mark.asyncio]

    @pytest.fixture
    def store(self, harness: Harness, request: pytest.FixtureRequest) -> Store:
        asked: int | None = request.config.getoption("--meetings", None)
        return Store(harness, INTERLEAVINGS if asked is None else asked)
