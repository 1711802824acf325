"""A Redis that starts late, that is killed and comes back with its data, and that loses everything."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.effects import Effect
from tests.e2e.history_checks import (
    History,
    Window,
    assert_accounted_for,
    assert_dispatched_at_most_once,
    assert_effects_agree,
    next_second,
)
from tests.e2e.process import DEADLINE
from tests.e2e.scenarios import Scenarios
from tests.redis_server import RedisServer, lasting_port
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

QUICK = {
    "leader_heartbeat_interval": 1,
    "leader_retry_interval": 1,
    "running_heartbeat_interval": 1,
    "reconciliation_interval": 1,
}


# -- away at start ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LateStore:
    status_before: int
    health_before: dict[str, Any]
    url: str
    tasks_before: int
    health_after: dict[str, Any]
    finished: list[Effect]


def away_at_start(_: str) -> LateStore:
    """The application starts before its Redis."""
    with RedisServer(port=lasting_port()) as server:
        server.stop()
        with Cluster(server.url) as cluster:
            process = cluster.launch()
            process.await_serving()
            before = process.request("GET", "/health")
            tasks = process.request("GET", "/tasks")
            server.start()
            cluster.await_ready([process])
            wait_until(lambda: len(cluster.effects.finished("Clock/steady")) >= 2, "scheduling begins", DEADLINE)
            return LateStore(
                status_before=before.status_code,
                health_before=before.json(),
                url=f"127.0.0.1:{server.port}",
                tasks_before=tasks.status_code,
                health_after=process.health(),
                finished=cluster.effects.finished("Clock/steady"),
            )


def test_an_application_starts_without_its_redis_and_says_why_it_is_unhealthy(scenarios: Scenarios) -> None:
    seen = scenarios.of(away_at_start)
    assert seen.status_before == 503
    assert seen.health_before["status"] == "unhealthy"
    assert seen.health_before["redis_connected"] is False
    assert seen.url in seen.health_before["reason"]


def test_the_api_answers_503_while_the_store_is_unavailable(scenarios: Scenarios) -> None:
    assert scenarios.of(away_at_start).tasks_before == 503


def test_scheduling_begins_when_redis_comes(scenarios: Scenarios) -> None:
    seen = scenarios.of(away_at_start)
    assert seen.health_after["status"] == "healthy"
    assert seen.health_after["reason"] is None
    assert_dispatched_at_most_once(seen.finished)


# -- dies and comes back ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    window: Window
    steady: History
    plain: History
    effects: list[Effect]
    unhealthy: list[dict[str, Any]]
    through: list[Effect]


def restarted(_: str) -> Restarted:
    """Redis is killed under load and comes back with its data. It writes each command to the disk before it answers, so
    it loses no acknowledged write. One run lasts through the whole outage."""
    with (
        RedisServer("--appendfsync", "always", appendonly=True, port=lasting_port()) as server,
        Cluster(server.url, {**QUICK, "concurrent_tasks": 4, "running_heartbeat_interval": 3}).start(2) as cluster,
    ):
        through = cluster.trigger("Work/gated")
        cluster.await_started(through)
        first = next_second(time.time())
        wait_until(lambda: time.time() > first.timestamp() + 4, "some slots have passed", DEADLINE)
        server.kill()
        unhealthy = [process.health() for process in cluster.processes]
        server.start()
        cluster.await_ready(cluster.processes)
        cluster.leader()
        last = next_second(time.time() + 4)
        window = Window(first=first, last=last)
        wait_until(lambda: time.time() > last.timestamp(), "more slots have passed", DEADLINE)
        cluster.open_gate()
        cluster.await_finished(through)
        steady = History.once_settled(cluster, "Clock/steady", window)
        plain = History.once_settled(cluster, "Clock/plain", window)
        return Restarted(
            window=window,
            steady=steady,
            plain=plain,
            effects=cluster.effects.read(),
            unhealthy=unhealthy,
            through=[one for one in cluster.effects.read("Work/gated") if one.run_id == through],
        )


def test_every_process_is_unhealthy_without_redis_and_none_ends(scenarios: Scenarios) -> None:
    seen = scenarios.of(restarted)
    assert [health["redis_connected"] for health in seen.unhealthy] == [False, False]
    assert all(health["reason"] for health in seen.unhealthy)


def test_scheduling_resumes_after_a_restart_of_redis_and_no_slot_is_lost(scenarios: Scenarios) -> None:
    seen = scenarios.of(restarted)
    assert seen.steady.succeeded(seen.window) == seen.window.slots
    assert_effects_agree(seen.steady, seen.window)
    assert_accounted_for(seen.plain, seen.window)


def test_nothing_is_dispatched_twice_through_a_restart_of_redis(scenarios: Scenarios) -> None:
    assert_dispatched_at_most_once(scenarios.of(restarted).effects)


def test_a_run_that_outlasts_a_restart_of_redis_is_started_once(scenarios: Scenarios) -> None:
    assert [(one.event, one.attempt) for one in scenarios.of(restarted).through] == [("started", 1), ("finished", 1)]


# -- forgets everything -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Flushed:
    flushed_at: float
    before: list[Effect]
    after: list[Effect]
    listed: list[tuple[str, str, bool]]
    again: list[tuple[str, str, bool]]
    yearly: list[Effect]
    dynamic: list[Effect]
    capacity: int


def flushed(_: str) -> Flushed:
    """FLUSHALL while every-second tasks run, one of them dynamic."""
    with RedisServer() as server, Cluster(server.url, QUICK).start(2) as cluster:
        process = cluster.processes[0]
        body = {
            "task_group_name": "Work",
            "function_name": "dynamic",
            "name": "made",
            "cron_expression": "* * * * * *",
        }
        process.post("/tasks", body)

        def ticks() -> int:
            return min(len(cluster.effects.finished(task)) for task in ("Clock/steady", "Clock/plain", "Work/made"))

        wait_until(lambda: ticks() >= 4, "every task has run some times", DEADLINE)
        listed = _listed(cluster)
        with server.client() as client:
            client.flushall()
        flushed_at = time.time()
        before = cluster.effects.started()
        since = ticks()
        wait_until(lambda: ticks() >= since + 4, "every task runs again", DEADLINE)
        started = cluster.effects.started()
        return Flushed(
            flushed_at=flushed_at,
            before=before,
            after=started[len(before) :],
            listed=listed,
            again=_listed(cluster),
            yearly=[one for one in started if one.task.startswith("Work/") and one.task != "Work/made"],
            dynamic=[one for one in started[len(before) :] if one.task == "Work/made"],
            capacity=sum(process.get("/config")["concurrent_tasks"] for process in cluster.processes),
        )


def _listed(cluster: Cluster) -> list[tuple[str, str, bool]]:
    tasks = cluster.processes[1].get("/tasks")
    return sorted((task["task_group_name"], task["name"], task["dynamic"]) for task in tasks)


def test_every_task_returns_after_a_flush_also_a_dynamic_one(scenarios: Scenarios) -> None:
    seen = scenarios.of(flushed)
    assert seen.again == seen.listed
    assert seen.dynamic


def test_a_flush_brings_no_flood_of_old_slots(scenarios: Scenarios) -> None:
    """No slot runs twice. Of the slots before the flush, only runs that a process had already claimed still run."""
    seen = scenarios.of(flushed)
    old = [one for one in seen.after if one.slot is not None and one.slot.timestamp() < seen.flushed_at]
    assert len(old) <= seen.capacity
    assert_dispatched_at_most_once(seen.before + seen.after)


def test_no_task_starts_at_once_after_a_flush(scenarios: Scenarios) -> None:
    assert scenarios.of(flushed).yearly == []


SCENARIOS = (restarted, flushed, away_at_start)
