"""A server that loses data, dies, freezes or refuses commands."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis import Redis

from task_manager_core.domain.errors import BackendCorrupt, BackendMisconfigured, BackendUnavailable
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import Retried
from task_manager_core.ports import Enqueued
from task_manager_core.testing.clock import ManualClock
from task_manager_core.testing.conformance.factories import HOUR, SECOND, TTL, WORKER, key, run, task
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from task_manager_redis import RedisSettings, SentinelSettings, redis_backend
from task_manager_redis.client import LATE
from tests.adapters.redis.server_time import QUICK, every_verb, nowhere, opened
from tests.adapters.redis.shifted_time import PREFIX, open_shifted
from tests.redis_server import RedisServer
from tests.waiting import wait_until_async

SECRET = "hunter2"


# -- a server that loses data -----------------------------------------------------------------------------------------


async def test_forgotten_scripts_are_taught_again(own_redis_server: RedisServer, store: Store) -> None:
    await store.define(task())
    claim = await store.claim_new(run(task()))
    with own_redis_server.client() as client:
        for verb in (
            lambda: store.settle(claim),
            lambda: store.enqueue(run(task(), "2")),
            store.claim,
            store.state,
        ):
            client.script_flush()
            assert await verb()


async def test_a_wiped_store_is_an_empty_store(own_redis_server: RedisServer, store: Store) -> None:
    await store.define(task())
    claim = await store.claim_new(run(task()))
    term = await store.lead()
    for _ in range(2):
        with own_redis_server.client() as client:
            client.flushall()
        assert not await store.settle(claim)
        assert not await store.extend_one(claim, TTL)
        assert not await store.release(claim)
        assert not await store.leadership.renew(term, TTL)
        assert await store.claim() == ()
        assert await store.enqueue(run(task())) == (Enqueued.UNKNOWN_TASK,)
    changes = await store.catalogue.load(1_000)
    assert changes is not None
    assert (changes.version, changes.keys) == (0, frozenset())


async def test_a_worker_that_waits_outlives_a_wipe(own_redis_server: RedisServer, store: Store) -> None:
    await store.define(task())
    waiting = asyncio.ensure_future(store.queue.claim(WORKER, 10, HOUR))
    with own_redis_server.client() as client:
        await wait_until_async(lambda: client.info("clients")["blocked_clients"], "the worker waits")
        client.flushall()
        await store.define(task())
        await store.enqueue(run(task()))
    async with asyncio.timeout(10):
        [claim] = await waiting
    assert claim.run == run(task())


# -- a failover that loses acknowledged writes -------------------------------------------------------------------------


def held_by(client: Redis) -> list[tuple[str, bytes]]:
    """The keys that a replica has received so far."""
    names = [name if isinstance(name, str) else name.decode() for name in client.keys("*")]
    return [(name, client.dump(name) or b"") for name in names]


def fall_back(client: Redis, held: list[tuple[str, bytes]]) -> None:
    """Restore the keys, as if the replica were the primary now."""
    client.flushdb()
    for name, value in held:
        client.restore(name, 0, value)


@pytest.mark.parametrize("queued", ["new", "retried", "reaped"])
async def test_the_token_of_a_claim_that_a_failover_lost_is_not_given_again(
    own_redis_server: RedisServer, store: Store, queued: str
) -> None:
    """The run is claimed again, with a greater token: a resource that checks it refuses the first worker."""
    term = await store.lead()
    await store.define(task())
    await store.enqueue(run(task()))
    if queued == "retried":
        await store.settle((await store.claim())[0], Retried(SECOND))
        await store.advance(SECOND)
    elif queued == "reaped":
        await store.claim()
        await store.advance(TTL)
        assert len(await store.reap(term, TTL)) == 1
    with own_redis_server.client() as client:
        before = held_by(client)
        [lost] = await store.claim()
        fall_back(client, before)
    [claim] = await store.claim(NodeId("other"))
    assert (claim.run, claim.attempt) == (lost.run, lost.attempt)
    assert claim.token > lost.token
    assert not await store.settle(lost)
    assert not await store.extend_one(lost, TTL)
    assert await store.settle(claim)


async def test_tokens_increase_although_the_last_one_was_deleted(own_redis_server: RedisServer, store: Store) -> None:
    await store.define(task())
    claim = await store.claim_new(run(task()))
    assert await store.release(claim)
    with own_redis_server.client() as client:
        client.delete(f"{{{PREFIX}}}:token")
    [again] = await store.claim()
    assert again.token > claim.token


# -- a server that goes and comes back --------------------------------------------------------------------------------


async def test_opening_the_store_needs_no_server() -> None:
    settings = RedisSettings(host="127.0.0.1", port=1, password=SECRET)
    async with redis_backend(settings)(clock=ManualClock(), retention=Retention()) as backend:
        store = Store(Harness(backend=backend, advance=nowhere))
        for verb in await every_verb(store):
            with pytest.raises(BackendUnavailable) as caught:
                await verb()
            assert SECRET not in str(caught.value)
            assert "127.0.0.1:1" in str(caught.value)


async def test_sentinels_that_are_away_are_named_at_once() -> None:
    hosts = (("127.0.0.1", 1), ("127.0.0.1", 2))
    sentinel = SentinelSettings(hosts=hosts, service="main", username="me", password=SECRET)
    began = time.monotonic()
    async with opened(RedisSettings(sentinel=sentinel, password=SECRET)) as store:
        for verb in await every_verb(store):
            with pytest.raises(BackendUnavailable) as caught:
                await verb()
            assert caught.value.reason == (
                "service 'main' of the sentinels 127.0.0.1:1, 127.0.0.1:2: none of them names a primary"
            )
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_the_next_call_after_a_restart_succeeds(how: str) -> None:
    with RedisServer(appendonly=True) as server:
        async with open_shifted(server.url) as shifted:
            store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
            await store.define(task())
            first = await store.claim_new(run(task()))
            for verb in await every_verb(store):
                await verb()
            (server.stop if how == "stop" else server.kill)()
            with pytest.raises(BackendUnavailable):
                await store.claim()
            server.start()
            assert (await store.view(key())).live != ()
            assert await store.settle(first)
            for verb in await every_verb(store):
                await verb()


async def test_an_unnoticed_restart_fails_no_verb(own_redis_server: RedisServer, store: Store) -> None:
    """The open connections are dead and the server is back. The client replaces them before it sends a command."""
    for _ in range(3):
        await asyncio.gather(*(verb() for verb in await every_verb(store)))
        await asyncio.to_thread(own_redis_server.restart)
        for verb in await every_verb(store):
            await verb()


async def test_a_waiting_reader_learns_that_the_server_died(own_redis_server: RedisServer, store: Store) -> None:
    waiting = [
        asyncio.ensure_future(store.queue.claim(WORKER, 10, HOUR)),
        asyncio.ensure_future(store.notifier.wait(HOUR)),
    ]
    with own_redis_server.client() as client:
        await wait_until_async(lambda: client.info("clients")["blocked_clients"] == 2, "both wait")
    own_redis_server.kill()
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [BackendUnavailable] * 2


async def test_a_frozen_server_is_unavailable_soon(own_redis_server: RedisServer) -> None:
    async with opened(RedisSettings(url=own_redis_server.url, timeout=QUICK, connect_timeout=QUICK)) as store:
        verbs = await every_verb(store)
        for verb in verbs:
            await verb()
        own_redis_server.pause()
        began = time.monotonic()
        answers = await asyncio.gather(*(verb() for verb in verbs * 20), return_exceptions=True)
        assert {type(answer) for answer in answers} == {BackendUnavailable}
        assert time.monotonic() - began < 5
        own_redis_server.resume()
        for verb in verbs:
            await verb()


async def test_waiting_readers_do_not_block_commands(store: Store) -> None:
    waiting: list[asyncio.Task[object]] = []
    for number in range(100):
        waiting.append(asyncio.create_task(store.queue.claim(NodeId(f"{number}"), 10, HOUR)))
        waiting.append(asyncio.create_task(store.notifier.wait(HOUR)))
    for _ in range(10):
        await asyncio.gather(*(store.now() for _ in range(20)))  # each call has the timeout of one request
    for waiter in waiting:
        waiter.cancel()
    await asyncio.wait(waiting)
    await store.define(task())
    await store.claim_new(run(task()))


async def test_a_cancelled_call_leaves_no_answer_for_the_next_one(store: Store) -> None:
    await store.define(task())
    for number in range(50):
        calls = [asyncio.ensure_future(store.now()), asyncio.ensure_future(store.queue.claim(WORKER, 1, SECOND))]
        await asyncio.sleep(number / 20_000)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert await store.enqueue(run(task(), f"{number}")) == (Enqueued.QUEUED,)
        claims = await store.queue.claim(WORKER, 10, SECOND, known=())
        assert [claim.run for claim in claims] in ([run(task(), f"{number}")], [])
        for claim in claims:
            assert await store.settle(claim)


@pytest.mark.parametrize("number", [0, 6, 13], ids=["campaign", "claim and wait", "signal"])
async def test_a_cancelled_verb_ends(own_redis_server: RedisServer, number: int) -> None:
    """At every step: while it connects, sends a script, claims, or blocks."""
    for steps in [*range(60)] * 3:
        async with open_shifted(own_redis_server.url) as shifted:
            store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
            call = asyncio.ensure_future((await every_verb(store, HOUR))[number]())
            for _ in range(steps):
                await asyncio.sleep(0)
            if steps % 3 == 0:
                with own_redis_server.client() as client:
                    client.script_flush()
            ended = call.done()
            call.cancel()
            _, left = await asyncio.wait([call], timeout=10)
            assert not left, f"still waiting when cancelled at step {steps}"
            assert ended or call.cancelled()


async def test_a_connection_that_is_lost_during_a_write_is_an_unavailable_store(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some versions of Python call None in this case (client.py). The same error from other code stays an error."""
    name = {"__name__": "asyncio.selector_events"}
    exec("write_ready = None\ndef writelines(writer, data):\n    write_ready()", name)
    async with opened(RedisSettings(url=redis_url, prefix="lost")) as store:
        await store.define(task())
        for verb in await every_verb(store):
            with monkeypatch.context() as lost:
                lost.setattr(asyncio.StreamWriter, "writelines", name["writelines"])
                with pytest.raises(BackendUnavailable):
                    await verb()
                lost.setattr(asyncio.StreamWriter, "writelines", None)
                with pytest.raises((TypeError, BackendCorrupt)):
                    await verb()
        assert (await store.claim_new(run(task()))).run == run(task())


