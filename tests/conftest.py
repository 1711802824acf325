"""What every test may ask for: Hypothesis profiles and a real Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.redis_server import ExternalRedis, RedisServer, RedisServerError, external_redis

# The conformance suite is a library to pytest; without this its assertions would fail without saying why.
pytest.register_assert_rewrite("task_manager_core.testing.conformance", "task_manager_core.testing.cluster")

# No deadlines: two tests that share a core would make each other fail.
settings.register_profile("dev", max_examples=50, stateful_step_count=30, deadline=None)
settings.register_profile(
    "ci",
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    print_blob=True,
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
    """A machine without any Redis fails these tests: a skipped test would look like a kept promise."""
    try:
        server = RedisServer().start()
    except RedisServerError as error:
        pytest.fail(str(error), pytrace=False)
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer | ExternalRedis]:
    """One server for the whole session. Ask for `redis_url` unless you need the address of a server in any state."""
    lent = external_redis()
    if lent is not None:
        yield lent
        return
    with _running_server() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer | ExternalRedis) -> str:
    """The address of an empty database. Of a server that was lent only the database in the address is emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        if isinstance(redis_server, ExternalRedis):
            client.flushdb()
        else:
            client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    """A running server of the test's own, to be killed, paused and restarted. It keeps nothing over a restart."""
    with _running_server() as server:
        yield server
