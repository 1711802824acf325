"""Dynamic tasks belong to the cluster: every process lists, schedules and executes them, whichever got the request."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.effects import Effect
from tests.e2e.process import DEADLINE, AppProcess
from tests.e2e.scenarios import Scenarios
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

EVERY_SECOND = "* * * * * *"
YEARLY = "0 0 1 1 *"
WORK_ONLY = {"E2E_GROUPS": "Work"}
QUICK = {"leader_heartbeat_interval": 1, "leader_retry_interval": 1}

OBSERVED = 3.0
"""Seconds in which a run that must not start would show."""


def _body(name: str, cron: str, **more: object) -> dict[str, object]:
    return {
        "task_group_name": "Work",
        "function_name": "dynamic",
        "name": name,
        "cron_expression": cron,
        "kwargs": {"word": name},
        **more,
    }


def _names(process: AppProcess) -> set[str]:
    return {task["name"] for task in process.get("/tasks", task_group_name="Work") if task["dynamic"]}


def _listed(process: AppProcess, name: str) -> dict[str, Any]:
    [task] = process.get("/tasks", task_group_name="Work", name=name)
    found: dict[str, Any] = task
    return found


def _lists(process: AppProcess, name: str) -> Callable[[], bool]:
    return lambda: name in _names(process)


def _observe(description: str) -> None:
    """Let slots pass: the promise is that no run starts, so there is no event to wait for."""
    until = time.time() + OBSERVED
    wait_until(lambda: time.time() > until, description, DEADLINE)


# -- added here, removed there, restarted in between ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    answer: dict[str, Any]
    listed: list[set[str]]
    before_restart: list[Effect]
    pids_before: set[int]
    after_restart: list[Effect]
    pids_after: set[int]
    listed_after: list[set[str]]
    removed_at_other: dict[str, Any]
    listed_at_last: list[set[str]]
    slots: list[float]
    removed_at: float
    statistics_at_last: int


def shared(redis_url: str) -> Shared:
    """POST at a follower, restart both processes, DELETE at the other process."""
    with Cluster(redis_url, QUICK, variables=WORK_ONLY).start(2) as cluster:
        [follower] = cluster.followers()
        answer = follower.post("/tasks", _body("made", EVERY_SECOND))
        old = cluster.processes[:]
        for process in old:
            wait_until(_lists(process, "made"), f"{process} lists the task", DEADLINE)
        listed = [_names(process) for process in old]
        wait_until(lambda: len(cluster.effects.finished("Work/made")) >= 3, "the task runs", DEADLINE)

        for process in old:
            process.terminate()
        for process in old:
            process.await_end()
        before = cluster.effects.started("Work/made")
        new = cluster.start(2).alive
        wait_until(
            lambda: len(cluster.effects.finished("Work/made")) >= len(before) + 3, "the task runs again", DEADLINE
        )
        listed_after = [_names(process) for process in new]

        other = cluster.leader()
        removed = other.delete("/tasks", task_group_name="Work", task_name="made")
        removed_at = time.time()
        last = cluster.effects.started("Work/made")
        wait_until(lambda: not any(map(_names, new)), "no process lists the task", DEADLINE)
        _observe("slots pass without the removed task")
        statistics = other.request("GET", "/tasks/Work/made/statistics").status_code
        return Shared(
            answer=answer,
            listed=listed,
            before_restart=before,
            pids_before={process.pid for process in old},
            after_restart=last[len(before) :],
            pids_after={process.pid for process in new},
            listed_after=listed_after,
            removed_at_other=removed,
            listed_at_last=[_names(process) for process in new],
            slots=[one.slot.timestamp() for one in cluster.effects.started("Work/made") if one.slot is not None],
            removed_at=removed_at,
            statistics_at_last=statistics,
        )


def test_a_task_posted_at_a_follower_is_listed_by_every_process(scenarios: Scenarios) -> None:
    seen = scenarios.of(shared)
    assert seen.answer == {
        "task_group_name": "Work",
        "task_name": "made",
        "function_name": "dynamic",
        "cron_expression": EVERY_SECOND,
        "kwargs": {"word": "made"},
        "dynamic": True,
    }
    assert seen.listed == [{"made"}, {"made"}]


def test_a_task_posted_at_a_follower_is_executed(scenarios: Scenarios) -> None:
    seen = scenarios.of(shared)
    assert len(seen.before_restart) >= 3
    assert {one.pid for one in seen.before_restart} <= seen.pids_before


def test_a_dynamic_task_survives_a_restart_of_every_process(scenarios: Scenarios) -> None:
    seen = scenarios.of(shared)
    assert seen.listed_after == [{"made"}, {"made"}]
    assert len(seen.after_restart) >= 3
    assert {one.pid for one in seen.after_restart} <= seen.pids_after


def test_a_task_deleted_at_the_other_process_is_gone_everywhere(scenarios: Scenarios) -> None:
    """A run that was claimed before the removal may go on. No later slot runs."""
    seen = scenarios.of(shared)
    assert (seen.removed_at_other["task_group_name"], seen.removed_at_other["task_name"]) == ("Work", "made")
    assert seen.listed_at_last == [set(), set()]
    assert [slot for slot in seen.slots if slot > seen.removed_at] == []
    assert seen.statistics_at_last == 404


# -- changed ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    runs_before: list[str]
    runs_after_change: list[str]
    active_after_change: bool
    expression_elsewhere: str
    started_meanwhile: int
    runs_at_last: list[str]


def changed(redis_url: str) -> Changed:
    """A task with a history is paused, gets another cron text at the follower, is enabled, and is changed back."""
    with Cluster(redis_url, QUICK, variables=WORK_ONLY).start(2) as cluster:
        leader, [follower] = cluster.leader(), cluster.followers()
        follower.post("/tasks", _body("changing", EVERY_SECOND))
        wait_until(lambda: len(cluster.effects.finished("Work/changing")) >= 3, "the task has a history", DEADLINE)
        leader.post("/tasks/disable", task_group_name="Work", task_name="changing")
        wait_until(lambda: _is_settled(cluster, leader), "the last run is over", DEADLINE)
        before = _run_ids(cluster, leader)

        follower.put("/tasks/Work/changing", {"cron_expression": YEARLY})
        wait_until(lambda: _listed(leader, "changing")["expression"] == YEARLY, "the leader knows of it", DEADLINE)
        changed_at = time.time()
        active = _listed(leader, "changing")["is_active"]
        elsewhere = _listed(leader, "changing")["expression"]
        leader.post("/tasks/enable", task_group_name="Work", task_name="changing")
        _observe("slots of the old text pass")
        slots = [one.slot.timestamp() for one in cluster.effects.started("Work/changing") if one.slot is not None]
        started = len([slot for slot in slots if slot > changed_at])
        after = _run_ids(cluster, leader)

        follower.put("/tasks/Work/changing", {"cron_expression": EVERY_SECOND})
        wait_until(lambda: len(_run_ids(cluster, leader)) >= len(before) + 2, "the task runs again", DEADLINE)
        return Changed(
            runs_before=before,
            runs_after_change=after,
            active_after_change=active,
            expression_elsewhere=elsewhere,
            started_meanwhile=started,
            runs_at_last=_run_ids(cluster, leader),
        )


def _is_settled(cluster: Cluster, process: AppProcess) -> bool:
    return len(_run_ids(cluster, process)) == len(cluster.effects.started("Work/changing"))


def _run_ids(cluster: Cluster, process: AppProcess) -> list[str]:
    """Oldest first."""
    return [run["run_id"] for run in reversed(cluster.statistics("Work/changing", process)["runs"])]


def test_a_change_of_the_cron_text_keeps_the_statistics(scenarios: Scenarios) -> None:
    seen = scenarios.of(changed)
    assert len(seen.runs_before) >= 3
    assert seen.runs_after_change[: len(seen.runs_before)] == seen.runs_before
    assert seen.runs_at_last[: len(seen.runs_before)] == seen.runs_before


def test_a_change_of_the_cron_text_keeps_the_pause(scenarios: Scenarios) -> None:
    seen = scenarios.of(changed)
    assert seen.expression_elsewhere == YEARLY
    assert seen.active_after_change is False


def test_a_change_of_the_cron_text_starts_no_run_at_once(scenarios: Scenarios) -> None:
    assert scenarios.of(changed).started_meanwhile == 0


# -- failing with every default ---------------------------------------------------------------------------------------

IDEAL = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    attempts: list[Effect]
    waiting: dict[str, Any]
    runs: list[dict[str, Any]]
    at_rest: dict[str, Any]
    next_failure: list[Effect]


def failing(redis_url: str) -> Failing:
    """A run fails four times and then succeeds; another one fails once. No interval is shortened."""
    with Cluster(redis_url, variables=WORK_ONLY).start(2) as cluster:
        [follower] = cluster.followers()
        run = cluster.trigger("Work/failing", follower, failures=4)
        cluster.await_started(run, attempt=3)
        wait_until(lambda: _listed(follower, "failing")["retry_after"], "the third retry waits", DEADLINE)
        waiting = _listed(follower, "failing")
        cluster.await_finished(run)
        wait_until(lambda: len(_outcomes(cluster)) == 5, "the outcome is written", DEADLINE)
        at_rest = _listed(follower, "failing")
        runs = cluster.statistics("Work/failing")["runs"]
        again = cluster.trigger("Work/failing", follower, failures=1)
        cluster.await_finished(again)
        started = cluster.effects.started("Work/failing")
        return Failing(
            attempts=[one for one in started if one.run_id == run],
            waiting=waiting,
            runs=runs,
            at_rest=at_rest,
            next_failure=[one for one in started if one.run_id == again],
        )


def _outcomes(cluster: Cluster) -> list[str]:
    return [run["status"] for run in cluster.statistics("Work/failing")["runs"]]


def _ratios(attempts: list[Effect]) -> list[float]:
    """Distances from start to start, as parts of the ideal."""
    instants = [one.monotonic for one in attempts]
    distances = [later - earlier for earlier, later in itertools.pairwise(instants)]
    return [distance / ideal for distance, ideal in zip(distances, IDEAL, strict=False)]


def test_a_failed_run_is_executed_again_after_1_2_4_and_8_seconds(
    scenarios: Scenarios, record_property: Callable[[str, object], None]
) -> None:
    """A retry is never early by more than clocks differ, and never so late that the delays could be other ones."""
    seen = scenarios.of(failing)
    assert [one.attempt for one in seen.attempts] == [1, 2, 3, 4, 5]
    ratios = _ratios(seen.attempts)
    record_property("distance / ideal", [round(ratio, 3) for ratio in ratios])
    print("distance / ideal of the retries:", [round(ratio, 3) for ratio in ratios])
    assert min(ratios) >= 0.95
    whole = seen.attempts[-1].monotonic - seen.attempts[0].monotonic
    assert whole / sum(IDEAL) <= 1.6


def test_every_failure_leaves_a_trace(scenarios: Scenarios) -> None:
    seen = scenarios.of(failing)
    assert [(run["attempt"], run["status"]) for run in reversed(seen.runs)] == [
        (1, "retried"),
        (2, "retried"),
        (3, "retried"),
        (4, "retried"),
        (5, "succeeded"),
    ]
    newest_failure = seen.runs[1]
    assert newest_failure["error_type"] == "ConnectionError"
    assert newest_failure["error_message"] == "attempt 4 fails on purpose"
    assert "in failing" in newest_failure["error_traceback"]


def test_a_waiting_retry_is_shown_and_its_end_too(scenarios: Scenarios) -> None:
    seen = scenarios.of(failing)
    assert seen.waiting["retry_delay"] in {4.0, 8.0}
    assert (seen.at_rest["retry_after"], seen.at_rest["retry_delay"]) == (None, None)


def test_success_resets_the_backoff(scenarios: Scenarios) -> None:
    """The fifth failure in a row would have waited sixteen seconds; this one is a first failure again."""
    seen = scenarios.of(failing)
    assert [one.attempt for one in seen.next_failure] == [1, 2]
    [ratio] = _ratios(seen.next_failure)
    assert 0.95 <= ratio < 16 / 2


SCENARIOS = (failing, shared, changed)
