"""The keys that the store writes: their names, their times to live, their slot in a cluster. It touches no other
keys."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio
import redis
from redis.crc import key_slot

from task_manager_core.domain.identity import FunctionKey, NodeId, TaskKey
from task_manager_core.domain.observation import Presence
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import Exhausted, Retried, RunState
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Cancelling
from task_manager_core.testing.conformance.factories import (
    HOUR,
    MINUTE,
    TTL,
    WORKER,
    decision,
    exclusive,
    run,
    skipped,
    task,
)
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from tests.adapters.redis.shifted_time import ShiftedRedis, open_shifted

# Statistics and remembered requests may expire. No key on which a law depends expires.
EXPIRING = re.compile(r"\{[^}]*\}:(attempts|skipped|requested):")


@dataclass(frozen=True, slots=True)
class Look:
    """A store, and the server behind it."""

    store: Store
    shifted: ShiftedRedis
    server: redis.Redis

    def names(self) -> list[str]:
        """The keys of the database."""
        return sorted(name if isinstance(name, str) else name.decode() for name in self.server.keys("*"))


@pytest_asyncio.fixture
async def look(redis_url: str) -> AsyncIterator[Look]:
    async with open_shifted(redis_url) as shifted:
        with redis.Redis.from_url(redis_url) as server:
            yield Look(Store(Harness(backend=shifted.backend, advance=shifted.advance)), shifted, server)


async def workout(store: Store, worker: NodeId = WORKER, groups: tuple[str, ...] = ("group",)) -> None:
    """Call every verb with every outcome, and leave values of every kind in the store."""
    term = await store.lead()
    at = await store.slot(-MINUTE)
    for group in groups:
        low, high = exclusive("low", group), task("high", group, priority=Priority.HIGH)
        versions = [await store.define(of, at) for of in (low, high, task("retired", group), task("removed", group))]
        await store.membership.announce(
            Presence(
                node=worker,
                service="service",
                started_at=at,
                tasks=frozenset({low.key}),
                functions=frozenset({FunctionKey(group, "function")}),
            ),
            HOUR,
        )
        await store.enqueue(run(task("removed", group)))
        await store.dispatch.agenda(10)
        slots = [at + number * timedelta(seconds=1) for number in range(5)]
        first, second = (low.run_of_slot(slot, versions[0]) for slot in slots[:2])
        fires = [high.run_of_slot(slot, versions[1]) for slot in slots]
        skips = [skipped(slots[2])]
        assert await store.commit_one(
            term, decision(low, versions[0], at, dispatch=[first], hold=second, skips=skips, then=at + HOUR)
        )
        assert await store.commit_one(term, decision(high, versions[1], at, dispatch=fires, then=at + HOUR))
        claims = await store.claim(worker)
        await store.queue.extend(claims, TTL)
        await store.settle(claims[0], Retried(HOUR))
        await store.settle(claims[1], Exhausted())
        await store.release(claims[2], HOUR, started=True)
        await store.queue.cancel([(high.key, claims[3].run.id), (high.key, claims[0].run.id)])
        await store.enqueue(run(low, "held"))
        await store.advance(TTL)
        await store.reap(term, TTL, 1)
        await store.dispatch.pause([low.key])
        await store.dispatch.resume([low.key])
        await store.dispatch.pause([low.key])
        await store.catalogue.retire(term, [task("retired", group).key])
        await store.catalogue.remove([task("removed", group).key])
    await store.state()


async def test_only_statistics_and_requests_expire(look: Look) -> None:
    await workout(look.store)
    kinds = {"attempts": 0, "skipped": 0, "requested": 0}
    for name in look.names():
        found = EXPIRING.match(name)
        assert (look.server.ttl(name) > 0) is (found is not None), name
        if found is not None:
            kinds[found.group(1)] += 1
    assert min(kinds.values()) > 0


async def test_every_key_stands_in_one_slot(look: Look) -> None:
    await workout(look.store)
    keys = look.names()
    assert len(keys) > 15
    assert {key_slot(name.encode()) for name in keys} == {key_slot(look.shifted.client.root.encode())}
    assert {name.partition(":")[0] for name in keys} == {"{tests}"}


@pytest.mark.parametrize("prefix", ["a}b", "{}", "{a}", "a b:c/d", "}{", "ключ", "%7B"])
async def test_an_odd_prefix_keeps_its_slot(redis_url: str, prefix: str) -> None:
    async with open_shifted(redis_url, prefix=prefix) as shifted:
        await workout(Store(Harness(backend=shifted.backend, advance=shifted.advance)))
        with redis.Redis.from_url(redis_url) as server:
            assert {key_slot(name) for name in server.keys("*") if isinstance(name, bytes)} == {
                key_slot(shifted.client.root.encode())
            }


async def test_two_applications_in_one_database_never_meet(redis_url: str) -> None:
    prefixes = ["a", "a:b", "a}", "{a", "A", "a "]
    for prefix in prefixes:
        async with open_shifted(redis_url, prefix=prefix) as shifted:
            store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
            assert (await store.history.snapshot()).tasks == ()
            assert await store.claim() == ()
            await workout(store)


async def test_a_removed_task_leaves_nothing(look: Look) -> None:
    await look.store.define(task("other"))
    await look.store.settle(await look.store.claim_new(run(task("other"))))
    await look.store.lead()
    before = look.names()
    await workout(look.store)
    await look.store.catalogue.remove([TaskKey("group", name) for name in ("low", "high", "retired")])
    await look.store.membership.depart(WORKER)
    assert await look.store.claim() == ()
    left = [name for name in look.names() if name not in before and ":requested:" not in name]
    assert left == []
    for stream in ("high", "low"):
        assert look.server.xlen(f"{{tests}}:runs:{stream}") == 0


async def test_a_hundred_odd_names_share_nothing(look: Look) -> None:
    chance = random.Random(7)
    letters = "_:{}/ %é漢🙂\u00a0."
    names = {"".join(chance.choices(letters, k=chance.randint(1, 3))) for _ in range(400)}
    keys = [TaskKey(*pair) for pair in zip(sorted(names)[:100], sorted(names)[100:200], strict=True)]
    store, term, at = look.store, await look.store.lead(), await look.store.slot(-MINUTE)
    tasks = [
        TaskDefinition(key=key, schedule=task().schedule, function="function", description=str(key)) for key in keys
    ]
    for number, of in enumerate(tasks):
        version = await store.define(of, at)
        skips = [skipped(at, count=number + 1, last=at, reason=SkipReason.OVERLAP)]
        assert await store.commit_one(term, decision(of, version, at, skips=skips, then=at + HOUR))
        await store.enqueue(run(of))
        if number % 2:
            await store.dispatch.pause([of.key])
    claims = await store.claim()
    assert [claim.run.task for claim in claims] == keys
    for claim in claims[::3]:
        assert await store.settle(claim)
    for number, of in enumerate(tasks):
        view = await store.view(of.key)
        assert view.skipped == {SkipReason.OVERLAP: number + 1}
        assert view.paused is bool(number % 2)
        assert len(await store.records(of.key)) == (number % 3 == 0)
        assert [live.state for live in view.live] == ([] if number % 3 == 0 else [RunState.RUNNING])
    changes = await store.catalogue.load(0)
    assert changes is not None
    assert {stored.definition.key: stored.definition.description for stored in changes.changed} == {
        key: str(key) for key in keys
    }
    assert changes.keys == set(keys)


async def test_more_tasks_than_one_script_takes(look: Look) -> None:
    store = look.store
    tasks = [task(f"{number}") for number in range(501)]
    at = await store.slot(-MINUTE)
    for of in tasks:
        await store.define(of, at)
    await store.enqueue(*(run(of) for of in tasks))
    keys = {of.key for of in tasks}
    snapshot = await store.history.snapshot()
    assert [view.key for view in snapshot.tasks] == sorted(keys)
    assert snapshot.queued == 501
    assert len((await store.history.snapshot(sorted(keys)[:333])).tasks) == 333
    changes = await store.catalogue.load(0)
    assert changes is not None
    assert {stored.definition for stored in changes.changed} == set(tasks)
    versions = [stored.version for stored in changes.changed]
    assert versions == sorted(set(versions))
    again = await store.catalogue.load(versions[250])
    assert again is not None
    assert [stored.version for stored in again.changed] == versions[251:]
    assert (again.complete, again.total) == (False, 501)
    assert await store.dispatch.pause(keys) == keys
    assert await store.dispatch.resume(keys) == keys
    cancelled = await store.queue.cancel([(of.key, run(of).id) for of in tasks])
    assert set(cancelled) == {Cancelling.CANCELLED}
    assert await store.history.clear(keys) == keys
    assert await store.catalogue.remove(keys) == keys
