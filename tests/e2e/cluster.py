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
from tests.e2e.process import PATIENCE, AppProcess
from tests.waiting import wait_until

WORK = "tests.e2e.apps.work:app"
IDLE = "tests.e2e.apps.idle:app"

# Other processes would count as work of ours.
_OURS = ("TASK_MANAGER_", FOLDER_VARIABLE, GROUPS_VARIABLE, TASKS_VARIABLE)


class Cluster:
    """A folder for effects, gates and logs; a key prefix of its own, so that clusters can share a server.

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
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._environment |= {FOLDER_VARIABLE: str(self.folder), **(variables or {})}
        fields = {"redis_host": redis_url, "redis_key_prefix": self.prefix, **(settings or {})}
        self._environment |= {f"TASK_MANAGER_{name.upper()}": str(value) for name, value in fields.items()}
        self.processes: list[AppProcess] = []

    # -- processes ----------------------------------------------------------------------------------------------------

    def launch(self, **variables: str) -> AppProcess:
        """One more process, not waited for."""
        log = self.folder / f"process-{len(self.processes) + 1}.log"
        process = self._stack.enter_context(AppProcess(self._app, {**self._environment, **variables}, log))
        self.processes.append(process)
        process.launch()
        return process

    def add(self, **variables: str) -> AppProcess:
        """One more process, ready to work."""
        process = self.launch(**variables)
        self.await_ready([process])
        return process

    def start(self, size: int) -> Self:
        """So many processes at once, ready, one of them the leader."""
        started = [self.launch() for _ in range(size)]
        self.await_ready(started)
        self.leader()
        return self

    def await_ready(self, processes: Iterable[AppProcess]) -> None:
        for process in processes:
            process.await_serving()
            wait_until(partial(_is_healthy, process), f"{process} is healthy", PATIENCE)

    @property
    def alive(self) -> list[AppProcess]:
        return [process for process in self.processes if process.alive]

    def leader(self, among: Iterable[AppProcess] | None = None) -> AppProcess:
        """The one process that leads; waits until there is one."""
        found: list[AppProcess] = []

        def one_leads() -> bool:
            found[:] = [process for process in (self.alive if among is None else among) if process.leads]
            return len(found) == 1

        wait_until(one_leads, "exactly one process leads", PATIENCE)
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
        """What the API says happened to "group/name"."""
        answer: dict[str, Any] = (at or self.alive[0]).get(f"/tasks/{task}/statistics")
        return answer

    def trigger(self, task: str, at: AppProcess | None = None, **kwargs: object) -> str:
        """Queue a run of "group/name"; the answer is its id."""
        group, name = task.split("/")
        body = {"kwargs": kwargs} if kwargs else None
        answer = (at or self.alive[0]).post("/tasks/trigger", body, task_group_name=group, task_name=name)
        run_id: str = answer["runs"][0]["run_id"]
        return run_id

    def await_started(self, run_id: str, attempt: int = 1) -> int:
        """The pid of the process that has started this attempt."""
        pids: list[int] = []

        def started() -> bool:
            found = self.effects.started()
            pids[:] = [one.pid for one in found if (one.run_id, one.attempt) == (run_id, attempt)]
            return bool(pids)

        wait_until(started, f"attempt {attempt} of {run_id} starts", PATIENCE)
        return pids[0]

    def await_finished(self, run_id: str) -> None:
        def finished() -> bool:
            return run_id in {one.run_id for one in self.effects.finished()}

        wait_until(finished, f"{run_id} finishes", PATIENCE)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Kill what lives and forget everything."""
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
