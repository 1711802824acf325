"""What must happen once a part of the cluster is healed, although the rest stays broken.

A leader within lease + retry interval; from then on every due slot decided one poll later and no change of hands; a run
whose worker is gone free after its claim and one reconciliation; every run ended, given time.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from task_manager_core.domain.leadership import Term
from task_manager_core.domain.run import RunState
from task_manager_core.testing.campaign.checkers import Violation
from task_manager_core.testing.campaign.model import RunModel
from task_manager_core.testing.cluster.cluster import SimCluster

SLACK = 1.6
"""Seconds: a request that was on its way to nowhere, and latencies."""

LOOP_PATIENCE = 5.0
"""A service whose passes failed may rest for so long before it asks again."""

WATCH = 8.0
"""Seconds of ordinary life that are watched, with all schedules going on."""

STUCK = 25.0
"""Seconds without an attempt or an end, while runs live: no backoff and no function of a plan takes so long."""

LONGEST_DRAIN = 300.0


class Liveness:
    """Watches a world whose `core` machines have just been healed."""

    invariant = "L"

    def __init__(self, world: SimCluster, core: Collection[str]) -> None:
        self._world = world
        self._core = tuple(core)
        self._policy = world.policy_of(self._core[0])
        self._healed_at = world.time

    async def watch(self) -> None:
        leadership, world = self._policy.leadership, self._world
        await world.sleep((leadership.lease + leadership.retry_interval).total_seconds() + SLACK)
        term = self._leader()
        until = world.time + WATCH
        while world.time < until:
            await world.sleep(0.5)
            self._same(term)
            self._schedules()
            self._claims()
        await self._drain()
        self._same(term)

    def _fail(self, message: str) -> None:
        violation = Violation(self.invariant, f"{message}, {self._world.time - self._healed_at:g} s after healing")
        self._world.fail(violation)
        raise violation

    def _reigning(self) -> Term | None:
        self._world.look_at_the_clock()
        return self._world.model.store.reigning()

    def _leader(self) -> Term:
        term = self._reigning()
        names = {life.name for life in self._world.alive() if life.machine in self._core}
        if term is None or term.holder.value not in names:
            self._fail(f"nobody of {sorted(names)} leads, but {None if term is None else term.holder.value}")
        assert term is not None
        return term

    def _same(self, term: Term) -> None:
        now = self._reigning()
        if now != term:
            self._fail(f"the term changed from {term} to {now} without a fault")

    def _schedules(self) -> None:
        """Judged from the moment on when every service has asked again."""
        poll = self._policy.poll_interval.total_seconds()
        refresh = self._policy.refresh_interval.total_seconds()
        if self._world.time < self._healed_at + LOOP_PATIENCE + refresh + poll + SLACK:
            return
        books = self._world.model.store
        latest = books.clock - timedelta(seconds=poll + SLACK)
        for key, account in books.accounts.items():
            if account.plan is not None and not account.retired and account.plan.due_at < latest:
                self._fail(f"{key}: {account.plan.slot} is due and undecided")

    def _claims(self) -> None:
        """A claim that nobody extends is reaped."""
        wait = self._policy.worker.claim_ttl + self._policy.reconciliation_interval
        if self._world.time < self._healed_at + LOOP_PATIENCE + wait.total_seconds() + SLACK:
            return
        books = self._world.model.store
        for standing in books.standings():
            if standing.state is RunState.RUNNING and books.at - standing.beat > wait + timedelta(seconds=SLACK):
                self._fail(f"the claim on {standing.run.task} {standing.run.id} ended and nobody put it back")

    async def _drain(self) -> None:
        """Every run ends when no new ones come."""
        world = self._world
        keys = list(world.model.store.accounts)
        await world.on(self._core[0], lambda node: node.control.pause(keys))
        progress, since, began = -1, world.time, world.time
        while self._left() and world.time < began + LONGEST_DRAIN:
            await world.sleep(0.5)
            done = len(world.model.executions) + len(world.model.store.ended)
            if done != progress:
                progress, since = done, world.time
            if world.time - since > STUCK:
                left = ", ".join(f"{one.run.task} {one.run.slot} {one.state.value}" for one in self._left())
                self._fail(f"nothing began or ended for {STUCK:g} s, and these runs live: {left}")

    def _left(self) -> list[RunModel]:
        """The runs that the core can execute."""
        ledger = self._world.model
        core = [ledger.known[life.node.id] for life in self._world.alive() if life.machine in self._core]
        return [one for one in ledger.store.standings() if any(known.covers(one.run) for known in core)]
