"""Values that this release cannot read, because a later release wrote them or because they are damaged. The store
passes over them, reports each once, and answers all other values."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
import redis

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.run import Exhausted, Retried, RunState
from task_manager_core.ports import codec, definition_text, presence_text, reader
from task_manager_core.testing.conformance.factories import (
    HOUR,
    NOTHING,
    TTL,
    WORKER,
    decision,
    exclusive,
    key,
    presence,
    run,
    runs,
    skipped,
    task,
)
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.keys import encode_run_id
from tests.adapters.redis.shifted_time import ShiftedRedis, open_shifted

OTHER = NodeId("other")
TASK = "{tests}:task:group/task"
LIVE = "{tests}:live:group/task"


@pytest_asyncio.fixture
async def shifted(redis_url: str) -> AsyncIterator[ShiftedRedis]:
    async with open_shifted(redis_url) as shifted:
        yield shifted


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    """With bytes, and without the types of redis-py, which allow for every version of the protocol at once."""
    with redis.Redis.from_url(redis_url) as server:
        yield server


@dataclass(frozen=True, slots=True)
class Spoil:
    """A change of a stored text, and whether this release can read the changed text."""

    name: str
    apply: Callable[[bytes], bytes]
    readable: bool = False


def _grown(text: bytes) -> bytes:
    value, later = json.loads(text), [{"a": 1}]
    if isinstance(value, list):  # A line of history.
        return json.dumps([*value, None, None, later]).encode()
    return json.dumps({**value, "later": later}).encode()


SPOILS = (
    Spoil("a later release added to it", _grown, readable=True),
    Spoil("a later release says it otherwise", lambda text: re.sub(rb'("v":|^\[)1', rb"\g<1>2", text)),
    Spoil("it is cut off", lambda text: text[: len(text) // 2]),
    Spoil("it is no text", lambda text: b"\xff\xfe" + text),
    Spoil("it is empty", lambda _: b""),
)
spoiled = pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.name)


def reported(shifted: ShiftedRedis) -> list[str]:
    """The values that were reported since the last call, without the reasons."""
    return [error.where for error in shifted.backend.unreadable()]


# -- presences ---------------------------------------------------------------------------------------------------------


@spoiled
async def test_a_presence_beside_ours(shifted: ShiftedRedis, store: Store, server: Any, spoil: Spoil) -> None:
    for name in ("ours", "theirs"):
        await store.membership.announce(presence(name, tasks=frozenset({key(name)})), HOUR)
    text = server.hget("{tests}:presences", "text theirs")
    assert isinstance(text, bytes)
    server.hset("{tests}:presences", mapping={"text theirs": spoil.apply(text), "digest theirs": "another"})
    for _ in range(2):
        snapshot = await store.history.snapshot(())
        assert [node.node.value for node in snapshot.nodes] == ["ours", *(["theirs"] if spoil.readable else [])]
        assert snapshot.unreadable == (frozenset() if spoil.readable else {NodeId("theirs")})
    assert reported(shifted) == ([] if spoil.readable else ["the presence of theirs"])
    await store.membership.depart(NodeId("theirs"))
    assert (await store.history.snapshot(())).unreadable == frozenset()


# -- definitions and their state --------------------------------------------------------------------------------------


@spoiled
async def test_a_definition_beside_ours(store: Store, server: Any, spoil: Spoil) -> None:
    for name in ("ours", "task"):
        await store.define(task(name))
    text = server.hget(TASK, "definition")
    assert isinstance(text, bytes)
    server.hset(TASK, "definition", spoil.apply(text))
    changes = await store.catalogue.load(0)
    assert changes is not None
    assert changes.keys == {key("ours"), key()}
    assert {one.definition.key for one in changes.changed} == {key("ours"), *({key()} if spoil.readable else ())}
    assert changes.unreadable == (frozenset() if spoil.readable else {key()})
    assert len((await store.history.snapshot()).tasks) == 2


async def test_a_reason_that_only_a_later_release_knows_is_not_counted(
    shifted: ShiftedRedis, store: Store, server: Any
) -> None:
    term, at = await store.lead(), await store.slot(-HOUR)
    version = await store.define(task(), at)
    assert await store.commit_one(term, decision(task(), version, at, skips=[skipped(at)], then=at + 2 * HOUR))
    server.hset(TASK, "skipped:weather", 7)
    for _ in range(2):
        assert (await store.view(key())).skipped == {SkipReason.CATCH_UP: 1}
    assert reported(shifted) == ["a count of the skips of group/task"]


# -- lines ------------------------------------------------------------------------------------------------------------


@spoiled
async def test_a_line_of_history_beside_ours(shifted: ShiftedRedis, store: Store, server: Any, spoil: Spoil) -> None:
    term, at = await store.lead(), await store.slot(-HOUR)
    version = await store.define(task(), at)
    for number in range(3):
        made = decision(task(), version, at, skips=[skipped(at)], then=at + timedelta(seconds=1))
        assert await store.commit_one(term, made)
        at += timedelta(seconds=1)
        await store.settle(await store.claim_new(run(task(), f"{number}")))
    for name in ("attempts", "skipped"):
        line = server.lindex(f"{{tests}}:{name}:group/task", 1)
        server.lset(f"{{tests}}:{name}:group/task", 1, spoil.apply(line))
    for _ in range(2):
        assert len(await store.records(key())) == (3 if spoil.readable else 2)
        assert len(await store.history.skips(key(), 10)) == (3 if spoil.readable else 2)
    assert reported(shifted) == (
        [] if spoil.readable else ["a line of the history of group/task", "a skip of group/task"]
    )


# -- runs -------------------------------------------------------------------------------------------------------------


@spoiled
@pytest.mark.parametrize("place", ["queued", "retry", "pause", "held", "claimed"])
async def test_a_run_beside_ours(shifted: ShiftedRedis, store: Store, server: Any, spoil: Spoil, place: str) -> None:
    """In every state: it is released with a delay and counts no failure. The same request claims the other runs."""
    of, others = exclusive() if place == "held" else task(), task("others")
    await store.define(of)
    await store.define(others)
    theirs = run(of, "theirs")
    if place == "held":
        first = await store.claim_new(run(of, "first"))
        await store.enqueue(theirs)
        priority, slot, body = server.hgetall("{tests}:held:group/task")[encode_run_id(theirs.id).encode()].split(
            b" ", 2
        )
        server.hset("{tests}:held:group/task", encode_run_id(theirs.id), b" ".join((priority, slot, spoil.apply(body))))
        await store.settle(first)
    else:
        await store.enqueue(theirs)
    known: list[object] | None = None
    if place in {"retry", "pause", "claimed"}:
        [claim] = await store.claim()
        if place == "retry":
            await store.settle(claim, Retried(HOUR))
        elif place == "pause":
            await store.release(claim, HOUR)
        name = "{tests}:claimed:worker" if place == "claimed" else f"{{tests}}:{place}:group/task"
        [(field, body)] = server.hgetall(name).items()
        server.hset(name, field, spoil.apply(body))
        known = [] if place == "claimed" else None
        await store.advance(HOUR if place != "claimed" else NOTHING)
    elif place == "queued":
        [(_, fields)] = server.xrange("{tests}:runs:low")
        server.delete("{tests}:runs:low")
        entry = server.xadd("{tests}:runs:low", {**fields, b"body": spoil.apply(fields[b"body"])})
        [(name, text)] = server.hgetall(LIVE).items()
        server.hset(LIVE, name, re.sub(rb"\d+-\d+", entry, text))
    before = (await store.live(key()))[0]
    await store.enqueue(*runs(others, 3))
    claims = await store.queue.claim(WORKER, 10, NOTHING, known=() if known is not None else None)
    assert {claim.run for claim in claims} == {*runs(others, 3), *([theirs] if spoil.readable else [])}
    if spoil.readable:
        assert reported(shifted) == []
        return
    assert reported(shifted) == [f"run {theirs.id} of group/task"]
    [live] = await store.live(key())
    assert (live.run, live.state, live.retrying) == (theirs.id, RunState.WAITING, False)
    assert (live.attempt, live.failures, live.losses) == (before.attempt, before.failures, before.losses)
    await store.advance(timedelta(seconds=10))
    assert await store.claim() == ()
    assert reported(shifted) == []
    await store.queue.cancel([(key(), theirs.id)])
    assert await store.live(key()) == ()


async def test_a_run_that_cannot_be_read_keeps_no_other_from_being_reaped(
    shifted: ShiftedRedis, store: Store, server: Any
) -> None:
    term = await store.lead()
    await store.define(task())
    await store.enqueue(*runs(task(), 3))
    claims = await store.claim()
    name = next(
        name for name in server.hkeys("{tests}:claimed:worker") if encode_run_id(claims[1].run.id).encode() in name
    )
    server.hset("{tests}:claimed:worker", name, "junk")
    await store.advance(TTL)
    assert set(await store.reap(term, TTL)) == {claims[0], claims[2]}
    assert reported(shifted) == [f"run {claims[1].run.id} of group/task"]
    assert {live.losses for live in await store.live(key())} == {1}


# -- both ways --------------------------------------------------------------------------------------------------------


@contextmanager
def a_later_release(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """A codec that writes the next format and reads both."""
    with monkeypatch.context() as patch:
        later = codec.VERSION + 1
        for module in (codec, definition_text, presence_text, reader):
            patch.setattr(module, "VERSION", later)
        yield
    codec.forget_decoded()


async def everything(store: Store, worker: NodeId, name: str) -> None:
    """A value of each format: a presence, a definition, a retry, a held run, lines and skips."""
    of, term, at = exclusive(name), await store.lead(worker), await store.slot(-HOUR)
    version = await store.define(of, at)
    assert await store.commit_one(term, decision(of, version, at, skips=[skipped(at)], then=at + 2 * HOUR))
    await store.membership.announce(replace(presence(worker.value), tasks=frozenset({of.key})), HOUR)
    assert await store.settle(await store.claim_new(run(of, "ends"), worker), Exhausted())
    assert await store.settle(await store.claim_new(run(of, "fails"), worker), Retried(HOUR))
    await store.enqueue(run(of, "held"))
    assert await store.leadership.resign(term)


async def test_two_releases_beside_each_other(
    redis_url: str, shifted: ShiftedRedis, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later release reads all values, the earlier one its own. Each leads while the other one runs."""
    await everything(store, WORKER, "ours")
    async with open_shifted(redis_url) as later:
        theirs = Store(Harness(backend=later.backend, advance=later.advance))
        with a_later_release(monkeypatch):
            await everything(theirs, OTHER, "theirs")
            snapshot = await theirs.history.snapshot()
            assert ([node.node for node in snapshot.nodes], snapshot.unreadable) == ([OTHER, WORKER], frozenset())
            changes = await theirs.catalogue.load(0)
            assert changes is not None
            assert len(changes.changed) == 2
            for name in ("ours", "theirs"):
                assert len(await theirs.records(key(name))) == 2
                assert len(await theirs.history.skips(key(name), 10)) == 1
            assert reported(later) == []
    snapshot = await store.history.snapshot()
    assert ([node.node for node in snapshot.nodes], snapshot.unreadable) == ([WORKER], frozenset({OTHER}))
    assert [view.key for view in snapshot.tasks] == [key("ours"), key("theirs")]
    assert [[live.state for live in view.live] for view in snapshot.tasks] == 2 * [[RunState.WAITING, RunState.HELD]]
    changes = await store.catalogue.load(0)
    assert changes is not None
    assert [one.definition.key for one in changes.changed] == [key("ours")]
    assert changes.unreadable == {key("theirs")}
    assert [len(await store.records(key(name))) for name in ("ours", "theirs")] == [2, 0]
    assert [len(await store.history.skips(key(name), 10)) for name in ("ours", "theirs")] == [1, 0]
    term = await store.lead()
    await store.advance(HOUR)
    [claim] = await store.claim()
    assert claim.run == run(exclusive("ours"), "fails")
    await store.advance(TTL)
    assert await store.reap(term, TTL) == (claim,)
    assert {due.key for due in (await store.dispatch.agenda(10)).due} == {key("ours"), key("theirs")}
    assert reported(shifted) == [
        "the presence of other",
        "a line of the history of group/theirs",
        "a skip of group/theirs",
        f"run {run(exclusive('theirs'), 'fails').id} of group/theirs",
    ]
