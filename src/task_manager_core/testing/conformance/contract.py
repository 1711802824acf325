"""What every part of the suite has in common."""

from __future__ import annotations

from typing import ClassVar

import pytest

from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import MEETINGS, Store


class Contract:
    """Tests of the store behind the fixture `harness`, which the author of the store writes."""

    # Said here and not by a mode of pytest-asyncio, because the tests run under an author's configuration.
    pytestmark: ClassVar[list[pytest.MarkDecorator]] = [pytest.mark.asyncio]

    @pytest.fixture
    def store(self, harness: Harness, request: pytest.FixtureRequest) -> Store:
        asked: int | None = request.config.getoption("--meetings", None)
        return Store(harness, MEETINGS if asked is None else asked)
