"""The history is a list for each task: how it is read while it changes, and what other releases find beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
import redis

from task_manager_core.domain.identity import RunId
from task_manager_core.domain.run import Succeeded
from task_manager_core.testing.conformance.factories import HOUR, decision, key, run, runs, settlement, skipped, task
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.history import LINES_PER_PAGE
from tests.adapters.redis.shifted_time import PREFIX, ShiftedRedis, open_shifted

ATTEMPTS = f"{{{PREFIX}}}:attempts:group/task"
MANY = 2 * LINES_PER_PAGE + 100


@pytest_asyncio.fixture
async def shifted(redis_url: str) -> AsyncIterator[ShiftedRedis]:
    async with open_shifted(redis_url) as shifted:
        yield shifted


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    """Without the types of redis-py, which allow for every version of the protocol at once."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        yield server


@pytest_asyncio.fixture
async def written(store: Store, server: Any) -> list[RunId]:
    """A task with many lines. The runs of the lines, newest first."""
    await store.define(task())
    assert await store.settle(await store.claim_new(run(task(), "0")), Succeeded())
    line, name = server.lindex(ATTEMPTS, 0), run(task(), "0").id.value
    others = [run(task(), f"{number}").id for number in range(1, MANY)]
    server.lpush(ATTEMPTS, *(line.replace(name, one.value) for one in others))
    return [*reversed(others), RunId(name)]


async def read(store: Store, limit: int = 10 * MANY) -> list[RunId]:
    return [line.run for line in await store.history.read(key(), limit)]


def between_pages(shifted: ShiftedRedis, monkeypatch: pytest.MonkeyPatch, change: Callable[[int], object]) -> list[int]:
    """Change the store after each page; the argument is the number of the page. Returns the sizes of the pages."""
    sizes: list[int] = []
    lines = shifted.client.lines

    async def changed_after(name: str, first: int, limit: int) -> list[str]:
        page = await lines(name, first, limit)
        sizes.append(len(page))
        change(len(sizes))
        return page

    monkeypatch.setattr(shifted.client, "lines", changed_after)
    return sizes


async def test_a_long_history_is_read_in_pages(store: Store, server: Any, written: list[RunId]) -> None:
    """Each page is one request, and the process runs other tasks between two pages."""
    server.config_resetstat()
    assert await read(store, MANY + 1) == written
    assert server.info("commandstats")["cmdstat_lrange"]["calls"] == 3
    for limit in (0, 1, LINES_PER_PAGE, LINES_PER_PAGE + 1, MANY - 1):
        assert await read(store, limit) == written[:limit]


@pytest.mark.parametrize("added", [1, 99, LINES_PER_PAGE, LINES_PER_PAGE + 1, 3 * LINES_PER_PAGE])
@pytest.mark.parametrize("kept", [None, MANY], ids=["nothing is trimmed", "as many are trimmed"])
async def test_a_reading_misses_no_line_and_shows_none_twice_while_lines_are_added(
    shifted: ShiftedRedis,
    store: Store,
    server: Any,
    written: list[RunId],
    monkeypatch: pytest.MonkeyPatch,
    added: int,
    kept: int | None,
) -> None:
    """Lines that were trimmed before their page was asked for are gone, and they are the oldest."""
    line = server.lindex(ATTEMPTS, 0)

    def add(page: int) -> None:
        if page <= 2:
            server.lpush(ATTEMPTS, *(line.replace(written[0].value, f"added {number}") for number in range(added)))
            if kept is not None:
                server.ltrim(ATTEMPTS, 0, kept - 1)

    between_pages(shifted, monkeypatch, add)
    found = await read(store)
    assert found == written[: len(found)]
    assert len(found) >= (MANY if kept is None else max(LINES_PER_PAGE, MANY - 2 * added))


async def test_a_history_that_is_cleared_between_two_pages_ends_there(
    shifted: ShiftedRedis, store: Store, server: Any, written: list[RunId], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = server.lindex(ATTEMPTS, 5)

    def clear(page: int) -> None:
        if page == 1:
            server.delete(ATTEMPTS)
            server.lpush(ATTEMPTS, *[line] * MANY)

    sizes = between_pages(shifted, monkeypatch, clear)
    assert await read(store) == written[:LINES_PER_PAGE]
    assert sum(sizes) <= 2 * MANY


async def test_a_key_costs_little_more_than_its_lines(store: Store, server: Any) -> None:
    """A stream would take 4 kB for its first line: Redis reserves a node of that size."""
    term, at = await store.lead(), await store.slot(-HOUR)
    version = await store.define(task(), at)
    assert await store.commit_one(term, decision(task(), version, at, skips=[skipped(at)], then=at + HOUR))
    assert await store.settle(await store.claim_new(run(task())), Succeeded())
    for kind in ("attempts", "skipped"):
        name = f"{{{PREFIX}}}:{kind}:group/task"
        assert server.memory_usage(name, samples=0) < 300 + len(server.lindex(name, 0))


async def test_a_release_that_keeps_streams_and_this_one_do_not_hinder_each_other(
    shifted: ShiftedRedis, store: Store, server: Any
) -> None:
    """An older release keeps the lines in streams of other names. This release neither reads nor changes them; they
    expire."""
    streams = {f"{{{PREFIX}}}:{kind}:group/task" for kind in ("history", "skips")}
    for stream in streams:
        server.xadd(stream, {"line": "a line of the older release"})
    term, at = await store.lead(), await store.slot(-HOUR)
    version = await store.define(task(), at)
    assert await store.commit_one(term, decision(task(), version, at, skips=[skipped(at)], then=at + HOUR))
    await store.enqueue(*runs(task(), 3))
    assert not await store.queue.settle([settlement(claim, Succeeded()) for claim in await store.claim()])
    assert len(await read(store)) == 3
    assert len(await store.history.skips(key(), 10)) == 1
    assert await store.history.clear([key()]) == {key()}
    assert (await read(store), await store.history.skips(key(), 10)) == ([], ())
    assert await store.catalogue.remove([key()]) == {key()}
    assert {server.type(stream) for stream in streams} == {"stream"}
    assert shifted.backend.unreadable() == ()
