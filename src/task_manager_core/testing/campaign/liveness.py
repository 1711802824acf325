"""What must happen after a part of the cluster was healed, although the rest stays broken.

- A healed node leads within lease + retry interval. From then on the leader does not change.
- The leader decides every due slot one poll later.
- A run whose worker is gone is free after its claim has expired and one reconciliation.
- Every run ends, given time.
- A one-off task that is over goes (I19).

Without faults the leader decides every due slot one poll and one refresh later at all times, even if every notification
is lost.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from task_manager_core.domain.leadership import Term
from task_manager_core.domain.run import RunState
from task_manager_core.testing.campaign.checkers.concluding import OneOffRemoved
from task_manager_core.testing.campaign.model import RunModel, TaskModel
from task_manager_core.testing.campaign.monitor import Monitor
from task_manager_core.testing.campaign.violation import Violation
from task_manager_core.testing.cluster.cluster import SimCluster

SLACK = 1.6
"""Seconds for a request that was lost, and for latencies."""

LEADS_BY = 3.0
"""Seconds after the start of a cluster without faults, within which a leader has read everything."""

LATENCY = 0.5
"""Seconds for the messages of a pass without faults."""

LONGEST_PAUSE = 5.0
"""Seconds that a service whose passes failed may pause before it asks again."""

WATCH = 8.0
"""Seconds that are watched with all schedules running."""

STUCK = 25.0
"""Seconds without a beginning attempt or an ending run while runs are live. No backoff and no function of a plan takes
so long."""

LONGEST_DRAIN = 300.0


class Liveness:
    """Watches a cluster whose `core` machines have just been healed."""

    invariant = "L"

    def __init__(self, cluster: SimCluster, monitor: Monitor, core: Collection[str]) -> None:
        self._cluster = cluster
        self._monitor = monitor
        self._core = tuple(core)
        self._policy = cluster.policy
        self._healed_at = cluster.time

    async def watch(self) -> None:
        leadership, cluster = self._policy.leadership, self._cluster
        await cluster.sleep((leadership.lease + leadership.retry_interval).total_seconds() + SLACK)
        term = self._leader()
        until = cluster.time + WATCH
        while cluster.time < until:
            await cluster.sleep(0.5)
            self._same(term)
            self._schedules()
            self._claims()
        await self._drain()
        await self._one_offs_go()
        self._same(term)

    async def watch_harmless(self) -> None:
        """Without faults, a due slot is decided a poll and a refresh later at the latest, and the leader stays."""
        await self._cluster.sleep(LEADS_BY)
        term = self._leader()
        longest = self._policy.poll_interval + self._policy.refresh_interval + timedelta(seconds=LATENCY)
        while True:
            self._same(term)
            self._decided(longest)
            await self._cluster.sleep(0.5)

    def _fail(self, message: str, invariant: str | None = None) -> None:
        violation = Violation(
            invariant or self.invariant, f"{message}, {self._cluster.time - self._healed_at:g} s after healing"
        )
        self._monitor.fail(violation)
        raise violation

    def _live_term(self) -> Term | None:
        self._monitor.update_time()
        return self._monitor.model.store.live_term()

    def _leader(self) -> Term:
        term = self._live_term()
        names = {process.name for process in self._cluster.alive() if process.machine in self._core}
        if term is None or term.holder.value not in names:
            self._fail(f"none of {sorted(names)} leads, but {None if term is None else term.holder.value}")
        assert term is not None
        return term

    def _same(self, term: Term) -> None:
        now = self._live_term()
        if now != term:
            self._fail(f"the term changed from {term} to {now} without a fault")

    def _schedules(self) -> None:
        """Judged after every service has asked again."""
        poll = self._policy.poll_interval.total_seconds()
        refresh = self._policy.refresh_interval.total_seconds()
        if self._cluster.time < self._healed_at + LONGEST_PAUSE + refresh + poll + SLACK:
            return
        self._decided(timedelta(seconds=poll + SLACK))

    def _decided(self, within: timedelta) -> None:
        store = self._monitor.model.store
        latest = store.clock - within
        for key, task in store.tasks.items():
            if task.next_slot is not None and not task.retired and task.next_slot.due_at < latest:
                self._fail(f"{key}: {task.next_slot.slot} is due and undecided")

    def _claims(self) -> None:
        """A claim that its worker does not extend is reaped."""
        wait = self._policy.worker.claim_ttl + self._policy.reconciliation_interval
        if self._cluster.time < self._healed_at + LONGEST_PAUSE + wait.total_seconds() + SLACK:
            return
        store = self._monitor.model.store
        for run in store.runs():
            if run.state is RunState.RUNNING and store.at - run.heartbeat > wait + timedelta(seconds=SLACK):
                self._fail(f"the claim on {run.run.task} {run.run.id} expired and was not reaped")

    async def _drain(self) -> None:
        """Every run ends when no new ones are dispatched."""
        cluster, model = self._cluster, self._monitor.model
        keys = list(model.store.tasks)
        await cluster.on(self._core[0], lambda node: node.control.pause(keys))
        progress, since, began = -1, cluster.time, cluster.time
        while self._left() and cluster.time < began + LONGEST_DRAIN:
            await cluster.sleep(0.5)
            done = len(model.executions) + len(model.store.ended)
            if done != progress:
                progress, since = done, cluster.time
            if cluster.time - since > STUCK:
                left = ", ".join(f"{one.run.task} {one.run.slot} {one.state.value}" for one in self._left())
                self._fail(f"nothing began or ended for {STUCK:g} s, and these runs are live: {left}")

    async def _one_offs_go(self) -> None:
        """A one-off task that is over is removed a grace and two reconciliations later."""
        over, kept, store = self._over(), self._policy.keep_ended_tasks, self._monitor.model.store
        if not over or kept is None:
            return
        # A clock that was set back shows the last instant once more.
        again = max(task.definition.schedule.last_instant for task in over) - store.clock
        wait = max(again, timedelta(0)) + kept + 2 * self._policy.reconciliation_interval
        await self._cluster.sleep(wait.total_seconds() + SLACK)
        left = [task.definition.key for task in over if task in self._over()]
        if left:
            self._fail(
                f"{left} ended {wait + timedelta(seconds=SLACK)} ago and is not removed", OneOffRemoved.invariant
            )

    def _over(self) -> list[TaskModel]:
        tasks = self._monitor.model.store.tasks.values()
        return [one for one in tasks if one.definition.dynamic and one.definition.schedule.is_one_off and one.is_over]

    def _left(self) -> list[RunModel]:
        """The runs that the core can execute."""
        model = self._monitor.model
        core = [process.node for process in self._cluster.alive() if process.machine in self._core]
        return [
            one
            for one in model.store.runs()
            if any(node.duties.serves(one.run.queue) and model.declared[node.id].covers(one.run) for node in core)
        ]
