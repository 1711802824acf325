"""Dispatches what is due while this node leads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from task_manager_core.application.definitions import Definitions
from task_manager_core.application.elector import Elector
from task_manager_core.domain.events import GapFound, SlotsDecided
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Fenced
from task_manager_core.domain.planning import Advance, Agenda, advance
from task_manager_core.domain.policy import NodePolicy
from task_manager_core.ports import Observer, Schedule

TASKS_PER_COMMIT = 100
"""A commit of this many decisions keeps a store busy for a few milliseconds."""

SLOTS_PER_COMMIT = 1000
"""After a long outage one decision accounts for many slots; a commit then carries fewer decisions."""


class Scheduler:
    """One tick: read what is due, decide, commit under the term, notice."""

    def __init__(
        self,
        *,
        node: NodeId,
        schedule: Schedule,
        elector: Elector,
        definitions: Definitions,
        policy: NodePolicy,
        observer: Observer,
    ) -> None:
        self._node = node
        self._schedule = schedule
        self._elector = elector
        self._definitions = definitions
        self._policy = policy
        self._observer = observer
        self._unknown = 0
        """Due tasks at a version that this node has yet to learn. They must not crowd the others out."""
        self.on_unknown: Callable[[], None] = lambda: None

    async def tick(self) -> float | None:
        if self._elector.trusted() is None:
            return None
        limit = TASKS_PER_COMMIT + self._unknown
        agenda = await self._schedule.agenda(limit)
        known = [(task, due) for due in agenda.due if (task := self._definitions.at(due.key, due.version)) is not None]
        for due in agenda.due:
            self._definitions.saw(due.key, paused=due.paused)
        unknown, self._unknown = self._unknown, len(agenda.due) - len(known)
        if self._unknown:
            for due in agenda.due:
                self._definitions.doubt(due.key, due.version)
            self.on_unknown()
        kept: list[Advance] = []
        batch: list[Advance] = []
        slots = 0
        for task, due in known:
            decision = advance(task, due, agenda.now)
            batch.append(decision)
            slots += decision.slots
            if slots >= SLOTS_PER_COMMIT or len(batch) == TASKS_PER_COMMIT:
                kept += await self._commit(batch)
                batch, slots = [], 0
                await asyncio.sleep(0)
        kept += await self._commit(batch)
        late = {due.key for task, due in known if due.due_at < agenda.now - task.catch_up.grace}
        self._report_gap([decision for decision in kept if decision.key in late], agenda.now)
        if len(agenda.due) == limit and (kept or self._unknown > unknown):
            return 0.0
        return self._rest(agenda, kept)

    def _rest(self, agenda: Agenda, kept: list[Advance]) -> float:
        """Until the next instant that anything is due, which the decisions of this tick have moved; at most a poll."""
        instants = [decision.plan.due_at for decision in kept if decision.plan is not None]
        if agenda.next_due is not None:
            instants.append(agenda.next_due)
        poll = self._policy.poll_interval
        left = (min(instants, default=agenda.now + poll) - agenda.now).total_seconds()
        return min(max(left, 0.001), poll.total_seconds())

    async def _commit(self, batch: list[Advance]) -> list[Advance]:
        """Commit under the term as it is trusted at this moment; the answer holds what the store kept."""
        term = self._elector.trusted()
        if term is None or not batch:
            return []
        answer = await self._schedule.commit(term, batch)
        if isinstance(answer, Fenced):
            self._elector.fenced(term, "commit")
            return []
        kept = [decision for decision, accepted in zip(batch, answer, strict=True) if accepted]
        for decision in kept:
            self._definitions.planned(decision.key, decision.version, decision.plan)
            self._observer.notice(SlotsDecided(node=self._node, advance=decision))
        return kept

    def _report_gap(self, late: list[Advance], now: datetime) -> None:
        if late:
            self._observer.notice(
                GapFound(
                    node=self._node,
                    since=min(decision.slot for decision in late),
                    until=now,
                    tasks=len(late),
                    dispatched=sum(len(decision.fire) + (decision.hold is not None) for decision in late),
                    skipped=sum(skip.count for decision in late for skip in decision.skipped),
                )
            )
