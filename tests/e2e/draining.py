"""A leader that leaves in order while a run keeps it busy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.effects import Effect
from tests.e2e.process import PATIENCE, LogLine
from tests.waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    resigned: LogLine
    won: LogLine
    own_run: list[Effect]
    slots_meanwhile: int
    exit_status: int
    runs: list[dict[str, Any]]
    retiree: int


def leader_terminated(redis_url: str) -> Retired:
    """A leader gets SIGTERM while a run keeps it busy. The run goes on until the test opens its gate, so whatever comes
    before that happened while the old leader was draining. Leases of a minute, and followers that look as seldom: a new
    leader within the test owes its term to the resignation alone."""
    settings = {"leader_heartbeat_interval": 20, "leader_retry_interval": 60, "concurrent_tasks": 1}
    with Cluster(redis_url, settings).start(3) as cluster:
        leader = cluster.leader()
        # One run keeps one process busy, so three reach all of them; then the others are let go.
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
            PATIENCE,
        )
        meanwhile = len(cluster.effects.finished("Clock/steady")) - since
        assert leader.alive
        cluster.open_gate(runs[own])
        status = leader.await_end()
        [resigned] = leader.lines("leader", "no longer leads")
        [won] = new.lines("leader", " leads, term ")
        return Retired(
            resigned=resigned,
            won=won,
            own_run=[one for one in cluster.effects.read("Work/gated") if one.run_id == own],
            slots_meanwhile=meanwhile,
            exit_status=status,
            runs=[run for run in cluster.statistics("Work/gated", new)["runs"] if run["run_id"] == own],
            retiree=leader.pid,
        )
