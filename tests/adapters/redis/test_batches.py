"""Many items are split into several scripts, bounded by number and by bytes. An item that is too large gets its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from task_manager_core.domain.run import Claim, Retried
from task_manager_core.testing.conformance.factories import (
    HOUR,
    NOTHING,
    TTL,
    WORKER,
    definition,
    run,
    settlement,
    task,
)
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.batches import BYTES_PER_SCRIPT, batches
from task_manager_redis.client import RedisClient
from task_manager_redis.driver import Argument
from task_manager_redis.replies import Reply
from task_manager_redis.scripts import Script
from tests.adapters.redis.shifted_time import open_shifted

LARGE = '{"text":"' + "x" * 99_000 + '"}'
MANY = 60


def argument_of(text: str) -> tuple[str, int]:
    return text, 1


@pytest.mark.parametrize("character", ["x", "é", "🙂", "\ud800"])
def test_batches_are_bounded_by_number_and_by_bytes(character: str) -> None:
    size = BYTES_PER_SCRIPT // 10 // len(character.encode(errors="replace"))
    texts = ["small"] * 7 + [character * size] * 25 + [character * 20 * size] + ["small"] * 3
    found = list(batches(texts, 5, argument_of))
    assert [text for some, _ in found for text in some] == texts
    assert [argument for _, arguments in found for argument in arguments] == [
        argument for text in texts for argument in (text, 1)
    ]
    for some, arguments in found:
        weight = sum(len(text.encode(errors="replace")) for text in some)
        assert len(some) == 1 or weight <= BYTES_PER_SCRIPT
        assert 1 <= len(some) <= 5
        assert len(arguments) == 2 * len(some)
    assert len(found) < 12


def test_nothing_makes_no_batch() -> None:
    assert list(batches([], 5, argument_of)) == []


# -- answers ----------------------------------------------------------------------------------------------------------


def size(reply: Reply) -> int:
    return sum(map(size, reply)) if isinstance(reply, list) else len(str(reply))


@pytest_asyncio.fixture
async def store(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """A store of which no script may answer more than a request has time for."""
    answer = RedisClient.run

    async def measured(client: RedisClient, verb: Script, *arguments: Argument) -> Reply:
        reply = await answer(client, verb, *arguments)
        assert size(reply) < 1.5 * BYTES_PER_SCRIPT, verb.name
        return reply

    monkeypatch.setattr(RedisClient, "run", measured)
    async with open_shifted(redis_url) as shifted:
        yield Store(Harness(backend=shifted.backend, advance=shifted.advance))


async def test_large_runs_are_claimed_given_again_and_reaped_some_at_a_time(store: Store) -> None:
    await store.define(task())
    large = [run(task(), f"{number}", kwargs=LARGE) for number in range(MANY)]
    await store.enqueue(*large)
    first = await store.claim(limit=MANY)
    assert 1 < len(first) < MANY
    claims = list(first)
    while new := await store.claim(limit=MANY):
        claims += new
    assert {claim.run for claim in claims} == set(large)
    assert set(await store.queue.claim(WORKER, MANY, NOTHING, known=first[:3])) == set(claims) - set(first[:3])
    await store.advance(TTL)
    assert set(await store.reap(await store.lead(), TTL, limit=MANY)) == set(claims)


@pytest.mark.parametrize("verb", ["release", "settle"])
async def test_large_runs_go_back_some_at_a_time(store: Store, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their bodies are no arguments. A script moves them inside the server, which does nothing else meanwhile."""
    await store.define(task())
    await store.enqueue(*(run(task(), f"{number}", kwargs=LARGE) for number in range(MANY)))
    claims: list[Claim] = []
    while new := await store.claim(limit=MANY):
        claims += new
    answer, scripts = RedisClient.run, list[str]()

    async def counted(client: RedisClient, script: Script, *arguments: Argument) -> Reply:
        scripts.append(script.name)
        return await answer(client, script, *arguments)

    monkeypatch.setattr(RedisClient, "run", counted)
    if verb == "release":
        assert not await store.queue.release(claims, HOUR, started=False)
    else:
        assert not await store.queue.settle([settlement(claim, Retried(HOUR)) for claim in claims])
    assert scripts.count(verb) >= MANY * len(LARGE) / BYTES_PER_SCRIPT


async def test_large_definitions_are_read_some_at_a_time(store: Store) -> None:
    tasks = [task(f"{number}", kwargs={"text": LARGE}) for number in range(MANY)]
    await store.catalogue.put([definition(one) for one in tasks[:1]])
    read = await store.catalogue.load(0)
    assert read is not None
    await store.catalogue.put([definition(one) for one in tasks[1:]])
    for since, expected in ((0, tasks), (read.version, tasks[1:])):
        changes = await store.catalogue.load(since)
        assert changes is not None
        assert {stored.definition.key for stored in changes.changed} == {one.key for one in expected}
