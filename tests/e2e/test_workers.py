"""Web processes that execute nothing, and workers without a web server: `task-manager worker`."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
import pytest

from fastapi_task_manager.cli.probes import ask_file, ask_port
from tests.e2e.cluster import Cluster
from tests.e2e.effects import Effect
from tests.e2e.history_checks import (
    History,
    Window,
    assert_accounted_for,
    assert_dispatched_at_most_once,
    next_second,
)
from tests.e2e.process import DEADLINE, ROOT, AppProcess
from tests.e2e.scenarios import Scenarios
from tests.redis_server import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

STEADY = "Clock/steady"
WEB = {"TASK_MANAGER_ROLES": "schedule"}
MAX_AGE = 60.0
"""Far longer than the busiest machine lets a worker wait."""


class StartedWorker:
    """`task-manager worker`, with both kinds of probes."""

    def __init__(self, cluster: Cluster, name: str, *arguments: str) -> None:
        self.health, self.port = cluster.folder / f"{name}.health", free_port()
        self.log = cluster.folder / f"{name}.log"
        self._arguments = (
            *("worker", "tests.e2e.apps.work:manager", "--roles", "execute"),
            *("--health-file", str(self.health), "--health-port", str(self.port), *arguments),
        )
        self._environment = cluster.environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fastapi_task_manager.cli", *self._arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    def by_file(self) -> str | None:
        return ask_file(self.health, "ready", MAX_AGE)

    def by_port(self) -> str | None:
        return ask_port("127.0.0.1", self.port, "ready", DEADLINE)

    def await_ready(self) -> Self:
        wait_until(lambda: self.by_port() is None or not self.alive, f"{self.log.stem} is ready", DEADLINE)
        assert self.by_port() is None, self.log.read_text()[-4000:]
        return self

    def await_not_ready(self) -> None:
        wait_until(lambda: self.by_file() is not None, f"{self.log.stem} says that it stops", DEADLINE)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def await_end(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.alive:
            assert self.process is not None
            self.process.kill()
            self.process.wait()


@dataclass
class Load:
    """Requests for runs, one after the other, until the end of the block."""

    asked: list[str] = field(default_factory=list[str])
    refused: int = 0

    def await_more(self, number: int) -> None:
        wanted = len(self.asked) + number
        wait_until(lambda: len(self.asked) >= wanted, f"{number} more requests", DEADLINE)

    @contextmanager
    def on(self, processes: Callable[[], list[AppProcess]], cluster: Cluster) -> Iterator[None]:
        ends = threading.Event()

        def ask() -> None:
            while not ends.wait(0.02):
                for process in processes():
                    with suppress(httpx.HTTPError, AssertionError, IndexError):  # It is being stopped.
                        self.asked.append(cluster.trigger("Work/quick", process, note="load"))
                        break
                    self.refused += 1

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            ends.set()
            thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """A rolling restart of everything under load."""

    window: Window
    history: History
    asked: list[str]
    effects: list[Effect]
    web_pids: set[int]
    probes: list[tuple[str, str | None, str | None]]
    exits: list[int]
    logs: str


def deploy(redis_url: str) -> Deploy:
    probes: list[tuple[str, str | None, str | None]] = []
    with (
        Cluster(redis_url, {"shutdown_timeout": DEADLINE}) as cluster,
        StartedWorker(cluster, "old", "--processes", "2") as old,
        StartedWorker(cluster, "new", "--processes", "2") as new,
    ):

        def probe(when: str) -> None:
            probes.append((when, old.by_file(), old.by_port()))

        webs = [cluster.launch(**WEB) for _ in range(2)]
        cluster.await_ready(webs)
        cluster.leader()
        probe("before its start")
        old.start()
        wait_until(lambda: old.health.exists() or not old.alive, "the command runs", DEADLINE)
        probe("while its children start")
        old.await_ready()
        probe("after their first pass")

        first, load, exits = next_second(time.time()), Load(), list[int]()
        with load.on(lambda: [process for process in webs if process.alive], cluster):
            for number in range(2):
                load.await_more(20)
                webs[number].terminate()
                webs[number].await_end()
                webs[number] = cluster.add(**WEB)
            gated = cluster.trigger(
                "Work/gated", webs[0], gate="gate"
            )  # The old worker executes it: it is the only one.
            cluster.await_started(gated)
            new.start().await_ready()
            load.await_more(20)
            old.terminate()
            old.await_not_ready()
            probe("while it drains")
            cluster.open_gate()
            exits.append(old.await_end())
            probe("after its end")
            load.await_more(20)
        last = next_second(time.time())
        for run_id in load.asked:
            cluster.await_finished(run_id)
        history = History.once_settled(cluster, STEADY, Window(first=first, last=last))
        new.terminate()
        exits.append(new.await_end())
        window = Window(first=first, last=last)
        return Deploy(
            window=window,
            history=history,
            asked=[*load.asked, gated],
            effects=[*cluster.effects.started(), *cluster.effects.finished()],
            web_pids={process.pid for process in cluster.processes},
            probes=probes,
            exits=exits,
            logs="".join(path.read_text() for path in sorted(cluster.folder.glob("*.log"))),
        )


SCENARIOS = (deploy,)


def test_a_rolling_restart_under_load_loses_nothing(scenarios: Scenarios) -> None:
    found = scenarios.of(deploy)
    assert_accounted_for(found.history, found.window)
    assert found.history.skipped_slots(found.window) == []
    assert len(found.asked) > 60
    assert set(found.asked) <= {one.run_id for one in found.effects if one.event == "finished"}
    assert_dispatched_at_most_once(found.effects)


def test_no_run_is_claimed_by_a_process_that_cannot_execute_it(scenarios: Scenarios) -> None:
    found = scenarios.of(deploy)
    assert {one.pid for one in found.effects} & found.web_pids == set()
    assert {one.attempt for one in found.effects} == {1}
    assert [line for line in found.logs.splitlines() if "unknown function" in line or "lost the claim" in line] == []


def test_the_probes_see_ready_and_not_ready_at_the_right_instants(scenarios: Scenarios) -> None:
    found = scenarios.of(deploy)
    [before, starts, ready, drains, ended] = found.probes
    for name, by_file, by_port in (before, ended):
        assert by_file is not None, name
        assert by_port is not None, name
        assert ("does not exist" in by_file, "does not answer" in by_port) == (True, True)
    assert starts[1:] == ("not ready: starting", "not ready: starting")
    assert ready[1:] == (None, None)
    assert drains[1:] == ("not ready: stopping", "not ready: stopping")
    assert found.exits == [0, 0]


def test_a_target_that_cannot_work_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("manager = 5\n")
    for processes in ("1", "2"):
        command = ["worker", "shop:manager", "--app-dir", str(tmp_path), "--processes", processes]
        ended = subprocess.run(
            [sys.executable, "-m", "fastapi_task_manager.cli", *command],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            cwd=ROOT,
        )
        assert ended.returncode == 2, ended.stderr
        assert "shop:manager is a int: name a TaskManager" in ended.stderr
