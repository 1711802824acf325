"""Properties of this run queue: it wakes workers, answers claims again whose reply was lost, and keeps newer words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio
import redis

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import Priority, Retention
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Retried
from task_manager_core.ports import Enqueued
from task_manager_core.testing.conformance.factories import (
    HOUR,
    NOTHING,
    TTL,
    WORKER,
    exclusive,
    key,
    presence,
    run,
    runs,
    task,
)
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.batches import BYTES_PER_SCRIPT
from task_manager_redis.keys import encode_run_id
from task_manager_redis.scripts import script
from tests.adapters.redis.shifted_time import ShiftedRedis, open_shifted
from tests.waiting import wait_until_async

OTHER = NodeId("other")


@pytest_asyncio.fixture
async def shifted(redis_url: str) -> AsyncIterator[ShiftedRedis]:
    async with open_shifted(redis_url, Retention(runs=10)) as shifted:
        yield shifted


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        yield server


async def waits(server: redis.Redis, count: int = 1) -> None:
    await wait_until_async(lambda: server.info("clients")["blocked_clients"] == count, f"{count} wait")


# -- waking -----------------------------------------------------------------------------------------------------------


async def test_one_run_wakes_one_worker(store: Store, server: redis.Redis) -> None:
    await store.define(task())
    workers = [NodeId(f"{number}") for number in range(5)]
    waiting = [asyncio.ensure_future(store.queue.claim(worker, 10, HOUR)) for worker in workers]
    await waits(server, 5)
    for left in (4, 3):
        await store.enqueue(run(task(), f"{left}"))
        done, _ = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        waiting = [one for one in waiting if one not in done]
        await waits(server, left)
    for waiter in waiting:
        waiter.cancel()
    await asyncio.wait(waiting)


async def test_a_retry_wakes_a_worker_at_its_instant(store: Store, server: redis.Redis) -> None:
    """The worker blocked before the run began to wait, so it does not know the instant. The process that settled knows
    it."""
    await store.define(task())
    claims = [await store.claim_new(run(task(), name)) for name in "ab"]
    waiting = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR))
    await waits(server)
    began = time.monotonic()
    await store.settle(claims[0], Retried(timedelta(milliseconds=200)))
    async with asyncio.timeout(10):
        [again] = await waiting
    assert again.run == claims[0].run
    assert 0.2 <= time.monotonic() - began < 5
    waiting = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR))
    await waits(server)
    await store.release(claims[1], timedelta(milliseconds=50))
    async with asyncio.timeout(10):
        [again] = await waiting
    assert again.run == claims[1].run


async def test_a_run_that_already_waits_ends_the_wait_of_a_worker(redis_url: str, store: Store) -> None:
    """Also if the process that let the run wait has ended, and its timer with it."""
    await store.define(task())
    async with open_shifted(redis_url) as gone:
        other = Store(Harness(backend=gone.backend, advance=gone.advance))
        await other.settle(await other.claim_new(run(task())), Retried(timedelta(milliseconds=300)))
    async with asyncio.timeout(10):
        [claim] = await store.queue.claim(WORKER, 10, HOUR)
    assert claim.attempt == 2


async def test_a_worker_never_gets_more_than_it_can_take(store: Store, server: redis.Redis) -> None:
    """Both streams may get a run between the claim and the wait."""
    high = task("high", priority=Priority.HIGH)
    await store.define(task())
    await store.define(high)
    for number in range(10):
        asked = [run(task(), f"{number}"), run(high, f"{number}")]
        waiting = asyncio.ensure_future(store.queue.claim(WORKER, 1, HOUR))
        await waits(server)
        # One script queues both, and only then is the worker served.
        assert await store.enqueue(*asked) == (Enqueued.QUEUED, Enqueued.QUEUED)
        claims = [*await waiting]
        assert len(claims) == 1
        claims += await store.claim(OTHER)
        assert {claim.run for claim in claims} == set(asked)
        assert {(claim.attempt, claim.failures) for claim in claims} == {(1, 0)}
        for claim in claims:
            assert await store.settle(claim)


async def test_an_idle_worker_waits_no_longer_than_it_asked_for(store: Store) -> None:
    for wait in (0, 1, 150):
        began = time.monotonic()
        assert await store.queue.claim(WORKER, 10, timedelta(milliseconds=wait)) == ()
        assert wait / 1000 <= time.monotonic() - began + 0.002 < 5


# -- lost replies -----------------------------------------------------------------------------------------------------


async def test_claims_whose_reply_was_lost_come_back_to_their_worker_only(shifted: ShiftedRedis, store: Store) -> None:
    await store.define(task())
    await store.define(task("high", priority=Priority.HIGH))
    asked = [*runs(task(), 3), run(task("high", priority=Priority.HIGH))]
    await store.enqueue(*asked)
    lost = await shifted.client.run(script("claim"), WORKER.value, 10, 0, BYTES_PER_SCRIPT, -1, 0)
    assert isinstance(lost, list)
    assert await store.claim(OTHER) == ()
    assert await store.queue.claim(OTHER, 10, NOTHING, known=()) == ()
    claims = await store.queue.claim(WORKER, 10, NOTHING, known=())
    assert {claim.run for claim in claims} == set(asked)
    assert await store.queue.claim(WORKER, 10, HOUR, known=claims) == ()
    assert {claim.run for claim in await store.queue.claim(WORKER, 10, NOTHING, known=claims[1:])} == {claims[0].run}


async def test_a_worker_that_dies_after_a_wake_up_delays_the_others_only_shortly(
    store: Store, server: redis.Redis
) -> None:
    """A waiting worker claims again at the end of its wait, also if the element of the list is lost."""
    await store.define(task())
    await store.enqueue(run(task()))
    assert server.lpop("{tests}:bell") is not None
    async with asyncio.timeout(10):
        [claim] = await store.queue.claim(WORKER, 10, HOUR)
    assert claim.run == run(task())


# -- run entries
# -----------------------------------------------------------------------------------------------------------


async def test_words_that_a_newer_release_adds_to_a_run_entry_stay(store: Store, server: redis.Redis) -> None:
    """They stand behind the words that this release knows."""
    term = await store.lead()
    await store.define(task())
    claim = await store.claim_new(run(task()))
    live, name = "{tests}:live:group/task", encode_run_id(claim.run.id)
    place = server.hget(live, name)
    assert isinstance(place, str)
    server.hset(live, name, f"{place} 7 new")
    for number in range(1, 3):
        await store.advance(TTL)
        assert await store.reap(term, TTL) == (claim,)
        [claim] = await store.claim()
        assert (claim.attempt, claim.failures, claim.losses) == (number + 1, 0, number)
    assert await store.settle(claim, Retried(HOUR))
    await store.queue.promote([key()])
    [claim] = await store.claim()
    place = server.hget(live, name)
    assert isinstance(place, str)
    assert place.endswith(" 7 new")
    assert [one.losses for one in await store.live(key())] == [2]
    assert await store.settle(claim)


# -- lines that the store writes --------------------------------------------------------------------------------------


async def test_lines_of_the_store_read_like_those_of_a_worker(store: Store) -> None:
    odd = NodeId('a"b\\c/d é\x7f🙂')
    of = exclusive()
    term = await store.lead()
    await store.define(of)
    claim = await store.claim_new(run(of), odd)
    await store.advance(2 * TTL)
    assert await store.reap(term, TTL) == (claim,)
    await store.queue.cancel([(of.key, claim.run.id)])
    cancelled, lost = await store.records(of.key)
    assert lost == AttemptRecord(
        run=claim.run.id,
        slot=None,
        attempt=1,
        status=AttemptStatus.LOST,
        started_at=lost.started_at,
        duration=lost.duration,
        worker=odd,
        token=claim.token,
    )
    assert 2 * TTL <= lost.duration < 3 * TTL
    assert (cancelled.attempt, cancelled.token) == (2, 0), "no worker has claimed it"
    assert (cancelled.worker, cancelled.duration) == (NodeId(""), NOTHING)


async def test_the_history_is_exactly_as_long_as_it_may_be(store: Store, server: redis.Redis) -> None:
    await store.define(task())
    for request in runs(task(), 25):
        await store.settle(await store.claim_new(request))
    assert server.llen("{tests}:attempts:group/task") == 10
    assert [line.run for line in await store.records(key())] == [one.id for one in runs(task(), 25)][:14:-1]


# -- membership -------------------------------------------------------------------------------------------------------


async def test_a_presence_is_sent_once_and_again_when_the_store_lost_it(store: Store, server: redis.Redis) -> None:
    here = presence(WORKER.value)
    for _ in range(3):
        await store.membership.announce(here, TTL)
        assert await store.living() == [WORKER.value]
    server.flushall()
    await store.membership.announce(here, TTL)
    assert await store.living() == [WORKER.value]
    await store.advance(TTL)
    assert await store.living() == []
    await store.membership.announce(here, TTL)
    assert await store.living() == [WORKER.value]
