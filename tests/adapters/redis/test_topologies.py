"""The store behind a Sentinel, in a Cluster, and over a socket file."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import NoneType

import pytest
import redis
from redis.crc import key_slot

from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import Priority
from task_manager_core.testing.conformance.factories import (
    HOUR,
    NOTHING,
    SECOND,
    TTL,
    WORKER,
    exclusive,
    key,
    run,
    task,
)
from task_manager_core.testing.conformance.store import Store
from task_manager_redis import RedisSettings, SentinelSettings
from tests.adapters.redis.server_time import opened
from tests.redis_server import RedisServer, find_server, free_port
from tests.waiting import wait_until, wait_until_async

SLOTS = 16384
HIGHEST_PORT = 55_000  # the nodes of a cluster talk to each other 10,000 ports higher


async def work(store: Store) -> None:
    """Use scripts, the blocking reads, and notifications."""
    of, high = exclusive("low"), task("high", priority=Priority.HIGH)
    for one in (of, high):
        await store.define(one)
    waiting = asyncio.ensure_future(store.queue.claim(WORKER, 10, HOUR))
    await store.state()
    await store.enqueue(run(of))
    async with asyncio.timeout(10):
        [claim] = await waiting
    await store.enqueue(run(of, "held"), run(high))
    assert await store.extend_one(claim, TTL)
    assert await store.settle(claim)
    assert [one.run for one in await store.claim()] == [run(high), run(of, "held")]
    await store.notifier.wait(NOTHING)
    assert len((await store.history.snapshot()).tasks) == 2
    await store.catalogue.remove([of.key, high.key])


# -- Cluster ----------------------------------------------------------------------------------------------------------


def low_port() -> int:
    return next(port for port in iter(free_port, None) if port < HIGHEST_PORT)


@contextmanager
def cluster(first: int = SLOTS // 2) -> Iterator[list[RedisServer]]:
    """Two nodes that share the slots; the first node has `first` of them. Clients do not know a node without slots."""
    servers = [RedisServer("--cluster-enabled", "yes", port=low_port()) for _ in range(2)]
    with servers[0], servers[1], servers[0].client() as one, servers[1].client() as other:
        one.execute_command("CLUSTER", "ADDSLOTS", *range(first))
        if first < SLOTS:
            other.execute_command("CLUSTER", "ADDSLOTS", *range(first, SLOTS))
        one.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[1].port)
        for node in (one, other):
            wait_until(partial(_joined, node), "the cluster is up")
        yield servers


def _joined(node: redis.Redis) -> bool:
    state = str(node.execute_command("CLUSTER INFO"))  # type: ignore[no-untyped-call]  # redis-py's
    return "'cluster_state': 'ok'" in state and "'cluster_known_nodes': '2'" in state


async def test_a_cluster_keeps_every_application_on_one_node() -> None:
    with cluster() as servers:
        for prefix in ("a", "b", "c", "{d}"):
            async with opened(
                RedisSettings(host="127.0.0.1", port=servers[0].port, cluster=True, prefix=prefix)
            ) as store:
                await work(store)
        holding = []
        for server in servers:
            with server.client() as client:
                holding.append({name.split(b":")[0] for name in client.keys("*") if isinstance(name, bytes)})
        assert holding[0] | holding[1] == {b"{a}", b"{b}", b"{c}", b"{%7Bd%7D}"}
        assert not holding[0] & holding[1]
        assert all(holding)


async def test_a_node_of_a_cluster_dies_and_comes_back() -> None:
    with cluster() as servers:
        settings = RedisSettings(host="127.0.0.1", port=servers[0].port, cluster=True, prefix="a")
        async with opened(settings) as store:
            await work(store)
            for server in servers:
                server.kill()
            try:
                await store.now()
            except BackendUnavailable:
                pass
            else:
                raise AssertionError("a dead cluster has answered")
            for server in servers:
                server.start()

            async def answers() -> bool:
                await store.now()
                return True

            await wait_until_async(answers, "the cluster answers again", 20, ignore=BackendUnavailable)


@dataclass(frozen=True, slots=True)
class Move:
    """A slot on its way from one node to another, as `redis-cli --cluster reshard` moves it."""

    slot: int
    source: redis.Redis
    target: redis.Redis
    port: int

    def begin(self) -> None:
        _ask(self.target, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", _name(self.source))
        _ask(self.source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", _name(self.target))

    def move(self, *keys: str | bytes) -> None:
        _ask(self.source, "MIGRATE", "127.0.0.1", self.port, "", 0, 5000, "KEYS", *keys)

    def end(self) -> None:
        for node in (self.target, self.source):
            _ask(node, "CLUSTER", "SETSLOT", self.slot, "NODE", _name(self.target))


def _ask(node: redis.Redis, *command: str | bytes | int) -> object:
    answer: object = node.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's
    return answer


def _name(node: redis.Redis) -> str:
    answer = _ask(node, "CLUSTER", "MYID")
    assert isinstance(answer, bytes)
    return answer.decode()


@pytest.mark.parametrize("known", [True, False], ids=["to a node in use", "to a new node"])
async def test_a_slot_that_moves_to_another_node_is_a_pause(known: bool) -> None:
    """Neither node treats the prefix as an empty store. A command with one key finds that key."""
    first = 15_000 if known else SLOTS
    with cluster(first) as servers, servers[0].client() as source, servers[1].client() as target:
        settings = RedisSettings(host="127.0.0.1", port=servers[0].port, cluster=True, prefix="moving")
        move = Move(key_slot(b"{moving}"), source, target, servers[1].port)
        assert move.slot < first
        async with opened(settings) as store:
            of, term = task(), await store.lead()
            await store.define(of)
            assert await store.settle(await store.claim_new(run(of, "1")))
            claim = await store.claim_new(run(of, "2"))
            before, keys = await store.state(), set(source.keys())
            await store.notifier.wait(NOTHING)  # earlier notifications
            waiting = [
                asyncio.ensure_future(store.queue.claim(NodeId("waits"), 10, HOUR)),
                asyncio.ensure_future(store.notifier.wait(HOUR)),
            ]
            await wait_until_async(lambda: source.info("clients")["blocked_clients"] == 2, "both wait")

            async def nothing_answers() -> None:
                answers = await asyncio.gather(
                    store.leadership.campaign(WORKER, TTL),
                    store.catalogue.load(0),
                    store.enqueue(run(of, "3")),
                    store.claim(),
                    store.settle(claim),
                    return_exceptions=True,
                )
                assert [type(answer) for answer in answers] == [BackendUnavailable] * 5
                with suppress(BackendUnavailable):
                    assert await store.records(of.key) == before.records[of.key]
                assert {*source.keys(), *target.keys()} == keys
                assert len(source.keys()) + len(target.keys()) == len(keys)

            move.begin()
            await nothing_answers()
            move.move("{moving}:term")
            await nothing_answers()
            move.move(*keys)
            await nothing_answers()
            move.end()

            async def moved() -> bool:
                return await store.leadership.renew(term, TTL)

            await wait_until_async(moved, "the slot has moved", 10, ignore=BackendUnavailable)
            assert await store.state() == before
            assert await store.settle(claim)
            await store.enqueue(run(of, "3"))
            await store.define(task("notifies"))
            async with asyncio.timeout(10):
                answers = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(answer) for answer in answers} <= {tuple, NoneType, BackendUnavailable}
            claims = await store.queue.claim(NodeId("waits"), 10, NOTHING, known=())
            assert [one.run for one in claims] == [run(of, "3")]
            assert source.keys() == []


# -- Sentinel ---------------------------------------------------------------------------------------------------------


@contextmanager
def sentinel(primary: RedisServer, folder: Path) -> Iterator[int]:
    """One sentinel that decides alone."""
    port = free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 2000\n"
    )
    process = subprocess.Popen(
        [str(find_server()), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with redis.Redis(port=port, decode_responses=True) as client:

            def knows_the_replica() -> bool:
                answer = client.execute_command("SENTINEL", "REPLICAS", "main")
                return "'ok'" in str(answer)  # its link to the primary

            wait_until(knows_the_replica, "the sentinel knows the replica", 20, ignore=redis.RedisError)
        yield port
    finally:
        process.kill()
        process.wait()


async def test_a_failover_is_a_pause(tmp_path: Path) -> None:
    with RedisServer() as primary, RedisServer("--replicaof", "127.0.0.1", str(primary.port)) as replica:
        with replica.client() as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica follows")
        with sentinel(primary, tmp_path) as port:
            where = SentinelSettings(hosts=(("127.0.0.1", port),), service="main")
            async with opened(RedisSettings(sentinel=where, timeout=SECOND)) as store:
                await work(store)
                await store.define(task())
                await store.enqueue(run(task(), "1"), run(task(), "2"))
                [claim] = await store.claim(limit=1)
                with primary.client() as client:
                    client.execute_command("WAIT", 1, 1000)
                waiting = asyncio.ensure_future(store.notifier.wait(HOUR))
                await store.now()
                await asyncio.to_thread(primary.kill)

                async def answers() -> bool:
                    return bool(await store.extend_one(claim, HOUR))

                await wait_until_async(answers, "the replica leads", 30, ignore=BackendUnavailable)
                with suppress(BackendUnavailable):
                    await waiting
                assert await store.settle(claim)
                [other] = await store.claim()
                assert other.token > claim.token
                assert await store.settle(other)
                assert await store.live(key()) == ()


# -- other ways to one server -----------------------------------------------------------------------------------------


async def test_a_socket_file(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    with RedisServer("--unixsocket", str(socket)):
        async with opened(RedisSettings(url=f"unix://{socket}")) as store:
            await work(store)
        async with opened(RedisSettings(url=f"unix://{socket}?db=3")) as store:
            await work(store)
