"""What somebody else did to our values: deleted entries and members, junk among ours.

Row by row it is passed over or put right, and said; nothing else is held up by it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.run import AttemptStatus, Retried, RunState
from task_manager_core.testing.conformance.factories import (
    HOUR,
    NOTHING,
    TTL,
    WORKER,
    decision,
    definition,
    exclusive,
    key,
    run,
    runs,
    task,
)
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from tests.adapters.redis.server_time import every_verb
from tests.adapters.redis.shifted_time import MovedRedis, open_moved
from tests.adapters.redis.test_keyspace import EXPIRING, workout
from tests.adapters.redis.test_lost_keys import goes_on, ours, the_keys
from tests.redis_server import RedisServer

LOW = ours("runs", "low")


@pytest_asyncio.fixture
async def moved(own_redis_server: RedisServer) -> AsyncIterator[MovedRedis]:
    async with open_moved(own_redis_server.url) as moved:
        yield moved


@pytest.fixture
def store(moved: MovedRedis) -> Store:
    return Store(Harness(backend=moved.backend, advance=moved.advance))


@pytest.fixture
def server(own_redis_server: RedisServer) -> Iterator[Any]:
    """Without the types of redis-py, which allow for every version of the protocol at once."""
    with own_redis_server.client() as server:
        yield server


def said(moved: MovedRedis) -> list[str]:
    return [f"{error.where}: {error.reason}" for error in moved.backend.unreadable()]


# -- entries that somebody deleted ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["XDEL", "XTRIM"])
async def test_a_queued_run_whose_entry_is_gone_ends_on_the_record_and_holds_up_nothing(
    moved: MovedRedis, store: Store, server: Any, how: str
) -> None:
    """The leader finds it with the look that comes with its reaping."""
    term = await store.lead()
    await store.define(exclusive())
    await store.define(task("other"))
    lost, held, other = run(exclusive(), "lost"), run(exclusive(), "held"), run(task("other"))
    await store.enqueue(lost, held)
    if how == "XTRIM":
        server.xtrim(LOW, maxlen=0)
    else:
        server.xdel(LOW, server.xrange(LOW)[0][0])
    await store.enqueue(other)
    assert [claim.run for claim in await store.claim()] == [other]
    assert await store.states(key()) == {lost.id.value: RunState.QUEUED, held.id.value: RunState.HELD}
    assert await store.reap(term, TTL) == ()
    assert said(moved) == [f"run {lost.id} of group/task: its item in the stream was deleted: it ends as lost"]
    assert [(line.run, line.status) for line in await store.records(key())] == [(lost.id, AttemptStatus.LOST)]
    assert [claim.run for claim in await store.claim()] == [held]
    assert await store.reap(term, TTL) == ()
    assert said(moved) == []


async def test_what_leads_to_a_run_is_made_again(moved: MovedRedis, store: Store, server: Any) -> None:
    """Though none of these tasks has a slot for an hour, and nobody looks at them."""
    term = await store.lead()
    for name in ("waits", "claimed", "held"):
        await store.define(exclusive(name))
    waits, claimed, held = (run(exclusive(name)) for name in ("waits", "claimed", "held"))
    await store.settle(await store.claim_new(waits), Retried(HOUR / 2))
    claim = await store.claim_new(claimed)
    await store.enqueue(run(exclusive("held"), "first"), held)
    server.delete(ours("waiting"), ours("claims"), ours("live", "group/held"))
    assert await store.reap(term, TTL) == ()
    assert {one.run for one in await store.claim()} == {held}
    await store.advance(HOUR / 2)
    assert {one.run for one in await store.reap(term, TTL)} == {claimed, held}
    assert not await store.settle(claim)
    assert {one.run for one in await store.claim()} == {waits, claimed, held}
    assert said(moved) == []


async def test_each_look_is_at_some_tasks_and_some_runs(
    store: Store, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on where the last one ended, also amid the runs of one task, and begins again after the last task."""
    monkeypatch.setattr("task_manager_redis.run_queue._TASKS_PER_REPAIR", 3)
    monkeypatch.setattr("task_manager_redis.run_queue._RUNS_PER_REPAIR", 100)
    term, many = await store.lead(), 1000
    for number in range(10):
        await store.define(task(f"{number}"))
    await store.enqueue(*runs(task("5"), many))

    async def lost_in(looks: int) -> list[int]:
        """How many runs each of so many looks ended."""
        counts = [(await store.history.snapshot()).tasks]
        for _ in range(looks):
            await store.reap(term, TTL)
            counts.append((await store.history.snapshot()).tasks)
        left = [sum(len(view.live) for view in tasks) for tasks in counts]
        return [before - after for before, after in pairwise(left)]

    for _ in range(2):
        server.xtrim(LOW, maxlen=0)
        ended = await lost_in(40)
        assert sum(ended) == many
        assert max(ended) < many / 2
        await store.enqueue(*runs(task("9"), many, "again"))
    assert sum(await lost_in(40)) == 0


