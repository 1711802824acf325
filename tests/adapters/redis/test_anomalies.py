"""Values that another program has changed: deleted items and members, and junk.

The store passes over each such value or repairs it, and reports it. It blocks no other value.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

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
from tests.adapters.redis.shifted_time import ShiftedRedis, open_shifted
from tests.adapters.redis.test_keyspace import EXPIRING, workout
from tests.adapters.redis.test_lost_keys import goes_on, ours, the_keys
from tests.redis_server import RedisServer

LOW = ours("runs", "low")


@pytest.fixture
def server(own_redis_server: RedisServer) -> Iterator[Any]:
    """Without the types of redis-py, which allow for every version of the protocol at once."""
    with own_redis_server.client() as server:
        yield server


def reported(shifted: ShiftedRedis) -> list[str]:
    return [f"{error.where}: {error.reason}" for error in shifted.backend.unreadable()]


# -- deleted items and keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["XDEL", "XTRIM"])
async def test_a_queued_run_whose_item_was_deleted_ends_with_a_line_and_blocks_no_other_run(
    shifted: ShiftedRedis, store: Store, server: Any, how: str
) -> None:
    """The leader finds it in the repair that follows its reaping."""
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
    assert reported(shifted) == [f"run {lost.id} of group/task: its item in the stream was deleted: it ends as lost"]
    assert [(line.run, line.status) for line in await store.records(key())] == [(lost.id, AttemptStatus.LOST)]
    assert [claim.run for claim in await store.claim()] == [held]
    assert await store.reap(term, TTL) == ()
    assert reported(shifted) == []


async def test_deleted_keys_that_lead_to_a_run_are_built_again(
    shifted: ShiftedRedis, store: Store, server: Any
) -> None:
    """No task is due here, so only the repair of the leader can find the runs."""
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
    assert reported(shifted) == []


async def test_each_step_of_a_repair_takes_some_tasks_and_some_runs(
    store: Store, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step goes on where the last one ended, also between two runs of one task. After the last task it begins
    again."""
    monkeypatch.setattr("task_manager_redis.run_queue._TASKS_PER_REPAIR", 3)
    monkeypatch.setattr("task_manager_redis.run_queue._RUNS_PER_REPAIR", 100)
    term, many = await store.lead(), 1000
    for number in range(10):
        await store.define(task(f"{number}"))
    await store.enqueue(*runs(task("5"), many))

    async def lost_in(looks: int) -> list[int]:
        """The numbers of runs that each of so many steps ended."""
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
async def test_one_step_finds_the_only_run_among_many_tasks(store: Store, server: Any, at: int) -> None:
    term = await store.lead()
    for number in range(60):
        await store.define(task(f"{number}"))
    await store.enqueue(run(task(f"{at}")))
    server.xtrim(LOW, maxlen=0)
    await store.reap(term, TTL)
    assert not await store.live(key(f"{at}"))


async def test_only_the_leader_repairs(store: Store, server: Any) -> None:
    await store.define(task())
    await store.enqueue(run(task()))
    server.xtrim(LOW, maxlen=0)
    older = await store.lead(ttl=TTL)
    await store.advance(TTL)
    await store.lead(NodeId("other"))
    await store.queue.reap(older, TTL, 10)
    assert len(await store.live(key())) == 1


# -- junk among ours --------------------------------------------------------------------------------------------------


async def test_junk_among_the_waiting_runs_stops_no_claim(shifted: ShiftedRedis, store: Store, server: Any) -> None:
    await store.define(task())
    await store.enqueue(run(task()))
    server.zadd(ours("waiting"), {"junk": 0, b"\xff a b": 1, "%67/task run": 2})
    assert [claim.run for claim in await store.claim()] == [run(task())]
    assert reported(shifted) == [
        "the set of waiting runs: junk is no run, and was deleted",
        "the set of waiting runs: ? a b is no run, and was deleted",
    ]
    assert server.zcard(ours("waiting")) == 0