# -- a server that refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, "wrong-" + SECRET])
async def test_a_wrong_password_is_a_wrong_set_up(given: str | None) -> None:
    with RedisServer(password=SECRET) as server:
        settings = RedisSettings(host="127.0.0.1", port=server.port, password=given)
        async with opened(settings) as store:
            for verb in await every_verb(store):
                with pytest.raises(BackendMisconfigured) as caught:
                    await verb()
                assert SECRET not in str(caught.value)
                assert "login" in str(caught.value)


async def test_the_right_password_is_accepted_in_either_place(own_redis_server: RedisServer) -> None:
    with own_redis_server.client() as client:
        client.config_set("requirepass", "p@ss/w#rd")
    port = own_redis_server.port
    for settings in (
        RedisSettings(host="127.0.0.1", port=port, password="p@ss/w#rd"),
        RedisSettings(url=f"redis://127.0.0.1:{port}/0", password="p@ss/w#rd"),
        RedisSettings(url=f"redis://:p%40ss%2Fw%23rd@127.0.0.1:{port}/0", password="another"),
    ):
        async with opened(settings) as store:
            for verb in await every_verb(store):
                await verb()


async def test_an_account_without_permission_is_a_wrong_set_up(own_redis_server: RedisServer) -> None:
    with own_redis_server.client() as client:
        client.acl_setuser("other", enabled=True, passwords=[f"+{SECRET}"], keys=["{other}*"], commands=["+@all"])
        client.acl_setuser("mute", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+ping"])
    for account in ("other", "mute"):
        settings = RedisSettings(host="127.0.0.1", port=own_redis_server.port, username=account, password=SECRET)
        async with opened(settings) as store:
            with pytest.raises(BackendMisconfigured) as caught:
                await store.leadership.campaign(WORKER, TTL)
            assert SECRET not in str(caught.value)
            assert "NOPERM" in str(caught.value)


async def test_an_account_that_may_not_write_is_a_misconfiguration(own_redis_server: RedisServer, store: Store) -> None:
    await store.define(task())
    with own_redis_server.client() as client:
        client.acl_setuser("default", commands=["-xadd"], reset_keys=False)
        try:
            with pytest.raises(BackendMisconfigured):
                await store.enqueue(run(task()))
        finally:
            client.acl_setuser("default", commands=["+xadd"], reset_keys=False)


async def test_an_account_needs_no_more_than_these_permissions(own_redis_server: RedisServer) -> None:
    with own_redis_server.client() as client:
        client.acl_setuser(
            "narrow",
            enabled=True,
            passwords=[f"+{SECRET}"],
            keys=["{narrow}*"],
            commands=["-@all", "+@read", "+@write", "+@scripting", "+@connection", "+time"],
        )
    url = f"redis://narrow:{SECRET}@127.0.0.1:{own_redis_server.port}/0"
    async with open_shifted(url, prefix="narrow") as shifted:
        store = Store(Harness(backend=shifted.backend, advance=shifted.advance))
        term = await store.lead()
        await store.define(task())
        await store.claim_new(run(task()))
        await store.advance(TTL)
        assert len(await store.reap(term, TTL)) == 1
        for verb in await every_verb(store):
            await verb()


async def test_a_blocked_event_loop_is_not_blamed_on_the_server(redis_url: str) -> None:
    open_store = redis_backend(RedisSettings(url=redis_url, timeout=QUICK, connect_timeout=QUICK))
    async with open_store(clock=ManualClock(), retention=Retention()) as backend:
        await backend.dispatch.agenda(0)
        asked = asyncio.ensure_future(backend.dispatch.agenda(0))
        await asyncio.sleep(0)  # The request is sent, and its timeout runs.
        time.sleep(2 * QUICK.total_seconds() + LATE + 0.1)  # noqa: ASYNC251 - this is what the test is about
        with pytest.raises(BackendUnavailable, match="a function blocked the event loop of this process for 1"):
            await asked