@pytest.mark.parametrize("at", [0, 24, 25, 49, 50, 59])
async def test_one_look_finds_the_one_run_among_many_tasks_without_any(store: Store, server: Any, at: int) -> None:
    term = await store.lead()
    for number in range(60):
        await store.define(task(f"{number}"))
    await store.enqueue(run(task(f"{at}")))
    server.xtrim(LOW, maxlen=0)
    await store.reap(term, TTL)
    assert not await store.live(key(f"{at}"))


async def test_only_the_leader_looks(store: Store, server: Any) -> None:
    await store.define(task())
    await store.enqueue(run(task()))
    server.xtrim(LOW, maxlen=0)
    older = await store.lead(ttl=TTL)
    await store.advance(TTL)
    await store.lead(NodeId("other"))
    await store.queue.reap(older, TTL, 10)
    assert len(await store.live(key())) == 1


# -- junk among ours --------------------------------------------------------------------------------------------------


async def test_junk_among_what_waits_stops_no_claim(moved: MovedRedis, store: Store, server: Any) -> None:
    await store.define(task())
    await store.enqueue(run(task()))
    server.zadd(ours("waiting"), {"junk": 0, b"\xff a b": 1, "%67/task run": 2})
    assert [claim.run for claim in await store.claim()] == [run(task())]
    assert said(moved) == [
        "the set of waiting runs: junk is no run, and was deleted",
        "the set of waiting runs: ? a b is no run, and was deleted",
    ]
    assert server.zcard(ours("waiting")) == 0


async def test_junk_among_the_claims_stops_no_reaping(moved: MovedRedis, store: Store, server: Any) -> None:
    term = await store.lead()
    await store.define(task())
    claim = await store.claim_new(run(task()))
    server.zadd(ours("claims"), {"junk": 0})
    server.hset(ours("claimed", WORKER.value), "junk", "junk")
    await store.advance(TTL)
    assert await store.reap(term, TTL) == (claim,)
    assert said(moved) == ["the set of claims: junk is no claim, and was deleted"]
    [claim] = await store.queue.claim(WORKER, 10, NOTHING, known=())
    assert await store.settle(claim)


@pytest.mark.parametrize("field", ["slot", "due"])
async def test_of_a_plan_that_is_half_damaged_the_other_half_stands(
    moved: MovedRedis, store: Store, server: Any, field: str
) -> None:
    slot = await store.slot()
    for name in ("one", "two"):
        await store.define(task(name), slot)
    server.hset(ours("task", "group/one"), field, "tomorrow")
    for _ in range(2):
        due = (await store.dispatch.agenda(10)).due
        assert [(one.key.name, one.slot, one.due_at) for one in due] == [("one", slot, slot), ("two", slot, slot)]
    assert said(moved) == [
        "the next slot of group/one: slot or due instant is no instant: the other one is used for both"
    ]


