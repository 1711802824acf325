"""A server whose memory is full accepts verbs that free memory or keep leases, and refuses verbs that add data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import redis

from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.run import Retried, RunState, Succeeded
from task_manager_core.ports import Enqueued
from task_manager_core.testing.conformance.factories import (
    HOUR,
    SECOND,
    TTL,
    WORKER,
    exclusive,
    key,
    presence,
    run,
    runs,
    settlement,
    task,
)
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from tests.adapters.redis.server_time import contents
from tests.adapters.redis.shifted_time import open_shifted
from tests.adapters.redis.test_half_scripts import SCENES, Scene, outcome
from tests.redis_server import RedisServer

ADDING = {"enqueue", "delay", "hold", "commit", "commit_and_hold", "put", "change"}
"""The scenes whose verb adds a definition or a run."""

ROOM = 8_000_000
"""Bytes between an empty server and a full one."""


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_a_full_server_refuses_verbs_that_add_and_no_others(
    own_redis_server: RedisServer, server: redis.Redis, scene: Scene
) -> None:
    expected: object = None
    for full in (False, True):
        async with open_shifted(own_redis_server.url, prefix=f"full {full}") as shifted:
            store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
            verb = await scene(store)
            server.config_set("maxmemory", int(full))
            if full and scene.__name__ in ADDING:
                before = contents(server)
                with pytest.raises(BackendUnavailable, match="OOM"):
                    await verb()
                assert contents(server) == before
                server.config_set("maxmemory", 0)
            await verb()
            server.config_set("maxmemory", 0)
            found = await outcome(store)
            expected = found if expected is None else expected
            assert found == expected


async def test_a_full_server_keeps_the_leader_the_nodes_and_the_readers(store: Store, server: redis.Redis) -> None:
    """Also while runs become due and deleted indexes are built again."""
    await store.define(exclusive(), await store.slot(-SECOND))
    await store.define(task("other"))
    await store.settle(await store.claim_new(run(exclusive(), "waits")), Retried(HOUR))
    await store.membership.announce(presence("node"), TTL)
    term = await store.lead(ttl=TTL)
    server.config_set("maxmemory", 1)
    server.delete("{tests}:due")
    for _ in range(2):
        assert await store.leadership.renew(term, TTL)
        await store.membership.announce(presence("node"), TTL)
        await store.membership.announce(presence("another"), TTL)
        assert {view.key for view in (await store.history.snapshot()).tasks} == {key(), key("other")}
        assert [due.key for due in (await store.dispatch.agenda(10)).due] == [key()]
        changes = await store.catalogue.load(0)
        assert changes is not None
        assert changes.keys == {key(), key("other")}
        assert await store.living() == ["another", "node"]
        server.delete("{tests}:incarnation")
        await store.advance(TTL - SECOND)
    assert await store.leadership.resign(term)
    term = await store.lead()
    await store.advance(HOUR)
    assert (await store.states(key())).popitem()[1] is RunState.QUEUED
    await store.membership.depart(WORKER)
    assert await store.catalogue.remove([key()]) == {key()}


async def test_workers_drain_a_full_server(store: Store, server: redis.Redis) -> None:
    """Requests fill the memory. Then workers record failures, keep retries, and a leader campaigns. In the end there is
    free memory again."""
    large, of = '{"text":"' + "x" * 5_000 + '"}', task()
    await store.define(of)
    server.config_set("maxmemory", int(server.info("memory")["used_memory"]) + ROOM)
    asked = await _until_full(lambda number: store.enqueue(run(of, f"{number}", kwargs=large)))
    assert asked > 100
    term = await store.lead(ttl=TTL)
    ended = 0
    while claims := await store.claim(limit=100):
        assert await store.leadership.renew(term, TTL)
        assert not (await store.queue.extend(claims, TTL)).lost
        retried = [claim for claim in claims if claim.failures == 0]
        ending = [settlement(claim, Retried(SECOND) if claim in retried else Succeeded()) for claim in claims]
        assert not await store.queue.settle(ending)
        ended += len(claims) - len(retried)
        await store.advance(2 * SECOND)
    assert ended == asked
    assert await store.enqueue(*runs(of, 3)) == 3 * (Enqueued.QUEUED,)


async def _until_full(fill: Callable[[int], Awaitable[object]]) -> int:
    """The number of calls that succeeded."""
    number = 0
    while True:
        try:
            await fill(number)
        except BackendUnavailable:
            return number
        number += 1
