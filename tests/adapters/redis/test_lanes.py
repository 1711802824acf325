"""The streams of the queues, and those of tasks that a worker excludes."""

from __future__ import annotations

import pytest
import redis

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.testing.conformance.factories import TTL, WORKER, run, runs, task
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.keys import encode_lane, encode_queue
from tests.adapters.redis.shifted_time import PREFIX

MAIL, MAILING = task("mailing", queue="mail"), Scope(frozenset({"mail"}))
EXCLUDED = task("excluded")
EXCLUDING = Scope(None, frozenset({EXCLUDED.key}))


FEW = 5
"""Commands that depend on the time, and on the lane that has the oldest run."""


def ours(*parts: str) -> str:
    return ":".join((f"{{{PREFIX}}}", *parts))


def test_the_default_queue_has_the_names_that_it_had_before_there_were_others() -> None:
    assert [encode_lane(priority, "default") for priority in Priority] == ["high", "low"]
    assert (encode_lane(Priority.LOW, "mail"), encode_queue("default"), encode_queue("mail")) == (
        "low:mail",
        "",
        "mail",
    )


async def test_an_empty_lane_leaves_nothing(store: Store, server: redis.Redis) -> None:
    for of in (MAIL, EXCLUDED):
        await store.define(of)
        await store.enqueue(*runs(of, 3))
    assert len(await store.claim(scope=EXCLUDING)) == 3
    assert server.exists(ours("aside"), ours("runs", "low@group/excluded")) == 2
    assert server.exists(ours("lanes"), ours("runs", "low:mail")) == 0
    assert len(await store.claim(NodeId("other"))) == 3
    assert server.exists(ours("aside"), ours("runs", "low@group/excluded")) == 0
    assert server.hget(ours("clock"), "lanes") is None


@pytest.mark.parametrize("lost", ["lanes", "aside", "clock"])
async def test_runs_in_lanes_whose_index_was_lost_are_found_by_the_leader(
    store: Store, server: redis.Redis, lost: str
) -> None:
    term = await store.lead()
    for of in (MAIL, EXCLUDED):
        await store.define(of)
        await store.enqueue(run(of))
    assert await store.claim(scope=Scope(frozenset({"default"}), EXCLUDING.without)) == ()
    server.delete(ours(lost))
    term = await store.lead(term.holder)
    for _ in range(3):
        await store.reap(term, TTL)
    assert {claim.run for claim in await store.claim()} == {run(MAIL), run(EXCLUDED)}


async def calls(store: Store, server: redis.Redis, scope: Scope) -> int:
    """The commands of a claim of one run."""
    server.config_resetstat()
    assert len(await store.claim(limit=1, scope=scope)) == 1
    counts = server.info("commandstats")
    return sum(one["calls"] for name, one in counts.items() if name not in {"cmdstat_config|resetstat", "cmdstat_info"})


@pytest.mark.parametrize("scope", [MAILING, EXCLUDING, EVERYTHING], ids=["a queue", "without a task", "all"])
async def test_a_claim_costs_the_same_for_any_number_of_queued_runs(
    store: Store, server: redis.Redis, scope: Scope
) -> None:
    await store.lead()
    for of in (MAIL, EXCLUDED):
        await store.define(of)
    await store.enqueue(*runs(MAIL, 20), *runs(EXCLUDED, 20))
    await store.claim(WORKER, 10, scope)
    few = await calls(store, server, scope)
    await store.enqueue(*runs(EXCLUDED, 500, "more"), *runs(MAIL, 500, "more"))
    await store.claim(WORKER, 10, scope)  # It moves what it excludes, once.
    assert await calls(store, server, scope) <= few + FEW
