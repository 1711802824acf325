"""One uvicorn process: started on a free port, asked over HTTP, killed, frozen and read at will."""

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

PATIENCE = 60.0
"""How long a test waits for what must come. Far beyond what it takes, so that only a broken promise fails."""

_STOP_TIMEOUT = 60.0
_SERVES = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
_LINE = re.compile(r"^(\d+\.\d+)\|(\w+)\|([\w.-]+)\|(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """The first line of a log record. `at` is the wall clock, the same for every process here."""

    at: float
    level: str
    logger: str
    message: str


class AppProcess:
    """Killed at the latest by `close`."""

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
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it; `await_serving` waits for it."""
        atexit.register(self.close)
        # Port 0: the server itself finds a free one, and nobody can take it in between.
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
        wait_until(self._serves_or_died, f"{self} serves", PATIENCE)
        assert self.alive, f"{self} ended at once:\n{self.text()[-4000:]}"

    def _serves_or_died(self) -> bool:
        found = _SERVES.search(self.text())
        if found is not None and self._client is None:
            self._client = httpx.Client(
                base_url=found[1] + PREFIX,
                verify=False,
                timeout=PATIENCE,
                trust_env=False,
                # A connection that is kept would be one that a server has to close before it can end.
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        return found is not None or not self.alive

    # -- asking -------------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        assert self._client is not None, f"{self} does not serve"
        return self._client.request(method, path, **more)

    @contextmanager
    def stream(self) -> Generator[Iterator[str]]:
        """A connection with an answer that goes on, until the end of the block."""
        assert self._client is not None, f"{self} does not serve"
        with self._client.stream("GET", "/stream") as response:
            yield response.iter_lines()

    def get(self, path: str, **query: str) -> Any:
        """Asks again while the answer is that the store did not answer in time: the machine may be busy."""
        answers: list[httpx.Response] = []

        def answered() -> bool:
            answers[:] = [self.request("GET", path, params=query)]
            return answers[0].status_code != 503

        with suppress(NotReached):
            wait_until(answered, f"{self} answers", PATIENCE)
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
        """The answer of /health, healthy or not."""
        health: dict[str, Any] = self.request("GET", "/health").json()
        return health

    @property
    def leads(self) -> bool:
        return bool(self.health()["is_leader"])

    # -- reading ------------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """Everything it wrote."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def lines(self, logger: str, pattern: str = "") -> list[LogLine]:
        """The lines of one component whose message matches."""
        found: list[LogLine] = []
        for line in self.text().splitlines():
            match = _LINE.match(line)
            if match is not None and match[3] == f"fastapi.task-manager.{logger}" and re.search(pattern, match[4]):
                found.append(LogLine(at=float(match[1]), level=match[2], logger=match[3], message=match[4]))
        return found

    # -- ending -------------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Ask it to end, as a service manager would."""
        self._started().send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Let it die without a word, and see it dead."""
        process = self._started()
        process.kill()
        process.wait()

    def pause(self) -> None:
        """Freeze it: its connections stay open and it does nothing."""
        self._started().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._started().send_signal(signal.SIGCONT)

    def await_end(self) -> int:
        """The exit status."""
        return self._started().wait(_STOP_TIMEOUT)

    def close(self) -> None:
        """Kill it if it lives. Harmless when repeated."""
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
