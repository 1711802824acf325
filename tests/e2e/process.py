"""One uvicorn process that a test starts on a free port, asks over HTTP, kills, pauses, and whose log it reads."""

from __future__ import annotations

import atexit
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.e2e.apps.parts import PREFIX
from tests.waiting import NotReached, wait_until

ROOT = Path(__file__).parent.parent.parent

DEADLINE = 60.0
"""Seconds that a test waits for an event. This is far longer than the event needs, so that only a broken promise
fails."""

_STOP_TIMEOUT = 60.0
_SERVES = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
_LINE = re.compile(r"^(\d+\.\d+)\|(\w+)\|([\w.-]+)\|(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """The first line of a log record. `at` is the time of the wall clock, which all processes share."""

    at: float
    level: str
    logger: str
    message: str


class AppProcess:
    """A process. `close` kills it if it still runs."""

    def __init__(self, app: str, environment: Mapping[str, str], log: Path) -> None:
        self._app = app
        self._environment = dict(environment)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    def __str__(self) -> str:
        return f"{self._app} [{self._log.stem}]"

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def address(self) -> str:
        """Where the application answers, without the prefix of the management API."""
        found = _SERVES.search(self.text())
        assert found is not None, f"{self} does not serve"
        return found[1]

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process. `await_serving` waits until it serves."""
        atexit.register(self.close)
        # Port 0: the server finds a free port itself, so no other program can take it before.
        command = [sys.executable, "-m", "uvicorn", self._app, "--host", "127.0.0.1", "--port", "0"]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def await_serving(self) -> None:
        wait_until(self._serves_or_died, f"{self} serves", DEADLINE)
        assert self.alive, f"{self} ended at once:\n{self.text()[-4000:]}"

    def _serves_or_died(self) -> bool:
        found = _SERVES.search(self.text())
        if found is not None and self._client is None:
            self._client = httpx.Client(
                base_url=found[1] + PREFIX,
                verify=False,
                timeout=DEADLINE,
                trust_env=False,
                # A server waits for open connections before it ends, so no connection is kept.
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        return found is not None or not self.alive

    # -- asking -------------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        assert self._client is not None, f"{self} does not serve"
        return self._client.request(method, path, **more)

    @contextmanager
    def stream(self) -> Generator[Iterator[str]]:
        """A connection whose answer has no end. It is open until the end of the block."""
        assert self._client is not None, f"{self} does not serve"
        with self._client.stream("GET", "/stream") as response:
            yield response.iter_lines()

    def get(self, path: str, **query: str) -> Any:
        """Send a GET, and again while the answer is 503: on a busy machine the store may not answer in time."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            answers[:] = [self.request("GET", path, params=query)]
            return answers[0].status_code != 503

        with suppress(NotReached):
            wait_until(answered, f"{self} answers", DEADLINE)
        return _content(answers[0], f"GET {path} at {self}")

    def post(self, path: str, body: object = None, **query: str) -> Any:
        return self._answer("POST", path, params=query, json=body)

    def put(self, path: str, body: object) -> Any:
        return self._answer("PUT", path, json=body)

    def delete(self, path: str, **query: str) -> Any:
        return self._answer("DELETE", path, params=query)

    def _answer(self, method: str, path: str, **more: Any) -> Any:
        return _content(self.request(method, path, **more), f"{method} {path} at {self}")

    def health(self) -> dict[str, Any]:
        """The answer of /health, also if the process is unhealthy."""
        health: dict[str, Any] = self.request("GET", "/health").json()
        return health

    @property
    def leads(self) -> bool:
        return bool(self.health()["is_leader"])

    # -- reading ------------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The whole output of the process."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def lines(self, logger: str, pattern: str = "") -> list[LogLine]:
        """The log lines of one component whose messages match the pattern."""
        found: list[LogLine] = []
        for line in self.text().splitlines():
            match = _LINE.match(line)
            if match is not None and match[3] == f"fastapi.task-manager.{logger}" and re.search(pattern, match[4]):
                found.append(LogLine(at=float(match[1]), level=match[2], logger=match[3], message=match[4]))
        return found

    # -- ending -------------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Send SIGTERM, as a service manager does."""
        self._started().send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        process = self._started()
        process.kill()
        process.wait()

    def pause(self) -> None:
        """Send SIGSTOP: the connections stay open, and the process does nothing."""
        self._started().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._started().send_signal(signal.SIGCONT)

    def await_end(self) -> int:
        """Wait for the end. The answer is the exit status."""
        return self._started().wait(_STOP_TIMEOUT)

    def close(self) -> None:
        """Kill the process if it still runs. A second call does nothing."""
        atexit.unregister(self.close)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._client is not None:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self} was never launched"
        return self._process


def _content(response: httpx.Response, asked: str) -> Any:
    assert response.is_success, f"{asked}: {response.status_code} {response.text}"
    return response.json()
