"""Keys that somebody deleted by hand, and things that somebody put among ours: nothing stops for ever, and what can be
mended cheaply is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from task_manager_core.testing.conformance.build import TTL, key, run, task
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.keys import encode_task
from tests.adapters.redis.moved import PREFIX, MovedRedis, open_moved
from tests.redis_server import RedisServer


@pytest_asyncio.fixture
async def moved(own_redis_server: RedisServer) -> AsyncIterator[MovedRedis]:
    async with open_moved(own_redis_server.url) as moved:
        yield moved


@pytest.fixture
def store(moved: MovedRedis) -> Store:
    return Store(Harness(backend=moved.backend, advance=moved.advance))


async def test_a_claim_that_a_half_script_left_behind_is_dropped(own_redis_server: RedisServer, store: Store) -> None:
    term = await store.lead()
    await store.define(task())
    await store.take(run(task()))
    with own_redis_server.client() as client:
        (live,) = client.keys(f"{{{PREFIX}}}:live:*")
        client.delete(live)
        await store.advance(TTL)
        assert await store.reap(term, TTL) == ()
        assert client.xlen(f"{{{PREFIX}}}:runs:low") == 0
    assert (await store.live(key()), await store.records(key()), await store.claim()) == ((), (), ())


async def test_one_task_without_a_definition_does_not_stop_the_others(
    own_redis_server: RedisServer, store: Store
) -> None:
    slot = await store.slot()
    for name in ("one", "two"):
        await store.define(task(name), slot)
    with own_redis_server.client() as client:
        client.delete(f"{{{PREFIX}}}:task:{encode_task(key('one'))}")
    assert [due.key.name for due in (await store.schedule.agenda(10)).due] == ["two"]