async def test_junk_among_the_claims_stops_no_reaping(shifted: ShiftedRedis, store: Store, server: Any) -> None:
    term = await store.lead()
    await store.define(task())
    claim = await store.claim_new(run(task()))
    server.zadd(ours("claims"), {"junk": 0})
    server.hset(ours("claimed", WORKER.value), "junk", "junk")
    await store.advance(TTL)
    assert await store.reap(term, TTL) == (claim,)
    assert reported(shifted) == ["the set of claims: junk is no claim, and was deleted"]
    [claim] = await store.queue.claim(WORKER, 10, NOTHING, known=())
    assert await store.settle(claim)


@pytest.mark.parametrize("field", ["slot", "due"])
async def test_if_slot_or_due_instant_is_damaged_the_other_one_is_used(
    shifted: ShiftedRedis, store: Store, server: Any, field: str
) -> None:
    slot = await store.slot()
    for name in ("one", "two"):
        await store.define(task(name), slot)
    server.hset(ours("task", "group/one"), field, "tomorrow")
    for _ in range(2):
        due = (await store.dispatch.agenda(10)).due
        assert [(one.key.name, one.slot, one.due_at) for one in due] == [("one", slot, slot), ("two", slot, slot)]
    assert reported(shifted) == [
        "the next slot of group/one: slot or due instant is no instant: the other one is used for both"
    ]


async def test_a_damaged_next_slot_does_not_stop_other_tasks(shifted: ShiftedRedis, store: Store, server: Any) -> None:
    """It is reported once, and the task is not scheduled until it gets a new next slot."""
    slot = await store.slot()
    versions = [await store.define(task(name), slot) for name in ("one", "two", "three")]
    server.hset(ours("task", "group/one"), mapping={"slot": "tomorrow", "due": ""})
    await store.dispatch.agenda(2)
    assert {due.key.name for due in (await store.dispatch.agenda(2)).due} == {"two", "three"}
    assert reported(shifted) == [
        "the next slot of group/one: it is no instant: the task is not scheduled until its next slot is set again"
    ]
    assert (await store.view(key("one"))).next_slot is None
    at = slot + HOUR
    await store.catalogue.put([definition(task("one", description="d"), expected=versions[0], slot=at)])
    assert (await store.view(key("one"))).next_slot is not None


async def test_a_task_with_a_damaged_version_does_not_exist_until_it_is_written_again(
    store: Store, server: Any
) -> None:
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


async def test_a_damaged_run_entry_ends_its_run_and_blocks_no_other_run(
    shifted: ShiftedRedis, store: Store, server: Any
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
    assert reported(shifted) == [
        f"the entry of run {name.decode()} of group/task: '{'somewhere'}' is not 12 words",
        f"run {name.decode()} of group/task: its entry cannot be read: it ends as lost",
    ]


JUNK = [b"junk", b"", b"a b c", b"\xff\xfe", b"q - x", b"{}", b"9" * 400]


async def test_junk_in_any_value_stops_no_task_for_ever(own_redis_server: RedisServer, server: Any) -> None:
    """Junk replaces a value of each kind of key, and is added beside the values. Statistics, which expire, are left
    out."""
    names = [name for name in await the_keys(own_redis_server.url) if not EXPIRING.match(name)]
    assert len(names) > 15
    for number, name in enumerate(names):
        async with open_shifted(own_redis_server.url) as shifted:
            store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
            await workout(store)
            spoil(server, name, JUNK[number % len(JUNK)])
            for verb in await every_verb(store, NOTHING):
                await verb()
            await goes_on(store, f"{name} with {JUNK[number % len(JUNK)]!r}", unreadable=True)
        server.flushall()


def spoil(server: Any, name: str, junk: bytes) -> None:
    """Replace one value of a key by junk, and add a junk value."""
    match server.type(name):
        case b"hash":
            # The last field: for the term it is the end of the lease. Junk in the holder would only delay the next
            # term.
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
