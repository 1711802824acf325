"""Hypothesis profiles, and fixtures with a real Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.redis_server import ExternalRedis, RedisServer, RedisServerError, external_redis

# pytest rewrites only the assertions of test files. Without this, failures in the conformance suite show no values.
pytest.register_assert_rewrite("task_manager_core.testing.conformance", "task_manager_core.testing.cluster")

# No deadlines: on a shared core, one test could make another one too slow.
settings.register_profile("dev", max_examples=50, stateful_step_count=30, deadline=None)
settings.register_profile(
    "ci", max_examples=50, stateful_step_count=30, deadline=None, derandomize=True, print_blob=True
)
settings.register_profile(
    "long", max_examples=200, stateful_step_count=50, deadline=None, derandomize=True, print_blob=True
)
settings.register_profile(
    "nightly",
    max_examples=5000,
    stateful_step_count=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@contextmanager
def _running_server() -> Iterator[RedisServer]:
    """Without any Redis on the machine the test fails: a skipped test would look like a kept promise."""
    try:
        server = RedisServer().start()
    except RedisServerError as error:
        pytest.fail(str(error), pytrace=False)
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer | ExternalRedis]:
    """One server for the whole session. Most tests use `redis_url`, whose database is empty."""
    lent = external_redis()
    if lent is not None:
        yield lent
        return
    with _running_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer | ExternalRedis) -> str:
    """The address of an empty database. On a lent server only the database in the address is emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        if isinstance(redis_server, ExternalRedis):
            client.flushdb()
        else:
            client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    """A running server for one test, which may kill, pause and restart it. A restart loses its data."""
    with _running_server() as server:
        yield server
