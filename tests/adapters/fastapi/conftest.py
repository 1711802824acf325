"""The stores on which a test runs whose promise is about what a store keeps."""

from __future__ import annotations

import pytest

from task_manager_core.ports import OpenBackend
from task_manager_memory import MemoryStore
from task_manager_redis import RedisSettings, redis_backend


@pytest.fixture(params=["memory", "redis"])
def open_backend(request: pytest.FixtureRequest) -> OpenBackend:
    """An empty store of each kind."""
    if request.param == "memory":
        return MemoryStore().open
    return redis_backend(RedisSettings(url=request.getfixturevalue("redis_url"), prefix="typed"))