async def test_a_plan_that_is_none_stops_the_agenda_of_no_other(moved: MovedRedis, store: Store, server: Any) -> None:
    """It is said once, and the task waits for a new plan."""
    slot = await store.slot()
    versions = [await store.define(task(name), slot) for name in ("one", "two", "three")]
    server.hset(ours("task", "group/one"), mapping={"slot": "tomorrow", "due": ""})
    await store.dispatch.agenda(2)
    assert {due.key.name for due in (await store.dispatch.agenda(2)).due} == {"two", "three"}
    assert said(moved) == [
        "the next slot of group/one: it is no instant: the task is not scheduled until its next slot is set again"
    ]
    assert (await store.view(key("one"))).next_slot is None
    at = slot + HOUR
    await store.catalogue.put([definition(task("one", description="d"), expected=versions[0], slot=at)])
    assert (await store.view(key("one"))).next_slot is not None


async def test_a_version_that_is_none_is_no_task_until_it_is_written(store: Store, server: Any) -> None:
    term, slot = await store.lead(), await store.slot()
    for name in ("one", "two"):
        await store.define(task(name), slot)
    server.hset(ours("task", "group/one"), "version", "first")
    assert [due.key.name for due in (await store.dispatch.agenda(10)).due] == ["two"]
    assert [view.key.name for view in (await store.history.snapshot()).tasks] == ["two"]
    changes = await store.catalogue.load(0)
    assert changes is not None
    assert changes.keys == {key("two")}
    version = await store.define(task("one"), slot)
    assert await store.commit_one(term, decision(task("one"), version, slot, then=slot + HOUR))


async def test_a_place_that_is_none_ends_its_run_and_holds_up_nothing(
    moved: MovedRedis, store: Store, server: Any
) -> None:
    term = await store.lead()
    await store.define(exclusive())
    await store.enqueue(run(exclusive(), "1"), run(exclusive(), "2"))
    [name] = server.hkeys(ours("live", "group/task"))
    server.hset(ours("live", "group/task"), name, "somewhere")
    assert await store.claim() == ()
    assert [live.state for live in await store.live(key())] == [RunState.HELD]
    assert await store.reap(term, TTL) == ()
    assert [claim.run for claim in await store.claim()] == [run(exclusive(), "2")]
    assert [line.status for line in await store.records(key())] == [AttemptStatus.LOST]
    assert said(moved) == [
        f"the entry of run {name.decode()} of group/task: '{'somewhere'}' is not 12 words",
        f"run {name.decode()} of group/task: its entry cannot be read: it ends as lost",
    ]


JUNK = [b"junk", b"", b"a b c", b"\xff\xfe", b"q - x", b"{}", b"9" * 400]


async def test_no_junk_in_any_value_stops_anything_for_ever(own_redis_server: RedisServer, server: Any) -> None:
    """In every kind of key, instead of each of its values, and beside them. What expires is statistics."""
    names = [name for name in await the_keys(own_redis_server.url) if not EXPIRING.match(name)]
    assert len(names) > 15
    for number, name in enumerate(names):
        async with open_moved(own_redis_server.url) as moved:
            store = Store(Harness(backend=moved.backend, advance=moved.advance))
            await workout(store)
            spoil(server, name, JUNK[number % len(JUNK)])
            for verb in await every_verb(store, NOTHING):
                await verb()
            await goes_on(store, f"{name} with {JUNK[number % len(JUNK)]!r}", unreadable=True)
        server.flushall()


def spoil(server: Any, name: str, junk: bytes) -> None:
    """Junk instead of one value of a key, and as one more."""
    match server.type(name):
        case b"hash":
            # The last one: of the term that is its end. Whoever it is said to belong to would hold it up to there.
            server.hset(name, server.hkeys(name)[-1], junk)
            server.hset(name, b"field " + junk, junk)
        case b"zset":
            server.zadd(name, {junk: 0, junk + b" ": 10**15})
        case b"set":
            server.sadd(name, junk)
        case b"stream":
            server.xadd(name, {junk: junk})
        case b"list":
            server.lpush(name, junk)
        case _:
            server.set(name, junk)
