"""Several processes of one application on one store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from tests.e2e.apps.parts import FOLDER_VARIABLE, GROUPS_VARIABLE, TASKS_VARIABLE
from tests.e2e.effects import EffectLog
from tests.e2e.process import DEADLINE, AppProcess
from tests.waiting import wait_until

WORK = "tests.e2e.apps.work:app"
IDLE = "tests.e2e.apps.idle:app"

# Variables that this class sets itself: the environment of the tests must not change them.
_OWN_VARIABLES = ("TASK_MANAGER_", FOLDER_VARIABLE, GROUPS_VARIABLE, TASKS_VARIABLE)


class Cluster:
    """Processes with a common folder for effects, gates and logs. Each cluster has its own key prefix, so that
    clusters can share a server.

    `settings` are fields of Config, `variables` any other environment variables.
    """

    def __init__(
        self,
        redis_url: str,
        settings: Mapping[str, object] | None = None,
        *,
        app: str = WORK,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="task-manager-e2e-")))
        self.effects = EffectLog(self.folder / "effects.jsonl")
        self.prefix = f"e2e-{uuid4().hex[:8]}"
        self._app = app
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
        self._environment |= {FOLDER_VARIABLE: str(self.folder), **(variables or {})}
        fields = {"redis_host": redis_url, "redis_key_prefix": self.prefix, **(settings or {})}
        self._environment |= {f"TASK_MANAGER_{name.upper()}": str(value) for name, value in fields.items()}
        self.processes: list[AppProcess] = []

    @property
    def environment(self) -> dict[str, str]:
        """The environment of each process."""
        return dict(self._environment)

    # -- processes ----------------------------------------------------------------------------------------------------

    def launch(self, **variables: str) -> AppProcess:
        """Launch one more process, and do not wait for it."""
        log = self.folder / f"process-{len(self.processes) + 1}.log"
        process = self._stack.enter_context(AppProcess(self._app, {**self._environment, **variables}, log))
        self.processes.append(process)
        process.launch()
        return process

    def add(self, **variables: str) -> AppProcess:
        """Launch one more process, and wait until it is healthy."""
        process = self.launch(**variables)
        self.await_ready([process])
        return process

    def start(self, size: int) -> Self:
        """Launch `size` processes at once. Wait until they are healthy and one of them leads."""
        started = [self.launch() for _ in range(size)]
        self.await_ready(started)
        self.leader()
        return self

    def await_ready(self, processes: Iterable[AppProcess]) -> None:
        for process in processes:
            process.await_serving()
            wait_until(partial(_is_healthy, process), f"{process} is healthy", DEADLINE)

    @property
    def alive(self) -> list[AppProcess]:
        return [process for process in self.processes if process.alive]

    def leader(self, among: Iterable[AppProcess] | None = None) -> AppProcess:
        """The leading process. This waits until exactly one process leads."""
        found: list[AppProcess] = []

        def one_leads() -> bool:
            found[:] = [process for process in (self.alive if among is None else among) if process.leads]
            return len(found) == 1

        wait_until(one_leads, "exactly one process leads", DEADLINE)
        return found[0]

    def followers(self) -> list[AppProcess]:
        leader = self.leader()
        return [process for process in self.alive if process is not leader]

    def of_pid(self, pid: int) -> AppProcess:
        [process] = [process for process in self.processes if process.pid == pid]
        return process

    # -- tasks --------------------------------------------------------------------------------------------------------

    def open_gate(self, name: str = "gate") -> None:
        (self.folder / name).touch()

    def statistics(self, task: str, at: AppProcess | None = None) -> dict[str, Any]:
        """The statistics of "group/name", as the API answers them."""
        answer: dict[str, Any] = (at or self.alive[0]).get(f"/tasks/{task}/statistics")
        return answer

    def trigger(self, task: str, at: AppProcess | None = None, **kwargs: object) -> str:
        """Trigger "group/name". The answer is the id of the run."""
        group, name = task.split("/")
        body = {"kwargs": kwargs} if kwargs else None
        answer = (at or self.alive[0]).post("/tasks/trigger", body, task_group_name=group, task_name=name)
        run_id: str = answer["runs"][0]["run_id"]
        return run_id

    def await_started(self, run_id: str, attempt: int = 1) -> int:
        """Wait until an attempt starts. The answer is the pid of its process."""
        pids: list[int] = []

        def started() -> bool:
            found = self.effects.started()
            pids[:] = [one.pid for one in found if (one.run_id, one.attempt) == (run_id, attempt)]
            return bool(pids)

        wait_until(started, f"attempt {attempt} of {run_id} starts", DEADLINE)
        return pids[0]

    def await_finished(self, run_id: str) -> None:
        def finished() -> bool:
            return run_id in {one.run_id for one in self.effects.finished()}

        wait_until(finished, f"{run_id} finishes", DEADLINE)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Kill all processes and delete the folder."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def utc(text: str) -> datetime:
    """An instant of the API."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _is_healthy(process: AppProcess) -> bool:
    return bool(process.health()["status"] == "healthy")
