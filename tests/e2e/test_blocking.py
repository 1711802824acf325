"""Tasks that block: an event loop that stands, on two processes and a real Redis."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.application.process_functions import is_running
from tests.e2e.cluster import Cluster
from tests.e2e.effects import Effect
from tests.e2e.history_checks import History, Window, assert_accounted_for, next_second
from tests.e2e.process import DEADLINE, LogLine
from tests.e2e.scenarios import Scenarios
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

BLOCKING = "tests.e2e.apps.blocking:app"
BLOCKED = 4.0
"""Seconds, several times as long as a claim lives."""

_SOURCE = (Path(__file__).parent / "apps" / "blocking.py").read_text().splitlines()
LINE = next(number for number, line in enumerate(_SOURCE, 1) if "time.sleep(seconds)" in line)

SETTINGS = {"running_heartbeat_interval": 0.5, "reconciliation_interval": 0.5, "loop_block_warning": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    window: Window
    steady: History
    effects: list[Effect]
    lines: list[LogLine]
    losses: list[LogLine]
    last_block: dict[str, Any] | None


def _blocked(redis_url: str, **settings: object) -> Blocked:
    """One run blocks the event loop of its process for four seconds."""
    with Cluster(redis_url, {**SETTINGS, **settings}, app=BLOCKING).start(2) as cluster:
        run = cluster.trigger("Blocking/blocks", seconds=BLOCKED)
        blocker = cluster.of_pid(cluster.await_started(run))
        first = next_second(time.time())
        cluster.open_gate()
        wait_until(lambda: blocker.lines("runner", "the event loop goes on"), "the event loop goes on", DEADLINE)
        cluster.await_finished(run)
        window = Window(first=first, last=next_second(time.time()))
        wait_until(lambda: time.time() > window.last.timestamp() + 1, "the last slot has passed", DEADLINE)
        return Blocked(
            window=window,
            steady=History.once_settled(cluster, "Blocking/steady", window),
            effects=[one for one in cluster.effects.read() if one.run_id == run],
            lines=blocker.lines("runner", "event loop"),
            losses=[line for process in cluster.processes for line in process.lines("reconciler", "lost its worker")],
            last_block=blocker.health()["last_block"],
        )


def blocked(redis_url: str) -> Blocked:
    return _blocked(redis_url)


def blocked_for_too_long(redis_url: str) -> Blocked:
    return _blocked(redis_url, loop_block_limit=1)


def test_a_function_that_blocks_the_loop_is_executed_once(scenarios: Scenarios) -> None:
    seen = scenarios.of(blocked)
    assert [(one.event, one.attempt) for one in seen.effects] == [("started", 1), ("finished", 1)]
    assert seen.losses == []


def test_the_other_process_executes_the_slots_meanwhile(scenarios: Scenarios) -> None:
    seen = scenarios.of(blocked)
    assert len(seen.window.slots) >= BLOCKED - 1
    assert_accounted_for(seen.steady, seen.window)
    assert seen.steady.skipped_slots(seen.window) == []


def test_the_log_and_the_health_check_name_the_function_and_its_line(scenarios: Scenarios) -> None:
    seen = scenarios.of(blocked)
    first, *_, last = seen.lines
    for line in (first, last):
        assert line.level == "WARNING"
        assert "Blocking/blocks run " in line.message
        assert f"apps/blocking.py:{LINE} in blocks" in line.message
    assert "goes on after" in last.message
    assert seen.last_block is not None
    assert (seen.last_block["task_group_name"], seen.last_block["task_name"]) == ("Blocking", "blocks")
    assert seen.last_block["line"].endswith(f"apps/blocking.py:{LINE} in blocks")
    assert seen.last_block["seconds"] > BLOCKED / 2


def test_a_loop_that_stands_for_too_long_loses_its_run_to_the_other_process(scenarios: Scenarios) -> None:
    seen = scenarios.of(blocked_for_too_long)
    assert "ERROR" in {line.level for line in seen.lines}
    assert len(seen.losses) == 1
    first, second = [one for one in seen.effects if one.event == "started"]
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.pid != second.pid


# -- a process for a function -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    child_ended: bool
    workers: list[int]
    statuses: list[str]


def computed(redis_url: str) -> Computed:
    """The worker whose child computes is killed."""
    with Cluster(redis_url, SETTINGS, app=BLOCKING).start(2) as cluster:
        cluster.trigger("Blocking/computes")
        first, second = (cluster.folder / f"computes-{number}" for number in (1, 2))
        wait_until(lambda: first.exists() and first.read_text(), "the function computes", DEADLINE)
        child, worker = map(int, first.read_text().split())
        cluster.of_pid(worker).kill()
        wait_until(lambda: not is_running(child), "the child has ended", DEADLINE)
        wait_until(lambda: second.exists() and second.read_text(), "the other worker executes it", DEADLINE)
        _, other = map(int, second.read_text().split())
        path = "/tasks/Blocking/computes/statistics"
        wait_until(lambda: len(cluster.alive[0].get(path)["runs"]) == 2, "both attempts are recorded", DEADLINE)
        return Computed(
            child_ended=not is_running(child),
            workers=[worker, other],
            statuses=[run["status"] for run in cluster.alive[0].get(path)["runs"]],
        )


def test_a_function_in_a_process_ends_with_its_worker_and_is_executed_by_another(scenarios: Scenarios) -> None:
    seen = scenarios.of(computed)
    assert seen.child_ended
    assert len(set(seen.workers)) == 2
    assert seen.statuses == ["succeeded", "lost"]


SCENARIOS = (blocked, blocked_for_too_long, computed)
