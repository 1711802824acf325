"""What every end-to-end module asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.scenarios import Scene, Scenes
from tests.redis_server import ExternalRedis, RedisServer


@pytest.fixture(scope="module")
def scenes(request: pytest.FixtureRequest, redis_server: RedisServer | ExternalRedis) -> Iterator[Scenes]:
    """The scenes of the module, its constant SCENES, playing."""
    played: tuple[Scene[Any], ...] = request.module.SCENES
    with Scenes(redis_server.url, played) as playing:
        yield playing
