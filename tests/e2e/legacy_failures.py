"""The scenarios of the ten failures of the earlier package. `test_legacy_failures.py` judges their outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from tests.e2e import topologies
from tests.e2e.cluster import IDLE, Cluster
from tests.e2e.effects import Effect
from tests.e2e.history_checks import History, Window, next_second
from tests.e2e.process import DEADLINE, LogLine
from tests.redis_server import RedisServer
from tests.waiting import wait_until

EVERY_SECOND = "* * * * * *"
QUICK = {"leader_heartbeat_interval": 1, "leader_retry_interval": 1, "reconciliation_interval": 0.5}


def _pass_time(seconds: float, what: str) -> None:
    """Let time pass: the promise is that something does not happen in this time."""
    until = time.time() + seconds
    wait_until(lambda: time.time() > until, what, seconds + DEADLINE)


# -- 1, 2, 9 and 10: two processes with failing runs, a long run and similar names
# ----------------------------------------------------------

HEARTBEAT = 1.0
LONGER_THAN_NINE_HEARTBEATS = 11 * HEARTBEAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    long_run: list[Effect]
    failing: list[Effect]
    failing_runs: list[dict[str, Any]]
    failing_skipped: dict[str, int]
    active: dict[str, bool]
    started_after_trigger: set[str]
    histories: dict[str, int]
    upcoming: list[dict[str, Any]]


def together(redis_url: str) -> Together:
    groups = {"E2E_GROUPS": "Work,a_b,a"}
    settings = {**QUICK, "running_heartbeat_interval": HEARTBEAT, "concurrent_tasks": 4}
    with Cluster(redis_url, settings, variables=groups).start(2) as cluster:
        one, other = cluster.processes
        long_run = cluster.trigger("Work/lasting", seconds=LONGER_THAN_NINE_HEARTBEATS)

        failing = {
            "task_group_name": "Work",
            "function_name": "failing",
            "name": "unlucky",
            "cron_expression": EVERY_SECOND,
            "kwargs": {"failures": 1},
            "allow_parallel": False,
            "retry_backoff": 3,
        }
        one.post("/tasks", failing)
        rome = {**failing, "name": "rome", "cron_expression": "0 12 * * *", "timezone": "Europe/Rome"}
        one.post("/tasks", rome)

        one.post("/tasks/disable", task_group_name="a_b", task_name="c")
        run = cluster.trigger("a/b_c", other)
        cluster.await_finished(run)
        names = ("a_b/c", "a/b_c")
        wait_until(lambda: cluster.statistics("a/b_c")["runs"], "the outcome is written", DEADLINE)

        wait_until(
            lambda: (
                len(cluster.effects.finished("Work/unlucky")) >= 2
                and any(skip["reason"] == "backoff" for skip in cluster.statistics("Work/unlucky", other)["skipped"])
            ),
            "failed runs have been repeated, and slots were skipped meanwhile",
            DEADLINE,
        )
        cluster.await_finished(long_run)
        tasks = {f"{task['task_group_name']}/{task['name']}": task for task in other.get("/tasks")}
        return Together(
            long_run=[effect for effect in cluster.effects.read() if effect.run_id == long_run],
            failing=cluster.effects.started("Work/unlucky"),
            failing_runs=cluster.statistics("Work/unlucky", other)["runs"],
            failing_skipped=tasks["Work/unlucky"]["skipped"],
            active={name: tasks[name]["is_active"] for name in names},
            started_after_trigger={effect.task for effect in cluster.effects.started() if effect.task in names},
            histories={name: len(cluster.statistics(name, other)["runs"]) for name in names},
            upcoming=other.get("/tasks/Work/rome/upcoming", count="400")["upcoming"],
        )


# -- 3: a function that only one process knows ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    refused: int
    listed: list[bool]
    released: list[LogLine]
    executed: list[Effect]
    newer: int
    runs: list[dict[str, Any]]


def rolling_deploy(redis_url: str) -> Rolling:
    """An older and a newer version run side by side. While the newer one is busy, only the older one claims runs. It
    does not know the function of one of them."""
    settings = {**QUICK, "concurrent_tasks": 1, "stream_block_ms": 200}
    with Cluster(redis_url, settings, variables={"E2E_GROUPS": "Work"}) as cluster:
        older, newer = cluster.launch(), cluster.launch(E2E_NEWER="yes")
        cluster.await_ready([older, newer])
        body = {
            "task_group_name": "Work",
            "function_name": "newer",
            "name": "made",
            "cron_expression": "0 0 1 1 *",
        }
        refused = older.request("POST", "/tasks", json=body).status_code
        newer.post("/tasks", body)
        for process in (older, newer):
            wait_until(
                lambda asked=process: asked.get("/tasks", name="made"),  # type: ignore[misc]
                f"{process} lists the task",
                DEADLINE,
            )
        gates = {cluster.trigger("Work/gated", gate=name): name for name in ("gate-1", "gate-2")}
        busy = {cluster.await_started(run): gate for run, gate in gates.items()}
        cluster.open_gate(busy[older.pid])
        run = cluster.trigger("Work/made", older)
        cluster.await_finished(cluster.trigger("Work/quick", older))
        released = older.lines("consumer", "released Work/made")
        cluster.open_gate(busy[newer.pid])
        cluster.await_finished(run)
        wait_until(lambda: cluster.statistics("Work/made")["runs"], "the outcome is written", DEADLINE)
        return Rolling(
            refused=refused,
            listed=[bool(process.get("/tasks", name="made")) for process in (older, newer)],
            released=released,
            executed=cluster.effects.read("Work/made"),
            newer=newer.pid,
            runs=cluster.statistics("Work/made")["runs"],
        )


# -- 4: a disabled task -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Disabled:
    active: list[bool]
    slots: list[float]
    disabled_at: float
    enabled_at: float
    expiring: set[str]


def disabled(redis_url: str) -> Disabled:
    """In the earlier package a pause ended with the statistics, after five days. Here the statistics expire in a
    second."""
    with Cluster(redis_url, {**QUICK, "statistics_redis_expiration": 1}).start(2) as cluster:
        one, other = cluster.processes
        wait_until(lambda: cluster.effects.finished("Clock/plain"), "the task runs", DEADLINE)
        one.post("/tasks/disable", task_group_name="Clock", task_name="plain")
        disabled_at = time.time()
        wait_until(lambda: not cluster.statistics("Clock/plain", other)["runs"], "the statistics expire", DEADLINE)
        _pass_time(3, "the pause outlives the statistics three times")
        active = [process.get("/tasks", name="plain")[0]["is_active"] for process in (one, other)]
        with redis.Redis.from_url(redis_url) as client:
            keys = [key for key in client.scan_iter(match="*") if cluster.prefix.encode() in key]
            expiring = {key.decode() for key in keys if client.pttl(key) > 0}
        enabled_at = time.time()
        other.post("/tasks/enable", task_group_name="Clock", task_name="plain")
        wait_until(lambda: max(_slots(cluster)) > enabled_at, "the task runs again", DEADLINE)
        return Disabled(
            active=active,
            slots=_slots(cluster),
            disabled_at=disabled_at,
            enabled_at=enabled_at,
            expiring=expiring,
        )


def _slots(cluster: Cluster) -> list[float]:
    return [one.slot.timestamp() for one in cluster.effects.started("Clock/plain") if one.slot is not None]


# -- 5: the first deploy, a flush, a long stop ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStart:
    first_sight: list[Effect]
    started_at: float
    yearly: list[Effect]
    gap: Window
    plain: History
    effects: list[Effect]


def first_start(_: str) -> FirstStart:
    """A first start, a flush, and a stop that is longer than the grace of every task."""
    with RedisServer() as server, Cluster(server.url, QUICK) as cluster:
        started_at = time.time()
        cluster.start(2)

        def ticks() -> int:
            return len(cluster.effects.finished("Clock/plain"))

        wait_until(lambda: ticks() >= 2, "the first slots have passed", DEADLINE)
        first_sight = cluster.effects.started()
        with server.client() as client:
            client.flushall()
        since = ticks()
        wait_until(lambda: ticks() >= since + 2, "slots pass after the flush", DEADLINE)

        for process in cluster.alive:
            process.terminate()
        for process in cluster.processes:
            process.await_end()
        stopped = next_second(time.time())
        _pass_time(6, "no process runs")
        cluster.start(2)
        since = ticks()
        wait_until(lambda: ticks() >= since + 4, "slots pass after the stop", DEADLINE)
        last = next_second(time.time())
        window = Window(first=stopped, last=last)
        wait_until(lambda: time.time() > last.timestamp(), "the last slot has passed", DEADLINE)
        return FirstStart(
            first_sight=first_sight,
            started_at=started_at,
            yearly=[one for one in cluster.effects.started() if one.task.startswith("Work/")],
            gap=window,
            plain=History.once_settled(cluster, "Clock/plain", window),
            effects=cluster.effects.read(),
        )


# -- 7: a leader that was paused --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    window: Window
    steady: History
    effects: list[Effect]
    dispatched: list[str]
    ended: list[LogLine]
    by_the_old_leader: list[float]
    frozen_at: float


def leader_frozen(redis_url: str) -> Frozen:
    """A leader is paused for longer than its lease, at some point of its work, and then goes on."""
    settings = {**QUICK, "leader_heartbeat_interval": 0.5, "running_heartbeat_interval": 1}
    with Cluster(redis_url, settings).start(2) as cluster:
        first = next_second(time.time())
        wait_until(lambda: time.time() > first.timestamp() + 2, "some slots have passed", DEADLINE)
        old = cluster.leader()
        [other] = [process for process in cluster.processes if process is not old]
        old.pause()
        frozen_at = time.time()
        cluster.leader(among=[other])
        # Resume it only when the other process has dispatched slots.
        dispatched = len(other.lines("coordinator", "^dispatched Clock/steady"))
        wait_until(
            lambda: len(other.lines("coordinator", "^dispatched Clock/steady")) > dispatched + 1,
            "the other process schedules",
            DEADLINE,
        )
        resumed_at = time.time()
        old.resume()
        wait_until(lambda: old.lines("leader", "no longer leads"), "the old leader notices", DEADLINE)
        last = next_second(time.time() + 2)
        window = Window(first=first, last=last)
        wait_until(lambda: time.time() > last.timestamp(), "more slots have passed", DEADLINE)
        steady = History.once_settled(cluster, "Clock/steady", window)
        ended = old.lines("leader", "no longer leads")
        won_again = [line.at for line in old.lines("leader", " leads, term ") if line.at > resumed_at]
        until = min(won_again, default=time.time())
        return Frozen(
            window=window,
            steady=steady,
            effects=cluster.effects.read(),
            dispatched=[
                line.message
                for process in cluster.processes
                for line in process.lines("coordinator", "^dispatched Clock/steady")
            ],
            ended=ended,
            by_the_old_leader=[
                datetime.fromisoformat(line.message.split("slot ")[1]).timestamp()
                for line in old.lines("coordinator", "^dispatched")
                if resumed_at < line.at < until
            ],
            frozen_at=frozen_at,
        )


# -- 8: cost while nothing is due -------------------------------------------------------------------------------------

FEW, MANY = 10, 300
FIRST_SECONDS, IDLE_SECONDS = 2.5, 10.0
"""The first run of the reconciler in a term reads everything, so it is not counted. Then it runs every two seconds."""


def idle_cost(_: str) -> dict[int, float]:
    """The number of Redis commands, with those inside scripts, while nothing is due. Both clusters are measured at the
    same time, over several runs of the reconciler: one more in one of them is no great difference."""
    with ExitStack() as stack:
        servers = {count: stack.enter_context(RedisServer()) for count in (FEW, MANY)}
        for count, server in servers.items():
            settings = {"reconciliation_interval": 2}
            cluster = Cluster(server.url, settings, app=IDLE, variables={"E2E_TASKS": str(count)})
            stack.enter_context(cluster).start(2)
        _pass_time(FIRST_SECONDS, "the reconciler reads everything")
        before = {count: _commands(server) for count, server in servers.items()}
        _pass_time(IDLE_SECONDS, "nothing is due")
        return {count: _commands(server) - before[count] for count, server in servers.items()}


def _commands(server: RedisServer) -> float:
    with server.client() as client:
        stats = client.info("commandstats")
    return float(sum(stat["calls"] for name, stat in stats.items() if name != "cmdstat_info"))


# -- 10: traces, time zones and ways to a Redis -----------------------------------------------------------------------


def _through(topology: Callable[[], AbstractContextManager[topologies.Settings]]) -> Callable[[str], list[str]]:
    def scenario(_: str) -> list[str]:
        with topology() as settings, Cluster("", {**QUICK, **settings}, variables={"E2E_GROUPS": "Work"}) as cluster:
            process = cluster.add()
            run = cluster.trigger("Work/quick")
            cluster.await_finished(run)
            wait_until(lambda: cluster.statistics("Work/quick")["runs"], "the outcome is written", DEADLINE)
            assert topologies.PASSWORD not in process.text()
            return [one["status"] for one in cluster.statistics("Work/quick")["runs"]]

    return scenario


TOPOLOGIES = {
    topology.__name__: _through(topology)
    for topology in (topologies.acl_user_in_a_url, topologies.sentinel, topologies.cluster)
}
