"""Many runs, large bodies and many nodes do not make other requests slow, measured in the server's own time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
import redis

from task_manager_core.application.failure import LONGEST_MESSAGE, LONGEST_TRACEBACK
from task_manager_core.domain.identity import RunId
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import Exhausted, Failure, Retried, Succeeded
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Enqueued
from task_manager_core.testing.conformance.factories import (
    HOUR,
    definition,
    exclusive,
    key,
    presence,
    run,
    runs,
    settlement,
    task,
)
from task_manager_core.testing.conformance.store import Store
from task_manager_redis import history
from task_manager_redis.driver import Argument
from task_manager_redis.keys import decode_run_id, encode_task
from task_manager_redis.replies import Reply
from task_manager_redis.run_queue import PROMOTED_PER_SCRIPT
from task_manager_redis.scripts import Script, script
from tests.adapters.redis.shifted_time import ShiftedRedis, open_shifted

MANY = 2000
LARGE = '{"text":"' + "x" * 50_000 + '"}'
TRIES = 15
FACTOR = 10
"""Two measurements may differ by this factor. A verb that reads too much costs a hundred times as much."""


@pytest_asyncio.fixture
async def shifted(redis_url: str) -> AsyncIterator[ShiftedRedis]:
    async with open_shifted(redis_url) as shifted:
        yield shifted


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        yield server


async def cost(server: redis.Redis, verb: Callable[[], Awaitable[object]]) -> int:
    """Microseconds that the server spent on scripts: the least of several calls, because other work only adds time."""

    def spent() -> int:
        stats = server.info("commandstats")
        return sum(int(stat["usec"]) for name, stat in stats.items() if name in {"cmdstat_eval", "cmdstat_evalsha"})

    costs: list[int] = []
    for _ in range(TRIES):
        before = spent()
        await verb()
        costs.append(spent() - before)
    return max(min(costs), 10)


async def test_the_cost_of_a_request_does_not_grow_with_the_held_runs(store: Store, server: redis.Redis) -> None:
    requests, cancellations = list[int](), list[int]()
    for name, held in (("few", 3), ("many", MANY)):
        of, numbers = exclusive(name), count()
        await store.define(of)
        await store.enqueue(*runs(of, held, "before"))
        assert len(await store.live(of.key)) == held

        async def request(of: TaskDefinition = of, numbers: Iterator[int] = numbers) -> object:
            return await store.enqueue(run(of, f"{next(numbers)}"))

        async def cancel(of: TaskDefinition = of, numbers: Iterator[int] = numbers) -> object:
            return await store.queue.cancel([(of.key, run(of, f"{next(numbers) - TRIES}").id)])

        requests.append(await cost(server, request))
        cancellations.append(await cost(server, cancel))
        assert len(await store.live(of.key)) == held
    assert requests[1] < FACTOR * requests[0]
    assert cancellations[1] < FACTOR * cancellations[0]


async def test_a_promotion_reads_no_queued_runs(store: Store, server: redis.Redis) -> None:
    await store.define(task("other"))
    assert await store.settle(await store.claim_new(run(task("other"))), Retried(HOUR))
    costs: list[int] = []
    for name, queued in (("few", 3), ("many", MANY)):
        of = task(name)
        await store.define(of)
        claim = await store.claim_new(run(of, "waits"))
        await store.enqueue(*runs(of, queued))
        assert await store.settle(claim, Retried(HOUR))
        assert await store.queue.promote([of.key]) == 1
        costs.append(await cost(server, partial(store.queue.promote, [of.key])))
        await store.catalogue.remove([of.key])
    assert costs[1] < FACTOR * costs[0]


async def test_many_waiting_runs_are_promoted_in_steps_and_each_only_once(
    shifted: ShiftedRedis, store: Store, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts: list[int] = []

    async def counted(script: Script, *arguments: Argument) -> Reply:
        before = int(server.info("commandstats")["cmdstat_hset"]["calls"])
        answer = await run_script(script, *arguments)
        scripts.append(int(server.info("commandstats")["cmdstat_hset"]["calls"]) - before)
        return answer

    of = task()
    await store.define(of)
    for number in range(0, MANY, 500):
        await store.enqueue(*runs(of, 500, f"{number}"))
        claims = await store.claim()
        await store.queue.settle([settlement(claim, Retried(HOUR)) for claim in claims[::2]])
        await store.queue.release(claims[1::2], HOUR, started=True)
    again = partial(store.queue.promote, [of.key])
    run_script = shifted.client.run
    with monkeypatch.context() as patch:
        patch.setattr(shifted.client, "run", counted)
        assert await again() == MANY
    assert len(scripts) >= MANY / PROMOTED_PER_SCRIPT
    assert max(scripts) <= 1.2 * PROMOTED_PER_SCRIPT
    assert await again() == 0
    assert await cost(server, again) < FACTOR * await cost(server, partial(store.queue.promote, [key("none")]))
    assert len(await store.claim(limit=MANY)) == MANY


async def test_a_run_that_is_released_during_a_promotion_waits(
    shifted: ShiftedRedis, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, released = task(), set[RunId]()
    await store.define(of)
    await store.enqueue(*runs(of, MANY // 10, "waits"))
    await store.queue.settle([settlement(claim, Retried(HOUR)) for claim in await store.claim()])
    run_script = shifted.client.run

    async def released_during(script: Script, *arguments: Argument) -> Reply:
        answer = await run_script(script, *arguments)
        if script.name == "promote":
            claims = await store.claim()
            released.update(claim.run.id for claim in claims)
            await store.queue.release(claims, HOUR, started=True)
        return answer

    monkeypatch.setattr("task_manager_redis.run_queue.PROMOTED_PER_SCRIPT", 20)
    with monkeypatch.context() as patch:
        patch.setattr(shifted.client, "run", released_during)
        assert await store.queue.promote([of.key]) == MANY // 10
    assert len(released) == MANY // 10
    assert await store.claim() == ()
    assert {live.attempt for live in await store.live(of.key)} == {3}


async def test_a_task_with_many_runs_is_removed_as_fast_as_one_with_few(
    shifted: ShiftedRedis, store: Store, server: redis.Redis
) -> None:
    costs: list[int] = []
    for name, left in (("few", 3), ("many", MANY)):
        numbers = iter(range(TRIES))
        for number in range(TRIES):
            of = task(f"{name} {number}")
            await store.define(of)
            await store.enqueue(*runs(of, left))

        async def remove(name: str = name, numbers: Iterator[int] = numbers) -> object:
            return await shifted.client.run(script("remove"), encode_task(key(f"{name} {next(numbers)}")))

        costs.append(await cost(server, remove))
    assert costs[1] < FACTOR * costs[0]


async def test_verbs_that_keep_leases_do_not_queue_behind_readers(store: Store) -> None:
    for of in map(task, map(str, range(10))):
        await store.define(of)
    term, claim = await store.lead(), await store.claim_new(run(task("0")))
    looking = [asyncio.ensure_future(store.history.snapshot()) for _ in range(200)]
    await asyncio.sleep(0)
    assert await store.leadership.renew(term, HOUR)
    assert await store.extend_one(claim, HOUR)
    assert await store.settle(claim)
    assert sum(look.done() for look in looking) < len(looking) / 2
    await asyncio.wait(looking)


async def test_each_reader_gets_a_presence_once(store: Store, server: redis.Redis) -> None:
    nodes = [presence(f"node {number}", tasks=frozenset(map(key, map(str, range(MANY))))) for number in range(5)]
    for node in nodes:
        await store.membership.announce(node, HOUR)

    async def told() -> int:
        """The bytes of the answer."""
        before = int(server.info("stats")["total_net_output_bytes"])
        assert list((await store.history.snapshot(())).nodes) == nodes
        return int(server.info("stats")["total_net_output_bytes"]) - before

    whole = await told()
    assert await told() < whole / FACTOR
    nodes[3] = presence("node 3", tasks=frozenset(map(key, map(str, range(MANY // 2)))))
    await store.membership.announce(nodes[3], HOUR)
    assert whole / FACTOR < await told() < whole / 4
    await store.membership.depart(nodes.pop().node)
    assert await told() < whole / FACTOR


@pytest.mark.parametrize("state", ["waiting", "held"])
async def test_a_snapshot_reads_no_bodies(store: Store, server: redis.Redis, state: str) -> None:
    costs: list[int] = []
    for name, kwargs in (("small", "{}"), ("large", LARGE)):
        of = exclusive(name) if state == "held" else task(name)
        await store.define(of)
        for number in range(50):
            assert await store.enqueue(run(of, f"{number}", kwargs=kwargs)) != (Enqueued.DUPLICATE,)
        if state == "waiting":
            await store.queue.settle([settlement(claim, Retried(HOUR)) for claim in await store.claim()])
        assert len(await store.live(of.key)) == 50
        costs.append(await cost(server, partial(store.history.snapshot, [of.key])))
    assert costs[1] < FACTOR * costs[0]


async def test_other_tasks_run_while_a_task_with_many_live_runs_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def decode(run: str) -> RunId:
        read.append(run)
        return decode_run_id(run)

    monkeypatch.setattr(history, "decode_run_id", decode)
    many = 5 * history.RUNS_PER_SLICE
    await store.define(task())
    await store.enqueue(*(run(task(), f"{number}") for number in range(many)))
    looking, before, slices = asyncio.ensure_future(store.live(key())), 0, list[int]()
    while not looking.done():
        await asyncio.sleep(0)
        slices.append(len(read) - before)
        before = len(read)
    assert len(looking.result()) == many
    assert max(slices) <= history.RUNS_PER_SLICE


# -- memory -----------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "run-on-redis.md"


async def needed(server: redis.Redis, times: int, what: Awaitable[object]) -> float:
    """The bytes of memory that a call needs for each of its items."""
    before = used(server)
    await what
    return (used(server) - before) / times


def used(server: redis.Redis) -> int:
    """Without scripts and their engine: newer servers count its memory, and it grows with the answer of a script."""
    server.script_flush("SYNC")
    return int(server.info("memory")["used_memory"])


async def test_the_page_says_how_much_memory_is_needed(store: Store, server: redis.Redis) -> None:
    """The measured numbers are not above the numbers of the page, and not far below."""
    numbers = re.findall(r"^\| (?:a|the) .* \| ([\d,]+) \|$", PAGE.read_text(), re.MULTILINE)
    said = [int(number.replace(",", "")) for number in numbers]
    of, at, kept = task("task number 0"), await store.slot(HOUR), Retention().runs
    await store.define(of)
    await store.settle(await store.claim_new(run(of)))
    tasks = [definition(task(f"task number {number}"), slot=at) for number in range(1, MANY + 1)]
    large = [run(of, f"{number}", kwargs=f'{{"text":"{"x" * 10_000}"}}') for number in range(50)]
    found = [
        await needed(server, MANY, store.catalogue.put(tasks)),
        await needed(server, MANY, store.enqueue(*runs(of, MANY))),
        await needed(server, 10 * len(large), store.enqueue(*large)),
        await needed(server, MANY, store.claim(limit=MANY)),
    ]
    for outcome in (Succeeded(), Exhausted()):
        await store.catalogue.remove([of.key])
        await store.define(of)
        await store.enqueue(*runs(of, kept, f"{outcome}"))
        failure = Failure(type="ValueError", message="m" * LONGEST_MESSAGE, traceback="t" * LONGEST_TRACEBACK)
        ends = [settlement(claim, outcome, failure=failure) for claim in await store.claim(limit=kept)]
        ends = ends if outcome == Exhausted() else [replace(end, failure=None) for end in ends]
        assert not await store.queue.settle(ends)
        [name] = server.keys("*:attempts:*")
        found.append(int(server.memory_usage(name, samples=0) or 0) / kept)
    print("FOUND", found, said)
    assert all(most / 3 < measured < most for measured, most in zip(found, said, strict=True)), f"{found} for {said}"
