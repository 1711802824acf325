"""Topologies of Redis beyond one host and port, on real servers: an ACL user in a URL, a Sentinel, a Cluster."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.redis_server import RedisServer, find_server, free_port
from tests.waiting import wait_until

PASSWORD = "only-for-tests"
Settings = Mapping[str, object]


@contextmanager
def acl_user_in_a_url() -> Iterator[Settings]:
    """The default user may do nothing."""
    with RedisServer() as server, server.client() as client:
        client.acl_setuser("worker", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], commands=["+@all"])
        client.acl_setuser("worker", enabled=True, channels=["*"])
        client.acl_setuser("default", enabled=False)
        yield {"redis_host": f"redis://worker:{PASSWORD}@127.0.0.1:{server.port}/0"}


@contextmanager
def sentinel() -> Iterator[Settings]:
    """A Sentinel that watches one primary. Only the Sentinel knows the address of the primary."""
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="task-manager-sentinel-") as folder:
        port = free_port()
        file = Path(folder) / "sentinel.conf"
        file.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor shop 127.0.0.1 {server.port} 1\n")
        process = subprocess.Popen(
            [str(find_server()), str(file), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            with redis.Redis(port=port) as client:
                wait_until(client.ping, "the Sentinel answers", ignore=redis.RedisError)
            yield {
                "redis_host": "no-such-host.invalid",
                "redis_sentinels": f"127.0.0.1:{port}",
                "redis_sentinel_service": "shop",
            }
        finally:
            process.kill()
            process.wait()


@contextmanager
def cluster() -> Iterator[Settings]:
    """A cluster of one node: it refuses every command whose keys do not share a slot."""
    with RedisServer("--cluster-enabled", "yes") as server, server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
        wait_until(
            lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")),
            "all slots of the cluster are served",
        )
        yield {"redis_host": "127.0.0.1", "redis_port": server.port, "redis_cluster": True}
