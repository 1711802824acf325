"""What a cluster costs while nothing is due: a price for each verb, times its calls in a simulated hour of the default
policy."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest
import redis

from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.policy import WorkerPolicy
from task_manager_core.domain.run import Claim
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.cluster.clock import START
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.run import run_simulation
from task_manager_core.testing.conformance.factories import (
    HOUR,
    NOTHING,
    TTL,
    WORKER,
    definition,
    key,
    presence,
    run,
    task,
)
from task_manager_core.testing.conformance.store import Store
from task_manager_memory import MemoryStore
from task_manager_redis import wake_ups
from task_manager_redis.promotion_timer import RECHECK_INTERVAL
from task_manager_redis.wake_ups import LONGEST_REQUEST
from tests.adapters.redis.shifted_time import PREFIX, ShiftedRedis, open_shifted
from tests.redis_server import RedisServer
from tests.waiting import wait_until_async

ROOT = f"{{{PREFIX}}}"
OTHER = NodeId("other")
SHORT = timedelta(milliseconds=200)
SECONDS = 3600.0
PROCESSES = 3
MOST_COMMANDS = 14.0
"""A second, for all processes together."""


async def commands(shifted: ShiftedRedis, server: redis.Redis, act: Callable[[], Awaitable[object]]) -> int:
    """The number of commands that an act costs, with those inside scripts. The act is done once before: the first
    call loads the script and inspects the server."""
    await act()
    shifted.client.shift += 1  # Two heartbeats of a node are never in one millisecond.
    before = _calls(server)
    await act()
    return sum((_calls(server) - before).values())


def _calls(server: redis.Redis) -> Counter[str]:
    stats = server.info("commandstats")
    return Counter({name: stat["calls"] for name, stat in stats.items() if name != "cmdstat_info"})


async def prices(shifted: ShiftedRedis, store: Store, server: redis.Redis) -> dict[str, float]:
    """The commands of each verb that an idle cluster calls, while it finds nothing new."""
    await store.define(task())
    [stored] = (await store.catalogue.load(0) or pytest.fail("nothing is stored")).changed
    term = await store.lead()
    here = presence(WORKER.value)
    await store.membership.announce(here, HOUR)
    verbs: dict[str, Callable[[], Awaitable[object]]] = {
        "load": partial(store.catalogue.load, stored.version),
        "announce": partial(store.membership.announce, here, HOUR),
        "agenda": partial(store.dispatch.agenda, 100),
        "renew": partial(store.leadership.renew, term, HOUR),
        "campaign": partial(store.leadership.campaign, NodeId("follower"), HOUR),
        "observe": store.leadership.observe,
        "wait": partial(store.notifier.wait, SHORT),
        "reap": partial(store.queue.reap, term, HOUR, 100),
        "snapshot": partial(store.history.snapshot, ()),
    }
    found: dict[str, float] = {verb: await commands(shifted, server, act) for verb, act in verbs.items()}
    # The waits of an idle worker share a request of LONGEST_REQUEST, and it reads the queue once in RECHECK_INTERVAL.
    reading = await commands(shifted, server, partial(store.queue.claim, WORKER, 2, NOTHING))
    waiting = await commands(shifted, server, partial(store.queue.claim, WORKER, 2, SHORT))
    wait = WorkerPolicy().wait
    found["claim"] = waiting + wait / LONGEST_REQUEST + reading * (wait / RECHECK_INTERVAL)
    return found


def calls_of_an_idle_cluster() -> Counter[str]:
    """The calls of each verb by all processes, in an hour in which nothing is due."""
    yearly = TaskDefinition(
        key=TaskKey("group", "yearly"), schedule=Schedule.at(START + timedelta(days=365)), function="yearly"
    )

    def declare(_cluster: SimCluster, _machine: str, declarations: Declarations) -> None:
        declarations.declare(yearly, lambda: None)

    async def main() -> Counter[str]:
        async with SimCluster(open_backend=MemoryStore().open, declare=declare) as cluster:
            for number in range(PROCESSES):
                cluster.boot(f"w{number}")
            await cluster.sleep(60.0)
            links = [process.link for process in cluster.alive()]
            before = sum((Counter(link.calls) for link in links), Counter[str]())
            await cluster.sleep(SECONDS)
            return sum((Counter(link.calls) for link in links), Counter[str]()) - before

    return run_simulation(main, Decider(None)).value


async def test_three_idle_processes_cost_a_few_commands_a_second(
    shifted: ShiftedRedis, store: Store, server: redis.Redis
) -> None:
    price = await prices(shifted, store, server)
    calls = await asyncio.to_thread(calls_of_an_idle_cluster)
    cost = {verb: count * price[verb] / SECONDS for verb, count in calls.items()}
    assert sum(cost.values()) <= MOST_COMMANDS, cost


async def test_the_verbs_that_an_idle_cluster_calls_often_cost_few_commands(
    shifted: ShiftedRedis, store: Store, server: redis.Redis
) -> None:
    price = await prices(shifted, store, server)
    most = {"load": 1, "claim": 0, "announce": 5, "agenda": 8, "renew": 6, "campaign": 5, "observe": 7, "wait": 1}
    assert all(price[verb] < most[verb] + 1 for verb in most), price


# -- what a cheap verb must not miss ----------------------------------------------------------------------------------


async def test_a_reader_that_asks_for_the_version_only_misses_no_loss(
    shifted: ShiftedRedis, store: Store, server: redis.Redis
) -> None:
    await store.define(task())
    first = await store.catalogue.load(0)
    assert first is not None
    copy = {name: server.dump(name) or b"" for name in server.keys("*")}
    await store.define(task("later"))
    second = await store.catalogue.load(first.version)
    assert second is not None
    assert await store.catalogue.load(second.version) is None

    server.delete(f"{ROOT}:version")
    assert await store.catalogue.load(second.version) is None, "the script finds the version in an index"
    server.flushall()
    for name, dumped in copy.items():
        server.restore(name, 0, dumped)
    older = await store.catalogue.load(second.version)
    assert older is not None
    assert (older.complete, older.version) == (True, first.version)
    await shifted.wipe()
    empty = await store.catalogue.load(first.version)
    assert empty is not None
    assert (empty.complete, empty.version, empty.total) == (True, 0, 0)
    await store.catalogue.put([definition(task())])
    again = await store.catalogue.load(first.version)
    assert again is not None
    assert (again.complete, again.incarnation == first.incarnation) == (True, False)


async def test_a_reading_of_the_agenda_wakes_a_worker_whose_wake_up_was_lost(store: Store, server: redis.Redis) -> None:
    """Another worker took the wake-up and died. The worker that waits reads the queue no more by itself."""
    await store.define(task())
    async with waiting(store, server) as claiming:
        await enqueue_without_wake_up(store, server)
        assert not claiming.done()
        await store.dispatch.agenda(1)
        [claim] = await claiming
    assert claim.run == run(task())


async def test_a_reading_of_the_agenda_queues_the_waiting_runs_of_a_process_that_has_died(
    shifted: ShiftedRedis, store: Store, server: redis.Redis
) -> None:
    await store.define(task())
    claim = await store.claim_new(run(task()))
    await store.queue.release([claim], TTL, started=True)
    async with waiting(store, server) as claiming:
        shifted.client.shift += TTL // timedelta(milliseconds=1)
        await store.dispatch.agenda(1)
        [again] = await claiming
    assert (again.run, again.attempt) == (claim.run, 2)


async def test_a_worker_whose_wait_failed_reads_the_queue_again(store: Store, server: redis.Redis) -> None:
    await store.define(task())
    async with waiting(store, server) as claiming:
        await enqueue_without_wake_up(store, server)
        [request] = blocked(server)
        server.client_kill_filter(_id=request)
        with pytest.raises(BackendUnavailable):
            await claiming
    assert len(await store.queue.claim(WORKER, 1, HOUR)) == 1


async def test_the_waits_of_an_idle_worker_share_a_request(
    store: Store, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake_ups, "NEXT_WAIT_WITHIN", HOUR.total_seconds())
    assert await store.queue.claim(WORKER, 1, SHORT) == ()
    await wait_until_async(lambda: blocked(server), "the request waits")
    requests = blocked(server)
    assert await store.queue.claim(WORKER, 1, SHORT) == ()
    assert blocked(server) == requests
    assert len(requests) == 1


async def test_a_request_that_no_wait_needs_any_more_takes_no_wake_up_from_others(
    store: Store, server: redis.Redis
) -> None:
    """Its worker may have stopped."""
    await store.define(task())
    assert await store.queue.claim(WORKER, 1, SHORT) == ()
    await store.enqueue(run(task()))
    async with asyncio.timeout(LONGEST_REQUEST.total_seconds() / 2):
        assert len(await store.queue.claim(OTHER, 1, HOUR)) == 1


async def test_a_closed_store_leaves_no_request(
    own_redis_server: RedisServer, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake_ups, "NEXT_WAIT_WITHIN", HOUR.total_seconds())
    async with open_shifted(own_redis_server.url) as shifted:
        assert await shifted.backend.queue.claim(WORKER, 1, SHORT) == ()
        await wait_until_async(lambda: blocked(server), "the request waits")
    await wait_until_async(lambda: not blocked(server), "the request has ended")


@asynccontextmanager
async def waiting(store: Store, server: redis.Redis) -> AsyncGenerator[asyncio.Task[tuple[Claim, ...]]]:
    """A worker that has found nothing, and waits."""
    claiming = asyncio.ensure_future(store.queue.claim(WORKER, 1, HOUR))
    try:
        await wait_until_async(lambda: blocked(server), "the worker waits")
        yield claiming
    finally:
        claiming.cancel()


async def enqueue_without_wake_up(store: Store, server: redis.Redis) -> None:
    """A key in the place of the list of wake-ups: the script does not add an element."""
    server.set(f"{ROOT}:bell", "another key")
    await store.enqueue(run(task()))
    server.delete(f"{ROOT}:bell")


def blocked(server: redis.Redis) -> list[str]:
    """The connections that wait for a wake-up."""
    return [one["id"] for one in server.client_list() if "b" in one["flags"]]


async def test_a_node_whose_presence_was_deleted_announces_it_again(store: Store, server: redis.Redis) -> None:
    here = presence(WORKER.value)
    await store.membership.announce(here, TTL)
    server.delete(f"{ROOT}:presences")
    assert await store.living() == []
    await store.membership.announce(here, TTL)
    assert await store.living() == [WORKER.value]


async def test_what_dead_nodes_announced_is_deleted(store: Store, server: redis.Redis) -> None:
    await store.membership.announce(presence("dead"), TTL)
    await store.membership.announce(presence("alive"), HOUR)
    await store.advance(TTL)
    assert await store.living() == ["alive"]
    assert sorted(server.hkeys(f"{ROOT}:presences")) == [b"digest alive", b"text alive"]
    assert server.zrange(f"{ROOT}:nodes", 0, -1) == [b"alive"]


async def test_a_due_task_whose_name_cannot_be_read_is_counted(store: Store, server: redis.Redis) -> None:
    await store.define(task(), await store.now())
    server.rename(f"{ROOT}:task:{key().group}/{key().name}", f"{ROOT}:task:%ff/%ff")
    server.zadd(f"{ROOT}:due", {"%ff/%ff": 1})
    agenda = await store.dispatch.agenda(100)
    assert (agenda.due, agenda.unreadable) == ((), 1)
