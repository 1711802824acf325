"""The fixture of all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.scenarios import Scenario, Scenarios
from tests.redis_server import ExternalRedis, RedisServer


@pytest.fixture(scope="module")
def scenarios(request: pytest.FixtureRequest, redis_server: RedisServer | ExternalRedis) -> Iterator[Scenarios]:
    """The running scenarios of the module (its constant SCENARIOS)."""
    listed: tuple[Scenario[Any], ...] = request.module.SCENARIOS
    with Scenarios(redis_server.url, listed) as running:
        yield running
