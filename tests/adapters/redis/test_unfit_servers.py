"""A server that evicts keys, is full, is a replica, or holds keys of another program."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import pytest

from task_manager_core.domain.errors import BackendCorrupt, BackendError, BackendMisconfigured, BackendUnavailable
from task_manager_core.ports import Enqueued
from task_manager_core.testing.conformance.factories import TTL, WORKER, run, task
from task_manager_core.testing.conformance.store import Store
from task_manager_redis import RedisSettings
from task_manager_redis.scripts import script
from tests.adapters.redis.server_time import QUICK, contents, every_verb, opened
from tests.adapters.redis.shifted_time import PREFIX
from tests.redis_server import RedisServer


async def test_a_server_that_evicts_is_refused_until_it_does_not(own_redis_server: RedisServer) -> None:
    with own_redis_server.client() as client:
        client.config_set("maxmemory-policy", "volatile-lru")
        async with opened(RedisSettings(url=own_redis_server.url)) as store:
            for verb in await every_verb(store):
                with pytest.raises(BackendMisconfigured, match="noeviction"):
                    await verb()
            assert client.dbsize() == 0
            client.config_set("maxmemory-policy", "noeviction")
            for verb in await every_verb(store):
                await verb()


async def test_a_server_that_begins_to_evict_is_noticed(
    own_redis_server: RedisServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("task_manager_redis.client.INSPECTED_FOR", 0.0)
    verbs = await every_verb(store)
    with own_redis_server.client() as client:
        for verb in verbs:
            await verb()
        client.config_set("maxmemory-policy", "allkeys-lru")
        for verb in verbs:
            with pytest.raises(BackendMisconfigured, match="noeviction"):
                await verb()
        client.config_set("maxmemory-policy", "noeviction")
        for verb in verbs:
            await verb()


async def test_a_full_server_is_unavailable_and_changes_nothing(own_redis_server: RedisServer, store: Store) -> None:
    await store.define(task())
    claim = await store.claim_new(run(task(), "1"))
    with own_redis_server.client() as client:
        client.config_set("maxmemory", 1)
        before = contents(client)
        with pytest.raises(BackendUnavailable, match="OOM"):
            await store.enqueue(run(task(), "2"))
        with pytest.raises(BackendUnavailable, match="OOM"):
            await store.define(task("other"))
        assert contents(client) == before
        client.config_set("maxmemory", 0)
    assert await store.settle(claim)


async def test_a_replica_is_unavailable(own_redis_server: RedisServer, store: Store) -> None:
    await store.define(task())
    with own_redis_server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BackendUnavailable, match=r"READONLY|MASTERDOWN"):
            await store.enqueue(run(task()))
        client.execute_command("REPLICAOF", "NO", "ONE")
    assert await store.enqueue(run(task())) == (Enqueued.QUEUED,)


async def test_a_key_of_another_program_is_corrupt(own_redis_server: RedisServer, store: Store) -> None:
    with own_redis_server.client() as client:
        client.set(f"{{{PREFIX}}}:term", "something else")
        with pytest.raises(BackendCorrupt):
            await store.leadership.campaign(WORKER, TTL)
        client.delete(f"{{{PREFIX}}}:term")
    await store.lead()


@pytest.mark.parametrize("answer", ["+OK", ":7", "*-1", "*0", "*1\r\n:1", "*1\r\n*1\r\n+a", "*2\r\n*0\r\n*0"])
async def test_an_answer_of_another_shape_is_a_failure_of_the_store(answer: str) -> None:
    inspecting = script("inspect").sha.encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            reply = "+OK" if inspecting in data else answer
            writer.write(f"{reply}\r\n".encode() * len(re.findall(rb"\*\d+\r\n\$", data)))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    async with server, opened(RedisSettings(host="127.0.0.1", port=port, timeout=QUICK)) as store:
        for verb in await every_verb(store):
            with suppress(BackendError):
                await verb()


async def test_a_database_that_does_not_exist_is_a_wrong_set_up(own_redis_server: RedisServer) -> None:
    async with opened(RedisSettings(host="127.0.0.1", port=own_redis_server.port, db=99)) as store:
        with pytest.raises(BackendMisconfigured, match="DB index"):
            await store.now()
