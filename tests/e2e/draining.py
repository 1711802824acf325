"""Scenarios in which a leader gets SIGTERM while a run, or an open connection, keeps it busy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.effects import Effect
from tests.e2e.process import DEADLINE, LogLine
from tests.waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderTerminated:
    resigned: LogLine
    won: LogLine
    own_run: list[Effect]
    slots_meanwhile: int
    exit_status: int
    runs: list[dict[str, Any]]
    old_leader: int


def leader_terminated(redis_url: str) -> LeaderTerminated:
    """A leader gets SIGTERM while a run keeps it busy. The run goes on until the test opens its gate, so everything
    before that happens while the old leader drains. Leases last a minute, and followers bid once a minute: a new
    leader within the test can only follow from the resignation."""
    settings = {"leader_heartbeat_interval": 20, "leader_retry_interval": 60, "concurrent_tasks": 1}
    with Cluster(redis_url, settings).start(3) as cluster:
        leader = cluster.leader()
        # One run keeps one process busy, so each of the three processes gets one. Then the other two runs may end.
        runs = {cluster.trigger("Work/gated", gate=f"gate-{number}"): f"gate-{number}" for number in range(3)}
        holders = {cluster.await_started(run): run for run in runs}
        own = holders.pop(leader.pid)
        for run in holders.values():
            cluster.open_gate(runs[run])
        leader.terminate()
        others = [process for process in cluster.processes if process is not leader]
        new = cluster.leader(among=others)
        since = len(cluster.effects.finished("Clock/steady"))
        wait_until(
            lambda: len(cluster.effects.finished("Clock/steady")) >= since + 2,
            "the new leader schedules while the old one drains",
            DEADLINE,
        )
        meanwhile = len(cluster.effects.finished("Clock/steady")) - since
        assert leader.alive
        cluster.open_gate(runs[own])
        status = leader.await_end()
        [resigned] = leader.lines("leader", "no longer leads")
        [won] = new.lines("leader", " leads, term ")
        return LeaderTerminated(
            resigned=resigned,
            won=won,
            own_run=[one for one in cluster.effects.read("Work/gated") if one.run_id == own],
            slots_meanwhile=meanwhile,
            exit_status=status,
            runs=[run for run in cluster.statistics("Work/gated", new)["runs"] if run["run_id"] == own],
            old_leader=leader.pid,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderWithConnection:
    resigned: LogLine
    won: LogLine
    stopped: LogLine
    own_run: list[Effect]
    own_record: list[dict[str, Any]]
    begun_by_leaver: list[Effect]
    slots_meanwhile: int
    served_meanwhile: list[str]
    exit_status: int
    disconnected_at: float
    leaver: int


def leader_terminated_with_an_open_connection(redis_url: str) -> LeaderWithConnection:
    """A leader gets SIGTERM while a client reads an answer that has no end. uvicorn waits for the client, and ends the
    lifespan only when the client has disconnected. Until then the other process must lead and execute."""
    settings = {"leader_heartbeat_interval": 20, "leader_retry_interval": 60, "concurrent_tasks": 1}
    with Cluster(redis_url, settings).start(2) as cluster:
        leader = cluster.leader()
        [other] = cluster.followers()
        runs = {cluster.trigger("Work/gated", gate=f"gate-{number}"): f"gate-{number}" for number in range(2)}
        holders = {cluster.await_started(run): run for run in runs}
        own = holders[leader.pid]
        cluster.open_gate(runs[holders[other.pid]])
        with leader.stream() as lines:
            assert next(lines) == "tick"
            leader.terminate()
            cluster.leader(among=[other])
            cluster.open_gate(runs[own])
            cluster.await_finished(own)
            wait_until(
                lambda: any(run["run_id"] == own for run in cluster.statistics("Work/gated", other)["runs"]),
                "the outcome of the run is written before the lifespan ends",
                DEADLINE,
            )
            # The old leader has capacity again: if its worker still claimed, it would take every second of these runs.
            since = time.monotonic()
            wait_until(
                lambda: len([one for one in cluster.effects.finished("Clock/steady") if one.monotonic > since]) >= 3,
                "the new leader's slots are executed while the old one still serves",
                DEADLINE,
            )
            slots = [one for one in cluster.effects.started("Clock/steady") if one.monotonic > since]
            served = [next(lines) for _ in range(2)]
            assert leader.alive
            disconnected_at = time.time()
        status = leader.await_end()
        [resigned] = leader.lines("leader", "no longer leads")
        [won] = other.lines("leader", " leads, term ")
        [stopped] = leader.lines("runner", " stopped")
        return LeaderWithConnection(
            resigned=resigned,
            won=won,
            stopped=stopped,
            own_run=[one for one in cluster.effects.read("Work/gated") if one.run_id == own],
            own_record=[run for run in cluster.statistics("Work/gated", other)["runs"] if run["run_id"] == own],
            begun_by_leaver=[
                one for one in cluster.effects.started() if one.pid == leader.pid and one.wall > resigned.at
            ],
            slots_meanwhile=len(slots),
            served_meanwhile=served,
            exit_status=status,
            disconnected_at=disconnected_at,
            leaver=leader.pid,
        )
