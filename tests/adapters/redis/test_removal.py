"""A removed task is gone at once. Items and index members of its runs are swept in steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import redis

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.run import Claim, Retried, Run
from task_manager_core.ports import Cancelling, Enqueued
from task_manager_core.testing.conformance.factories import (
    HOUR,
    TTL,
    WORKER,
    exclusive,
    key,
    run,
    runs,
    settlement,
    task,
)
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.batches import RUNS_PER_SCRIPT
from task_manager_redis.keys import encode_task
from task_manager_redis.scripts import script
from tests.adapters.redis.shifted_time import PREFIX, ShiftedRedis, open_shifted

OF, OTHER = task("removed"), exclusive("other")
MANY = 700


@pytest_asyncio.fixture
async def shifted(redis_url: str) -> AsyncIterator[ShiftedRedis]:
    async with open_shifted(redis_url) as shifted:
        yield shifted


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        yield server


async def filled(store: Store) -> tuple[Claim, Claim, tuple[Run, ...]]:
    """One task with runs in every state, and one that stays. The answer: a claim of each, and the queued runs."""
    for of in (OF, OTHER):
        await store.define(of, await store.slot())
    await store.enqueue(*runs(OF, MANY, "waiting"))
    await store.queue.settle([settlement(claim, Retried(HOUR)) for claim in await store.claim()])
    await store.enqueue(run(OF, "claimed"), run(OTHER, "claimed"))
    mine, stays = await store.claim()
    queued = runs(OF, MANY, "queued")
    await store.enqueue(*queued)
    return mine, stays, queued


async def removed_without_a_sweep(shifted: ShiftedRedis) -> None:
    """Remove the task like a process that dies right after its request."""
    assert await shifted.client.run(script("remove"), encode_task(OF.key)) == [encode_task(OF.key)]


async def test_a_removed_task_is_gone_before_it_is_swept(shifted: ShiftedRedis, store: Store) -> None:
    term = await store.lead()
    mine, stays, queued = await filled(store)
    await removed_without_a_sweep(shifted)
    assert [view.key for view in (await store.history.snapshot()).tasks] == [OTHER.key]
    assert [due.key for due in (await store.dispatch.agenda(10)).due] == [OTHER.key]
    assert not await store.extend_one(mine, TTL)
    assert not await store.settle(mine)
    assert not await store.release(mine)
    assert await store.queue.cancel([(OF.key, queued[0].id)]) == (Cancelling.NOT_LIVE,)
    assert await store.queue.promote([OF.key]) == 0
    assert await store.enqueue(run(OF, "new")) == (Enqueued.UNKNOWN_TASK,)
    assert await store.queue.claim(WORKER, 10, HOUR, known=[stays]) == ()
    await store.advance(2 * HOUR)
    assert await store.claim() == ()
    assert await store.reap(term, TTL) == (stays,)


async def test_the_leader_sweeps_after_a_removal_whose_process_died(
    shifted: ShiftedRedis, store: Store, server: redis.Redis
) -> None:
    term = await store.lead()
    await filled(store)
    await removed_without_a_sweep(shifted)
    assert server.zcard(f"{{{PREFIX}}}:trash") == 1
    assert await store.reap(term, TTL) == ()
    left = [name for name in server.scan_iter() if "trash" in name or OF.key.name in name]
    assert [name for name in left if ":requested:" not in name] == []
    assert [int(server.zcard(f"{{{PREFIX}}}:{index}")) for index in ("waiting", "claims")] == [0, 1]
    assert server.xlen(f"{{{PREFIX}}}:runs:low") == 0


async def test_a_task_that_is_added_again_keeps_its_runs_during_the_sweep(shifted: ShiftedRedis, store: Store) -> None:
    """Its new runs may have the same names as the removed ones."""
    mine, stays, queued = await filled(store)
    await removed_without_a_sweep(shifted)
    await store.define(OF)
    again = [run(OF, name) for name in ("waiting 0", "claimed", "queued 0")]
    assert set(await store.enqueue(*again)) == {Enqueued.QUEUED}
    claims = {claim.run.id: claim for claim in await store.claim()}
    assert claims.keys() == {one.id for one in again}
    assert await store.settle(claims[again[0].id], Retried(HOUR))
    assert await store.release(claims[queued[0].id])
    while await shifted.client.run(script("sweep"), RUNS_PER_SCRIPT) == 1:
        pass
    assert len(await store.live(OF.key)) == 3
    assert not await store.settle(mine)
    assert await store.settle(claims[mine.run.id])
    assert [claim.run.id for claim in await store.claim()] == [queued[0].id]
    await store.advance(HOUR)
    assert [claim.run.id for claim in await store.claim()] == [again[0].id]
    assert await store.settle(stays)


async def test_several_removals_sweep_everything(store: Store, server: redis.Redis) -> None:
    tasks = [task(f"{number}") for number in range(5)]
    for of in tasks:
        await store.define(of)
        await store.enqueue(*runs(of, 100))
    await store.queue.claim(NodeId("other"), 50, HOUR)
    assert await store.catalogue.remove([of.key for of in tasks]) == {of.key for of in tasks}
    names = {name for name in server.scan_iter() if ":requested:" not in name}
    assert names <= {f"{{{PREFIX}}}:{kept}" for kept in KEPT}
    assert [server.xlen(f"{{{PREFIX}}}:runs:{priority}") for priority in ("high", "low")] == [0, 0]
    assert await store.define(task(key().name)) > 0


KEPT = ("version", "incarnation", "signals", "clock", "token", "bell", "bell:default", "runs:high", "runs:low", "chain")
