"""The Redis of the benchmarks: its statistics, its contents, and copies of its contents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import redis

from tests.redis_server import RedisServer, free_port
from tests.waiting import wait_until

_CHUNK = 500
_SLOTS = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The statistics of servers since their start. Commands include those inside scripts, but not our own INFO."""

    commands: int
    cpu: float

    def __sub__(self, before: Self) -> Work:
        return Work(commands=self.commands - before.commands, cpu=self.cpu - before.cpu)


def work_of(servers: Sequence[RedisServer]) -> Work:
    commands, cpu = 0, 0.0
    for server in servers:
        with server.client() as client:
            stats: dict[str, Any] = client.info("commandstats")
            used: dict[str, Any] = client.info("cpu")
        commands += sum(
            int(stat["calls"]) for name, stat in stats.items() if name not in {"cmdstat_info", "cmdstat_client|setinfo"}
        )
        cpu += float(used["used_cpu_user"]) + float(used["used_cpu_sys"])
    return Work(commands=commands, cpu=cpu)


def memory_of(server: RedisServer) -> int:
    """Bytes beyond what an empty server needs."""
    with server.client() as client:
        info: dict[str, Any] = client.info("memory")
    return int(info["used_memory"]) - int(info["used_memory_startup"])


class Copy:
    """A copy of the contents of a server. It is restored before each repetition of a workload."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._values: list[tuple[bytes, int, bytes]] = []
        with server.client() as client:
            keys = list(client.scan_iter(count=_CHUNK))
            for first in range(0, len(keys), _CHUNK):
                some = keys[first : first + _CHUNK]
                pipe = client.pipeline(transaction=False)
                for key in some:
                    pipe.pttl(key)
                    pipe.dump(key)
                answers = pipe.execute()
                self._values += [
                    (key, max(int(left), 0), value)
                    for key, left, value in zip(some, answers[::2], answers[1::2], strict=True)
                    if value is not None
                ]

    def restore(self) -> None:
        """Empty the server and put the copy into it."""
        with self._server.client() as client:
            client.flushall()
            for first in range(0, len(self._values), _CHUNK):
                pipe = client.pipeline(transaction=False)
                for key, left, value in self._values[first : first + _CHUNK]:
                    pipe.restore(key, left, value)
                pipe.execute()


def flush(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


def version_of(server: RedisServer) -> str:
    with server.client() as client:
        info: dict[str, Any] = client.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version') or info['redis_version']}"


@contextmanager
def cluster(nodes: int) -> Iterator[list[RedisServer]]:
    """Nodes that share the hash slots in equal parts. They talk to each other 10,000 ports higher."""
    with ExitStack() as stack:
        servers = [stack.enter_context(RedisServer("--cluster-enabled", "yes", port=_low_port())) for _ in range(nodes)]
        clients = [stack.enter_context(server.client()) for server in servers]
        for number, client in enumerate(clients):
            slots = range(number * _SLOTS // nodes, (number + 1) * _SLOTS // nodes)
            client.execute_command("CLUSTER", "ADDSLOTS", *slots)
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", servers[number].port)
        for client in clients:
            wait_until(partial(_joined, client, nodes), "the cluster is up", 30.0)
        yield servers


def _low_port() -> int:
    return next(port for port in iter(free_port, None) if port < 55_000)


def _joined(node: redis.Redis, nodes: int) -> bool:
    state = str(node.execute_command("CLUSTER INFO"))  # type: ignore[no-untyped-call]  # redis-py's
    return "'cluster_state': 'ok'" in state and f"'cluster_known_nodes': '{nodes}'" in state
