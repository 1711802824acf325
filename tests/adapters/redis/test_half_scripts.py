"""Redis does not roll back: if a script stops half-way, its earlier writes stay.

In these tests the account may not call one of the commands that write, so a script stops there. Then the account may
call it, and the test calls the same verb with the same arguments. It must have the same effect as an undisturbed call.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files

import pytest
import redis

from task_manager_core.domain.errors import BackendCorrupt, BackendError
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.memory import LastSuccess, Remembered
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import Retried
from task_manager_core.domain.scope import Scope
from task_manager_core.ports import Cancelling
from task_manager_core.testing.conformance.factories import (
    HOUR,
    MINUTE,
    NOTHING,
    STARTED,
    TTL,
    WORKER,
    decision,
    definition,
    exclusive,
    key,
    limited,
    presence,
    run,
    runs,
    settlement,
    skipped,
    task,
)
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from task_manager_redis.keys import encode_task
from tests.adapters.redis.shifted_time import PREFIX, open_shifted
from tests.redis_server import RedisServer

PAST = datetime(2020, 1, 1, tzinfo=UTC)
"""A slot that is the same in each run of the test."""

HISTORY = f"{{{PREFIX}}}:attempts:{encode_task(key())}"

Verb = Callable[[], Awaitable[object]]
Scene = Callable[[Store], Awaitable[Verb]]

_READING = frozenset(
    {"EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HVALS", "INFO", "SISMEMBER", "SMEMBERS"}
    | {"HRANDFIELD", "HSCAN", "SRANDMEMBER", "TIME", "XLEN", "XRANGE", "ZCARD", "ZRANGE", "ZRANGEBYSCORE", "ZSCORE"}
)
_SCRIPTS = [file.read_text() for file in (files("task_manager_redis") / "scripts").iterdir()]
WRITING = sorted({word for text in _SCRIPTS for word in re.findall(r"\.p?call\('([A-Z]+)'", text)} - _READING)


async def enqueue(store: Store) -> Verb:
    await store.define(task())
    return lambda: store.enqueue(run(task()))


async def hold(store: Store) -> Verb:
    await store.define(exclusive())
    await store.claim_new(run(exclusive(), "1"))
    return lambda: store.enqueue(run(exclusive(), "2"))


async def settle(store: Store) -> Verb:
    """The held run goes to another stream than the run that ends."""
    await store.define(exclusive())
    claim = await store.claim_new(run(exclusive(), "1"))
    urgent = replace(exclusive(), priority=Priority.HIGH)
    await store.enqueue(run(urgent, "2"), run(urgent, "3"))
    return lambda: store.settle(claim)


async def settle_one_of_two(store: Store) -> Verb:
    """Of a task with a limit: another run lives, and the held runs go to another stream."""
    await store.define(limited(2))
    claim = await store.claim_new(run(limited(2), "1"))
    await store.claim_new(run(limited(2), "2"))
    urgent = replace(limited(2), priority=Priority.HIGH)
    await store.enqueue(run(urgent, "3"), run(urgent, "4"))
    return lambda: store.settle(claim)


async def remember(store: Store) -> Verb:
    await store.define(exclusive())
    claim = await store.claim_new(run(exclusive(), "1"))
    await store.enqueue(run(exclusive(), "2"))
    remembered = Remembered(success=LastSuccess(slot=None, at=STARTED), cursor="1")
    return lambda: store.queue.settle([replace(settlement(claim), remembered=remembered)])


async def retry(store: Store) -> Verb:
    await store.define(task())
    claim = await store.claim_new(run(task()))
    return lambda: store.settle(claim, Retried(HOUR))


async def release(store: Store) -> Verb:
    await store.define(task())
    claim = await store.claim_new(run(task()))
    return lambda: store.release(claim, started=True)


async def pause_a_run(store: Store) -> Verb:
    await store.define(task())
    claim = await store.claim_new(run(task()))
    return lambda: store.release(claim, HOUR)


async def extend(store: Store) -> Verb:
    await store.define(task())
    claim = await store.claim_new(run(task()))
    return lambda: store.extend_one(claim, TTL)


async def reap(store: Store) -> Verb:
    term = await store.lead()
    await store.define(exclusive())
    claim = await store.claim_new(run(exclusive(), "1"))
    await store.enqueue(run(exclusive(), "2"))
    await store.queue.cancel([(key(), claim.run.id)])
    await store.define(task("other"))
    await store.claim_new(run(task("other")))
    await store.advance(TTL)
    return lambda: store.reap(term, TTL)


async def cancel(store: Store) -> Verb:
    """A waiting run, a queued run, a run that is held behind it, and a running one."""
    of = task()
    await store.define(of)
    await store.define(exclusive("exclusive"))
    assert await store.settle(await store.claim_new(run(of, "waits")), Retried(HOUR))
    running = await store.claim_new(run(of, "running"))
    held = runs(exclusive("exclusive"), 3)
    await store.enqueue(*held)
    unwanted = [(of.key, run(of, "waits").id), (of.key, running.run.id), *((one.task, one.id) for one in held[:2])]
    return lambda: store.queue.cancel(unwanted)


async def promote(store: Store) -> Verb:
    await store.define(task())
    claims = [await store.claim_new(one) for one in runs(task(), 2)]
    await store.settle(claims[0], Retried(HOUR))
    await store.release(claims[1], HOUR)
    return lambda: store.queue.promote([key()])


async def claim(store: Store) -> Verb:
    await store.define(task())
    await store.settle(await store.claim_new(run(task(), "1")), Retried(MINUTE))
    await store.enqueue(run(task(), "2"))
    await store.advance(MINUTE)
    return lambda: store.queue.claim(WORKER, 10, NOTHING, known=())


async def claim_in_a_scope(store: Store) -> Verb:
    """It moves one run to the lane of its task, and takes the last run of another queue."""
    for of in (task("excluded"), task("mail", queue="mail")):
        await store.define(of)
        await store.enqueue(run(of))
    scope = Scope(None, frozenset({task("excluded").key}))
    return lambda: store.queue.claim(WORKER, 10, NOTHING, known=(), scope=scope)


async def claim_of_set_aside(store: Store) -> Verb:
    await store.define(task())
    await store.enqueue(*(run(task(), name) for name in "12"))
    await store.claim(scope=Scope(None, frozenset({task().key})))
    return lambda: store.queue.claim(WORKER, 10, NOTHING, known=())


async def commit(store: Store) -> Verb:
    of, term = task(), await store.lead()
    version = await store.define(of, PAST)
    fires = [of.run_of_slot(slot, version) for slot in (PAST, PAST + MINUTE)]
    made = decision(of, version, PAST, dispatch=fires, skips=[skipped(PAST)], then=PAST + HOUR)
    return lambda: store.commit_one(term, made)


async def commit_and_hold(store: Store) -> Verb:
    of, term = exclusive(), await store.lead()
    version = await store.define(of, PAST)
    await store.claim_new(run(of))
    made = decision(of, version, PAST, hold=of.run_of_slot(PAST, version), then=PAST + HOUR)
    return lambda: store.commit_one(term, made)


async def put(store: Store) -> Verb:
    at = await store.slot(HOUR)
    return lambda: store.catalogue.put([definition(task(), slot=at)])


async def change(store: Store) -> Verb:
    at = await store.slot(HOUR)
    version = await store.define(task(), at)
    other = definition(task(description="new"), expected=version, slot=at + HOUR, skips=[skipped(at)])
    return lambda: store.catalogue.put([other])


async def retire(store: Store) -> Verb:
    term = await store.lead()
    await store.define(task(), await store.slot(-MINUTE))
    return lambda: store.catalogue.retire(term, [key()])


async def remove(store: Store) -> Verb:
    of = exclusive()
    await store.define(of)
    await store.settle(await store.claim_new(run(of, "1")), Retried(HOUR))
    await store.enqueue(run(of, "2"))
    await store.define(task("other"))
    await store.enqueue(*runs(task("other"), 3))
    return lambda: store.catalogue.remove([key(), key("other")])


async def remove_ended(store: Store) -> Verb:
    term = await store.lead()
    [version] = await store.catalogue.put([definition(task())])
    assert isinstance(version, int)
    await store.settle(await store.claim_new(run(task())))
    return lambda: store.catalogue.remove_ended(term, {key(): version})


async def delay(store: Store) -> Verb:
    await store.define(task())
    return lambda: store.queue.enqueue([run(task())], delay=HOUR)


async def pause(store: Store) -> Verb:
    await store.define(task())
    return lambda: store.dispatch.pause([key()])


async def resume(store: Store) -> Verb:
    await store.define(task())
    await store.dispatch.pause([key()])
    return lambda: store.dispatch.resume([key()])


async def clear(store: Store) -> Verb:
    await store.define(task())
    await store.settle(await store.claim_new(run(task())))
    return lambda: store.history.clear([key()])


async def campaign(store: Store) -> Verb:
    return lambda: store.leadership.campaign(WORKER, HOUR)


async def depose(store: Store) -> Verb:
    await store.define(task(), await store.slot(-MINUTE))
    await store.lead(ttl=HOUR)
    seen = await store.leadership.observe()
    return lambda: store.leadership.depose(WORKER, HOUR, seen)


async def announce(store: Store) -> Verb:
    return lambda: store.membership.announce(presence(WORKER.value), HOUR)


SCENES: tuple[Scene, ...] = (
    *(
        enqueue,
        hold,
        settle,
        settle_one_of_two,
        remember,
        retry,
        release,
        pause_a_run,
        extend,
        reap,
        cancel,
        promote,
        claim,
        claim_in_a_scope,
        claim_of_set_aside,
    ),
    *(
        commit,
        commit_and_hold,
        put,
        change,
        retire,
        remove,
        remove_ended,
        delay,
        pause,
        resume,
        clear,
        campaign,
        depose,
        announce,
    ),
)


async def outcome(store: Store) -> object:
    """The final state, without values that depend on time. Claims that were left over are reaped first."""
    term = (await store.term()) or await store.lead()
    before = await store.state()
    due = [one.key for one in (await store.dispatch.agenda(10)).due]
    await store.advance(2 * TTL)
    while await store.reap(term, TTL):
        pass
    claims = await store.claim(NodeId("last"))
    lost = await store.queue.settle([settlement(claim) for claim in claims])
    after = await store.state()
    return (
        [
            (view.key, view.next_slot is None, view.paused, view.resumed_at is None, view.retired, set(view.skipped))
            for view in before.tasks
        ],
        due,
        before.term is None or before.term.holder,
        before.nodes,
        {(claim.run.id, claim.attempt, claim.failures, claim.losses) for claim in claims if claim not in lost},
        [(view.key, [(live.run, live.state, live.attempt) for live in view.live]) for view in after.tasks],
        {of: {(line.run, line.status, line.attempt) for line in lines} for of, lines in after.records.items()},
        after.queued,
        await store.queue.promote([view.key for view in after.tasks]),
        {(claim.run.id, claim.attempt) for claim in await store.claim(NodeId("last"))},
    )


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_a_verb_that_was_stopped_half_way_can_be_asked_again(
    own_redis_server: RedisServer, server: redis.Redis, scene: Scene
) -> None:
    expected: object = None
    for forbidden in ("", *WRITING):
        async with open_shifted(own_redis_server.url, prefix=f"without {forbidden}") as shifted:
            store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
            verb = await scene(store)
            if forbidden:
                server.acl_setuser("default", enabled=True, commands=[f"-{forbidden.lower()}"])
                with suppress(BackendError):
                    await verb()
                server.acl_setuser("default", enabled=True, commands=[f"+{forbidden.lower()}"])
            await verb()
            found = await outcome(store)
            expected = found if expected is None else expected
            assert found == expected, f"after a script that could not call {forbidden}"


@pytest.mark.parametrize("forbidden", ["unlink", "srem", "zrem"])
async def test_a_removal_of_an_ended_task_that_stopped_half_way_leaves_no_name_behind(
    own_redis_server: RedisServer, server: redis.Redis, forbidden: str
) -> None:
    async with open_shifted(own_redis_server.url) as shifted:
        store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
        verb = await remove_ended(store)
        server.acl_setuser("default", enabled=True, commands=[f"-{forbidden}"])
        with suppress(BackendError):
            await verb()
        server.acl_setuser("default", enabled=True, commands=[f"+{forbidden}"])
        assert await verb() == frozenset({key()})
        changes = await store.catalogue.load(-1)
        assert changes is not None
        assert (changes.changed, changes.total) == ((), 0)


async def test_a_repair_that_stopped_half_way_can_be_asked_again(
    own_redis_server: RedisServer, server: redis.Redis
) -> None:
    expected: object = None
    for forbidden in ("", *WRITING):
        prefix = f"without {forbidden}"
        async with open_shifted(own_redis_server.url, prefix=prefix) as shifted:
            store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
            term = await store.lead()
            for name in ("gone", "waits", "claimed"):
                await store.define(exclusive(name))
            await store.settle(await store.claim_new(run(exclusive("waits"))), Retried(HOUR))
            await store.claim_new(run(exclusive("claimed")))
            await store.enqueue(*runs(exclusive("gone"), 2))
            server.delete(shifted.client.key("waiting"), shifted.client.key("claims"))
            server.xtrim(shifted.client.key("runs", "low"), maxlen=0)
            if forbidden:
                server.acl_setuser("default", enabled=True, commands=[f"-{forbidden.lower()}"])
                with suppress(BackendError):
                    await store.reap(term, TTL)
                server.acl_setuser("default", enabled=True, commands=[f"+{forbidden.lower()}"])
            await store.reap(term, TTL)
            await store.reap(term, TTL)
            found = await outcome(store)
            expected = found if expected is None else expected
            assert found == expected, f"after a script that could not call {forbidden}"


@pytest.mark.parametrize("verb", ["settle", "retry", "reap", "cancel"])
async def test_a_script_that_stops_half_way_writes_one_line_of_history(
    own_redis_server: RedisServer, server: redis.Redis, verb: str
) -> None:
    """The key of the history holds a value of another program, so the script stops there."""
    async with open_shifted(own_redis_server.url) as shifted:
        store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
        of, term = task(), await store.lead()
        await store.define(of)
        claim = await store.claim_new(run(of))
        if verb == "cancel":
            await store.release(claim, NOTHING)

        async def attempt() -> object:
            match verb:
                case "settle":
                    return await store.settle(claim)
                case "retry":
                    return await store.settle(claim, Retried(HOUR))
                case "reap":
                    await store.advance(TTL)
                    return await store.reap(term, TTL)
                case _:
                    return await store.queue.cancel([(of.key, claim.run.id)])

        server.set(HISTORY, "not ours")
        with pytest.raises(BackendCorrupt):
            await attempt()
        assert [live.run for live in await store.live(of.key)] == [claim.run.id]
        server.delete(HISTORY)
        assert await attempt() == {"reap": (claim,), "cancel": (Cancelling.CANCELLED,)}.get(verb, True)
        assert len(await store.records(of.key)) == 1
