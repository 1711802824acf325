"""Keys that were deleted by hand, and foreign values among ours: no task stops for ever, and the store repairs keys
where a repair is cheap."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.typing import EncodableT, FieldT

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import AttemptStatus, Retried, Succeeded
from task_manager_core.ports import Enqueued
from task_manager_core.testing.conformance.factories import (
    HOUR,
    NOTHING,
    TTL,
    WORKER,
    exclusive,
    key,
    run,
    runs,
    settlement,
    task,
)
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.keys import encode_task
from tests.adapters.redis.server_time import every_verb
from tests.adapters.redis.shifted_time import PREFIX, ShiftedRedis, open_shifted
from tests.adapters.redis.test_keyspace import EXPIRING, workout
from tests.redis_server import RedisServer
from tests.waiting import wait_until_async


def ours(*parts: str) -> str:
    return ":".join((f"{{{PREFIX}}}", *parts))


LOW, HIGH = ours("runs", "low"), ours("runs", "high")

# -- one key after the other ------------------------------------------------------------------------------------------


async def the_keys(url: str) -> list[str]:
    """The keys of a store that holds values of every kind, without the statistics."""
    async with open_shifted(url) as shifted:
        await workout(Store(Harness(backend=shifted.backend, advance=shifted.advance)))
        with redis.Redis.from_url(url, decode_responses=True) as server:
            found = sorted(str(key) for key in server.keys("*"))
            server.flushall()
    return [key for key in found if not EXPIRING.match(key)]


async def test_no_lost_key_stops_a_task_for_ever(own_redis_server: RedisServer, server: redis.Redis) -> None:
    lost = await the_keys(own_redis_server.url)
    assert len(lost) > 15
    for key_lost in lost:
        async with open_shifted(own_redis_server.url) as shifted:
            store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
            await workout(store)
            server.delete(key_lost)
            for verb in await every_verb(store, NOTHING):
                await verb()
            await goes_on(store, key_lost)
        server.flushall()


async def goes_on(store: Store, lost: str, *, unreadable: bool = False) -> None:
    """A process that declares the tasks writes missing definitions. Then the remaining runs end, and new runs run."""
    tasks = [exclusive("low"), task("high", priority=Priority.HIGH)]
    changes = await store.catalogue.load(0)
    assert changes is not None
    for of in tasks:
        if of.key not in changes.keys:
            await store.define(of)
    changes = await store.catalogue.load(0)
    assert changes is not None
    assert changes.incarnation > 0
    assert {of.key for of in tasks} <= changes.keys, lost
    assert {of.key for of in tasks} <= {view.key for view in (await store.history.snapshot()).tasks}, lost
    await store.advance(2 * HOUR)
    assert {of.key for of in tasks} <= {due.key for due in (await store.dispatch.agenda(10)).due}, lost
    term = await store.lead()
    for _ in range(5):
        await store.reap(term, TTL)
        await store.queue.settle([settlement(claim) for claim in await store.claim()])
    for of in tasks:
        # An unreadable run waits for a worker that can read it, or for its cancellation.
        left = [(of.key, live.run) for live in await store.live(of.key)]
        assert unreadable or not left, lost
        await store.queue.cancel(left)
        assert await store.enqueue(run(of, "after")) == (Enqueued.QUEUED,), lost
        [claim] = await store.claim()
        assert await store.settle(claim), lost
        assert await store.live(of.key) == (), lost
        due = await store.due(of.key)
        assert due is not None
        assert (due.live, due.held, due.retrying) == (0, 0, 0), lost


# -- definitions ------------------------------------------------------------------------------------------------------


async def test_a_lost_definition_is_missing_for_every_reader_and_keeps_its_runs_when_it_returns(
    store: Store, server: redis.Redis
) -> None:
    slot = await store.slot()
    versions = [await store.define(task(each), slot) for each in ("one", "two")]
    claim = await store.claim_new(run(task("one")))
    server.delete(ours("task", encode_task(key("one"))))
    assert [view.key for view in (await store.history.snapshot()).tasks] == [key("two")]
    assert await store.settle(claim, Retried(HOUR))
    assert await store.enqueue(run(task("one"), "2")) == (Enqueued.UNKNOWN_TASK,)
    assert [due.key for due in (await store.dispatch.agenda(10)).due] == [key("two")]
    changes = await store.catalogue.load(versions[-1])
    assert changes is not None
    assert (changes.complete, changes.removed, changes.total) == (False, frozenset({key("one")}), 1)
    assert changes.changed == ()
    assert await store.define(task("one"), slot) > max(versions)
    assert [live.run for live in await store.live(key("one"))] == [claim.run.id]


async def test_a_process_that_starts_does_not_see_a_lost_definition(store: Store, server: redis.Redis) -> None:
    for each in ("one", "two"):
        await store.define(task(each))
    server.delete(ours("task", encode_task(key("two"))))
    changes = await store.catalogue.load(0)
    assert changes is not None
    assert changes.keys == {key("one")}
    assert await store.catalogue.load(changes.version) is None


async def test_a_lost_agenda_is_built_again_by_the_next_reading(store: Store, server: redis.Redis) -> None:
    slot = await store.slot()
    for each in ("one", "two"):
        await store.define(task(each), slot)
    server.delete(ours("due"))
    await store.dispatch.agenda(10)
    assert [due.key for due in (await store.dispatch.agenda(10)).due] == [key("one"), key("two")]
    server.zrem(ours("due"), encode_task(key("one")))
    await store.history.snapshot(())
    assert [due.key for due in (await store.dispatch.agenda(10)).due] == [key("one"), key("two")]


async def test_a_task_whose_definition_was_lost_can_be_removed(store: Store, server: redis.Redis) -> None:
    await store.define(exclusive())
    await store.claim_new(run(exclusive(), "1"))
    await store.enqueue(run(exclusive(), "2"))
    server.delete(ours("task", encode_task(key())))
    assert await store.catalogue.remove([key()]) == {key()}
    left = {str(found, "utf-8") for found in server.keys(f"*{encode_task(key())}*") if isinstance(found, bytes)}
    assert left == set()
    assert server.xlen(LOW) == 0


async def test_versions_increase_although_the_last_one_was_lost(store: Store, server: redis.Redis) -> None:
    last = await store.define(task("one"))
    server.set(ours("version"), last + 1_000_000)
    ahead = await store.define(task("two"))
    server.delete(ours("version"))
    assert await store.catalogue.load(ahead) is None
    assert await store.define(task("three")) > ahead


# -- runs -------------------------------------------------------------------------------------------------------------


async def test_a_promotion_finds_waiting_runs_without_their_index(store: Store, server: redis.Redis) -> None:
    """The agenda would repair the index only for a task that is due."""
    await store.define(task())
    claim = await store.claim_new(run(task()))
    assert await store.settle(claim, Retried(HOUR))
    server.delete(ours("waiting"))
    assert await store.queue.promote([key()]) == 1
    [again] = await store.claim()
    assert (again.run, again.attempt) == (claim.run, 2)


async def test_without_the_key_line_only_the_order_of_held_runs_is_lost(store: Store, server: redis.Redis) -> None:
    await store.define(exclusive())
    first = await store.claim_new(run(exclusive()))
    held = runs(exclusive(), 3, "held")
    await store.enqueue(*held)
    server.delete(ours("line", encode_task(key())))
    await store.enqueue(run(exclusive(), "last"))
    assert len(await store.live(key())) == 5
    assert await store.settle(first)
    ran = set[str]()
    while claims := await store.claim():
        [claim] = claims
        ran.add(claim.run.id.value)
        assert await store.settle(claim)
    assert ran == {one.id.value for one in (*held, run(exclusive(), "last"))}


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"hello": "world"}, {b"\xff": b"\xfe"}, {"run": "a", "task": "b", "text": "c"}])
@pytest.mark.parametrize("waiting", [False, True])
async def test_a_foreign_item_of_a_stream_is_reported_once_and_deleted(
    shifted: ShiftedRedis, store: Store, server: redis.Redis, fields: dict[FieldT, EncodableT], waiting: bool
) -> None:
    """Both when a worker claims at once and when it waits."""
    await store.define(task())
    await store.enqueue(run(task(), "1"))
    [claim] = await store.claim()
    if waiting:
        asking = asyncio.ensure_future(store.queue.claim(WORKER, 10, HOUR))
        await wait_until_async(lambda: server.info("clients")["blocked_clients"], "the worker waits")
        server.xadd(LOW, fields)
    else:
        server.xadd(LOW, fields)
        asking = asyncio.ensure_future(store.claim())
    await store.enqueue(run(task(), "2"))
    [other] = await asking or await store.claim()
    [error] = shifted.backend.unreadable()
    assert error.where == "a stream of runs"
    assert error.reason.endswith(" is no run, and was deleted")
    assert shifted.backend.unreadable() == ()
    assert other.run == run(task(), "2")
    assert await store.settle(claim)
    assert await store.settle(other)
    assert server.xlen(LOW) == 0


async def test_the_runs_of_a_deleted_stream_end_with_a_line(store: Store, server: redis.Redis) -> None:
    """Their bodies were deleted with the stream. Runs that were held behind them are queued."""
    of, other, claimed = exclusive(), task("other", priority=Priority.HIGH), task("claimed")
    for one in (of, other, claimed):
        await store.define(one)
    claim = await store.claim_new(run(claimed))
    await store.enqueue(run(of, "1"), run(of, "2"), run(other))
    server.delete(LOW)
    [untouched, following] = await store.claim()
    assert (following.run, untouched.run) == (run(of, "2"), run(other))
    lines = await store.records(of.key)
    assert [(line.run, line.status) for line in lines] == [(run(of, "1").id, AttemptStatus.LOST)]
    for left in (claim, following, untouched):
        assert await store.settle(left)


async def test_many_runs_of_a_deleted_stream_end_in_steps(store: Store, server: redis.Redis) -> None:
    """The next script ends some of them, and the repair of the leader the others."""
    of, term = task(), await store.lead()
    await store.define(of)
    await store.enqueue(*runs(of, 700, "lost"))
    server.delete(LOW)
    assert await store.claim() == ()
    assert 0 < len(await store.live(of.key)) < 700
    for _ in range(3):
        assert await store.reap(term, TTL) == ()
    assert await store.live(of.key) == ()
    assert await store.settle(await store.claim_new(run(of, "new")))


async def test_a_waiting_run_whose_body_was_deleted_ends_with_a_line(store: Store, server: redis.Redis) -> None:
    of = exclusive()
    await store.define(of)
    await store.settle(await store.claim_new(run(of, "1")), Retried(HOUR))
    await store.enqueue(run(of, "2"))
    server.delete(ours("retry", encode_task(of.key)))
    await store.advance(HOUR)
    [claim] = await store.claim()
    assert claim.run == run(of, "2")
    assert [line.status for line in await store.records(of.key)] == [AttemptStatus.LOST, AttemptStatus.RETRIED]


# -- run entries
# -----------------------------------------------------------------------------------------------------------


async def test_a_claim_without_a_run_entry_is_deleted(store: Store, server: redis.Redis) -> None:
    term = await store.lead()
    await store.define(task())
    await store.claim_new(run(task()))
    server.delete(ours("live", encode_task(key())))
    await store.advance(TTL)
    assert await store.reap(term, TTL) == ()
    assert (server.exists(ours("claims")), server.exists(ours("claimed", WORKER.value))) == (0, 0)
    assert (await store.live(key()), await store.records(key()), await store.claim()) == ((), (), ())


async def test_a_stream_item_without_a_run_entry_is_deleted(store: Store, server: redis.Redis) -> None:
    await store.define(task())
    await store.enqueue(run(task()))
    server.delete(ours("live", encode_task(key())))
    assert await store.claim() == ()
    assert server.xlen(LOW) == 0


@pytest.mark.parametrize("end", ["reap", "retry", "release", "succeed"])
async def test_a_claimed_run_whose_body_was_deleted_ends(store: Store, server: redis.Redis, end: str) -> None:
    """Its worker may still settle it."""
    of, term = exclusive(), await store.lead()
    await store.define(of)
    claim = await store.claim_new(run(of, "1"))
    await store.enqueue(run(of, "2"))
    server.delete(ours("claimed", WORKER.value))
    if end == "reap":
        await store.advance(TTL)
        assert await store.reap(term, TTL) == ()
    elif end == "release":
        assert not await store.release(claim)
    else:
        assert await store.settle(claim, Retried(HOUR) if end == "retry" else Succeeded())
    [line] = await store.records(of.key)
    status = {"retry": AttemptStatus.RETRIED, "succeed": AttemptStatus.SUCCEEDED}.get(end, AttemptStatus.LOST)
    assert (line.run, line.status) == (claim.run.id, status)
    [following] = await store.claim()
    assert following.run == run(of, "2")


async def test_lost_heartbeats_are_written_again(store: Store, server: redis.Redis) -> None:
    """A living worker writes its heartbeat itself. A snapshot writes the heartbeat of a silent worker, so the leader
    reaps it."""
    term = await store.lead()
    await store.define(task())
    alive, silent = (
        await store.claim_new(run(task(), "1")),
        await store.claim_new(run(task(), "2"), NodeId("silent")),
    )
    server.delete(ours("claims"))
    assert await store.extend_one(alive, TTL)
    await store.history.snapshot()
    await store.advance(TTL)
    assert set(await store.reap(term, TTL)) == {alive, silent}


async def test_one_task_without_a_definition_does_not_stop_the_others(store: Store, server: redis.Redis) -> None:
    slot = await store.slot()
    for name in ("one", "two"):
        await store.define(task(name), slot)
    server.delete(ours("task", encode_task(key("one"))))
    assert [due.key.name for due in (await store.dispatch.agenda(10)).due] == ["two"]
