"""Processes that work together, die and leave: uvicorn on a real Redis, judged by the effects of the tasks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.draining import leader_terminated, leader_terminated_with_an_open_connection
from tests.e2e.effects import Effect
from tests.e2e.history_checks import (
    History,
    Window,
    assert_accounted_for,
    assert_dispatched_at_most_once,
    assert_effects_agree,
    next_second,
)
from tests.e2e.process import DEADLINE, LogLine
from tests.e2e.scenarios import Scenarios
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

OBSERVED = timedelta(seconds=29)
"""The time from the first to the last of thirty slots."""

# -- three processes, thirty seconds ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    window: Window
    steady: History
    plain: History
    effects: list[Effect]
    long_runs: tuple[str, str]
    claim_ttl: float
    pids: set[int]
    logs: str


def calm(redis_url: str) -> Calm:
    """Thirty slots pass. In this time two runs last ten times the time to live of their claims, and the leader looks
    for expired claims six times in one time to live."""
    heartbeat = 1.0
    life = 3 * heartbeat
    settings = {"running_heartbeat_interval": heartbeat, "reconciliation_interval": 0.5, "concurrent_tasks": 4}
    with Cluster(redis_url, settings).start(3) as cluster:
        long_runs = (
            cluster.trigger("Work/lasting", seconds=10 * life),
            cluster.trigger("Work/lasting_in_a_thread", seconds=10 * life),
        )
        first = next_second(time.time() + 1)
        window = Window(first=first, last=first + OBSERVED)
        wait_until(lambda: time.time() > window.last.timestamp(), "thirty slots have passed", 2 * DEADLINE)
        steady = History.once_settled(cluster, "Clock/steady", window)
        plain = History.once_settled(cluster, "Clock/plain", window)
        for run in long_runs:
            cluster.await_finished(run)
        return Calm(
            window=window,
            steady=steady,
            plain=plain,
            effects=cluster.effects.read(),
            long_runs=long_runs,
            claim_ttl=life,
            pids={process.pid for process in cluster.processes},
            logs="".join(process.text() for process in cluster.processes),
        )


def test_three_processes_execute_every_slot_exactly_once(scenarios: Scenarios) -> None:
    seen = scenarios.of(calm)
    assert len(seen.window.slots) == 30
    assert [
        one.slot for one in sorted(seen.steady.started(seen.window), key=lambda one: one.token)
    ] == seen.window.slots
    assert seen.steady.succeeded(seen.window) == seen.window.slots
    assert seen.steady.skipped_slots(seen.window) == []
    assert_effects_agree(seen.steady, seen.window)


def test_with_every_default_each_slot_runs_once_or_is_recorded_as_skipped(scenarios: Scenarios) -> None:
    """If the machine is blocked for two seconds, the defaults skip slots. Each skip is recorded."""
    seen = scenarios.of(calm)
    assert_accounted_for(seen.plain, seen.window)
    assert_effects_agree(seen.plain, seen.window)


def test_no_slot_is_dispatched_twice_in_an_undisturbed_cluster(scenarios: Scenarios) -> None:
    assert_dispatched_at_most_once(scenarios.of(calm).effects)


def test_an_undisturbed_cluster_logs_no_error(scenarios: Scenarios) -> None:
    logs = scenarios.of(calm).logs
    assert "Traceback" not in logs
    assert "|ERROR|" not in logs


def test_a_task_that_lasts_ten_times_its_claim_is_started_once(scenarios: Scenarios) -> None:
    seen = scenarios.of(calm)
    for run in seen.long_runs:
        started, finished = [one for one in seen.effects if one.run_id == run]
        assert (started.event, finished.event) == ("started", "finished")
        assert started.token == finished.token
        assert finished.monotonic - started.monotonic >= 10 * seen.claim_ttl


# -- the leader dies --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderKilled:
    window: Window
    steady: History
    plain: History
    effects: list[Effect]
    killed: int
    killed_at: float
    won: list[LogLine]


def leader_killed(redis_url: str) -> LeaderKilled:
    """Slots pass, the leader is killed, and another process deposes it. Leadership has the default settings."""
    settings = {"running_heartbeat_interval": 1, "reconciliation_interval": 1}
    with Cluster(redis_url, settings).start(3) as cluster:
        first = next_second(time.time() + 1)
        wait_until(lambda: time.time() > first.timestamp() + 4, "some slots have passed", DEADLINE)
        leader = cluster.leader()
        leader.kill()
        killed_at = time.time()
        new = cluster.leader()
        last = next_second(time.time() + 4)
        window = Window(first=first, last=last)
        wait_until(lambda: time.time() > last.timestamp(), "more slots have passed", DEADLINE)
        steady = History.once_settled(cluster, "Clock/steady", window)
        plain = History.once_settled(cluster, "Clock/plain", window)
        return LeaderKilled(
            window=window,
            steady=steady,
            plain=plain,
            effects=cluster.effects.read(),
            killed=leader.pid,
            killed_at=killed_at,
            won=[line for line in new.lines("leader", " leads, term ") if line.at > killed_at],
        )


def test_a_killed_leader_costs_no_slot(scenarios: Scenarios) -> None:
    """The slots of the gap run late, also with the default `catch_up`: the gap is shorter than its grace."""
    seen = scenarios.of(leader_killed)
    for history in (seen.steady, seen.plain):
        assert history.skipped_slots(seen.window) == []
        assert history.succeeded(seen.window) == seen.window.slots
    after = [one.wall for one in seen.plain.started(seen.window) if one.wall > seen.killed_at]
    print(f"from the kill of the leader to the next run: {min(after) - seen.killed_at:.2f} s")
    # A run that the dead process had finished but not settled runs again, so there are more effects than successes.
    assert {one.slot for one in seen.steady.started(seen.window)} == set(seen.window.slots)


def test_a_killed_leader_leaves_no_silent_gap(scenarios: Scenarios) -> None:
    seen = scenarios.of(leader_killed)
    assert_accounted_for(seen.steady, seen.window)
    assert_accounted_for(seen.plain, seen.window)


def test_no_slot_is_dispatched_twice_after_a_leader_was_killed(scenarios: Scenarios) -> None:
    assert_dispatched_at_most_once(scenarios.of(leader_killed).effects)


def test_the_successor_of_a_killed_leader_says_that_it_deposed_it(scenarios: Scenarios) -> None:
    seen = scenarios.of(leader_killed)
    assert "it deposed" in seen.won[0].message
    assert {line.level for line in seen.won} == {"WARNING"}


# -- the leader stands still ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderPaused:
    window: Window
    plain: History
    effects: list[Effect]
    old_leader: int
    new_leader: int
    leads_at_last: int
    ended: list[LogLine]


def leader_paused(redis_url: str) -> LeaderPaused:
    """The leader is suspended until another process leads. Then it continues. Leadership has the default settings."""
    with Cluster(redis_url, {"running_heartbeat_interval": 1, "reconciliation_interval": 1}).start(3) as cluster:
        first = next_second(time.time() + 1)
        wait_until(lambda: time.time() > first.timestamp() + 2, "some slots have passed", DEADLINE)
        old = cluster.leader()
        others = cluster.followers()
        old.pause()
        try:
            new = cluster.leader(others)
        finally:
            old.resume()
        wait_until(lambda: old.lines("leader", "no longer leads"), "the old leader learns of it", DEADLINE)
        last = next_second(time.time() + 3)
        window = Window(first=first, last=last)
        wait_until(lambda: time.time() > last.timestamp(), "more slots have passed", DEADLINE)
        plain = History.once_settled(cluster, "Clock/plain", window)
        return LeaderPaused(
            window=window,
            plain=plain,
            effects=cluster.effects.read(),
            old_leader=old.pid,
            new_leader=new.pid,
            leads_at_last=cluster.leader().pid,
            ended=old.lines("leader", "no longer leads"),
        )


def test_a_leader_that_stood_still_dispatches_nothing_twice(scenarios: Scenarios) -> None:
    seen = scenarios.of(leader_paused)
    assert_dispatched_at_most_once(seen.effects)
    assert_accounted_for(seen.plain, seen.window)


def test_a_leader_that_stood_still_becomes_a_follower(scenarios: Scenarios) -> None:
    seen = scenarios.of(leader_paused)
    assert seen.leads_at_last == seen.new_leader != seen.old_leader
    assert len(seen.ended) == 1


# -- a worker dies ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerKilled:
    started: list[Effect]
    finished: list[Effect]
    runs: list[dict[str, Any]]
    killed: int
    claim_ttl: float
    reaped: list[LogLine]


def worker_killed(redis_url: str) -> WorkerKilled:
    """A process is killed inside a task. Its claim expires, the leader reaps it, and the other process executes the
    run."""
    heartbeat = 1.0
    settings = {
        "running_heartbeat_interval": heartbeat,
        "reconciliation_interval": 0.5,
        "leader_heartbeat_interval": 1,
        "leader_retry_interval": 1,
    }
    with Cluster(redis_url, settings, variables={"E2E_GROUPS": "Work"}).start(2) as cluster:
        run = cluster.trigger("Work/stuck_at_first")
        pid = cluster.await_started(run)
        cluster.of_pid(pid).kill()
        [survivor] = cluster.alive
        cluster.await_finished(run)
        wait_until(
            lambda: len(cluster.statistics("Work/stuck_at_first")["runs"]) == 2, "the outcome is written", DEADLINE
        )
        wait_until(lambda: survivor.lines("reconciler", "lost its worker"), "the loss is logged", DEADLINE)
        return WorkerKilled(
            started=cluster.effects.started("Work/stuck_at_first"),
            finished=cluster.effects.finished("Work/stuck_at_first"),
            runs=cluster.statistics("Work/stuck_at_first")["runs"],
            killed=pid,
            claim_ttl=3 * heartbeat,
            reaped=survivor.lines("reconciler", "lost its worker"),
        )


def test_a_run_of_a_killed_worker_is_executed_again_with_attempt_2(scenarios: Scenarios) -> None:
    seen = scenarios.of(worker_killed)
    first, second = seen.started
    assert [first.attempt, second.attempt] == [1, 2]
    assert first.run_id == second.run_id
    assert second.token > first.token
    assert first.pid == seen.killed != second.pid
    assert [(one.attempt, one.pid) for one in seen.finished] == [(2, second.pid)]


def test_a_run_of_a_killed_worker_waits_until_its_claim_has_expired(scenarios: Scenarios) -> None:
    """The store measures the lost attempt: from its last heartbeat until the leader reaps it."""
    seen = scenarios.of(worker_killed)
    second, first = seen.runs
    assert [(first["attempt"], first["status"]), (second["attempt"], second["status"])] == [
        (1, "lost"),
        (2, "succeeded"),
    ]
    assert first["durations_second"] >= seen.claim_ttl
    assert len(seen.reaped) == 1


# -- the leader leaves ------------------------------------------------------------------------------------------------


def test_another_process_leads_while_a_terminated_leader_still_works(scenarios: Scenarios) -> None:
    seen = scenarios.of(leader_terminated)
    started, finished = seen.own_run
    assert "resigned" in seen.resigned.message
    assert started.wall < seen.resigned.at <= seen.won.at < finished.wall
    assert seen.slots_meanwhile >= 2


def test_the_task_of_a_terminated_leader_finishes(scenarios: Scenarios) -> None:
    seen = scenarios.of(leader_terminated)
    assert [(one.event, one.attempt, one.pid) for one in seen.own_run] == [
        ("started", 1, seen.old_leader),
        ("finished", 1, seen.old_leader),
    ]
    assert [(run["status"], run["attempt"]) for run in seen.runs] == [("succeeded", 1)]
    # uvicorn ends itself with the signal that it received.
    assert seen.exit_status in {0, -15}


def test_a_terminated_leader_resigns_at_the_signal_although_its_server_waits_for_a_connection(
    scenarios: Scenarios,
) -> None:
    seen = scenarios.of(leader_terminated_with_an_open_connection)
    assert "resigned" in seen.resigned.message
    assert seen.resigned.at <= seen.won.at < seen.disconnected_at <= seen.stopped.at
    assert seen.slots_meanwhile >= 3
    assert seen.served_meanwhile == ["tick", "tick"]
    assert seen.exit_status in {0, -15}


def test_a_terminated_process_claims_nothing_more_and_finishes_what_it_runs(scenarios: Scenarios) -> None:
    seen = scenarios.of(leader_terminated_with_an_open_connection)
    assert seen.begun_by_leaver == []
    assert [(one.event, one.attempt, one.pid) for one in seen.own_run] == [
        ("started", 1, seen.leaver),
        ("finished", 1, seen.leaver),
    ]
    assert [(run["status"], run["attempt"]) for run in seen.own_record] == [("succeeded", 1)]


SCENARIOS = (
    calm,
    leader_killed,
    leader_paused,
    worker_killed,
    leader_terminated,
    leader_terminated_with_an_open_connection,
)
