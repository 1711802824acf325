"""Dispatches what is due while this node leads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import takewhile

from task_manager_core.application.definitions import Definitions
from task_manager_core.application.elector import Elector
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.events import GapFound, SlotsDecided
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Fenced
from task_manager_core.domain.planning import Agenda, SlotDecision, decide_slots
from task_manager_core.ports import Dispatch, Observer

LOOK_AGAIN = timedelta(seconds=10)
"""So often at least a leader looks again at due tasks whose definitions it could not read."""


class Scheduler:
    """One tick: read what is due, decide, commit under the term, notice."""

    def __init__(
        self,
        *,
        node: NodeId,
        schedule: Dispatch,
        elector: Elector,
        definitions: Definitions,
        policy: CurrentNodePolicy,
        observer: Observer,
    ) -> None:
        self._node = node
        self._schedule = schedule
        self._elector = elector
        self._definitions = definitions
        self._policy = policy
        self._observer = observer
        self._skip = 0
        """So many tasks stand first on the agenda that this node knows no definition of. It looks behind them: they
        must not crowd the others out, and a look must not grow with them."""
        self._began: tuple[int, datetime] | None = None
        """The revision of the definitions, and the instant, at which the first task was looked at last."""
        self.on_unknown: Callable[[], None] = lambda: None

    async def tick(self) -> float | None:
        if self._elector.trusted() is None:
            return None
        agenda = await self._look()
        known = [(task, due) for due in agenda.due if (task := self._definitions.at(due.key, due.version)) is not None]
        for due in agenda.due:
            self._definitions.saw(due.key, paused=due.paused)
        passed = self._pass_over_unknown(agenda)
        kept: list[SlotDecision] = []
        batch: list[SlotDecision] = []
        slots, batches = 0, self._policy.batches
        for task, due in known:
            decision = decide_slots(task, due, agenda.now)
            batch.append(decision)
            slots += decision.slots
            if slots >= batches.slots_per_commit or len(batch) == batches.tasks_per_commit:
                kept += await self._commit(batch)
                batch, slots = [], 0
                await asyncio.sleep(0)
        kept += await self._commit(batch)
        late = {due.key for task, due in known if due.due_at < agenda.now - task.catch_up.grace}
        self._report_gap([decision for decision in kept if decision.key in late], agenda.now)
        if len(agenda.due) == batches.tasks_per_commit and (kept or passed):
            return 0.0
        return self._rest(agenda, kept)

    async def _look(self) -> Agenda:
        """At so many tasks that one commit takes them. From the first one on if a definition has changed since the last
        such look, and otherwise from time to time: those that were passed over may have left the agenda."""
        revision = self._definitions.revision
        agenda = await self._schedule.agenda(self._policy.batches.tasks_per_commit, self._skip)
        if self._skip and self._began is not None:
            began_with, began_at = self._began
            if began_with != revision or not began_at <= agenda.now < began_at + LOOK_AGAIN:
                self._skip = 0
                agenda = await self._schedule.agenda(self._policy.batches.tasks_per_commit)
        if not self._skip:
            self._began = revision, agenda.now
        return agenda

    def _pass_over_unknown(self, agenda: Agenda) -> int:
        """Ask for the definitions that this node has yet to learn. If a whole look begins with tasks that it knows no
        definition of, the next one begins behind them; the answer is their number."""
        definitions = self._definitions
        unknown = [due for due in agenda.due if definitions.at(due.key, due.version) is None]
        # What this release cannot read is no news, until another version of it is written.
        news = [due for due in unknown if due.version > definitions.version or not definitions.is_unreadable(due.key)]
        for due in news:
            definitions.doubt(due.key, due.version)
        if news:
            self.on_unknown()
        if len(agenda.due) < self._policy.batches.tasks_per_commit:
            return 0
        first = takewhile(lambda due: definitions.at(due.key, due.version) is None, agenda.due)
        passed = sum(1 for _ in first)
        self._skip += passed
        return passed

    def _rest(self, agenda: Agenda, kept: list[SlotDecision]) -> float:
        """Until the next instant that anything is due, which the decisions of this tick have moved; at most a poll."""
        instants = [decision.next_slot.due_at for decision in kept if decision.next_slot is not None]
        if agenda.next_due is not None:
            instants.append(agenda.next_due)
        poll = self._policy.poll_interval
        left = (min(instants, default=agenda.now + poll) - agenda.now).total_seconds()
        return min(max(left, 0.001), poll.total_seconds())

    async def _commit(self, batch: list[SlotDecision]) -> list[SlotDecision]:
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
            self._definitions.planned(decision.key, decision.version, decision.next_slot)
            self._observer.notice(SlotsDecided(node=self._node, decision=decision))
        return kept

    def _report_gap(self, late: list[SlotDecision], now: datetime) -> None:
        if late:
            self._observer.notice(
                GapFound(
                    node=self._node,
                    since=min(decision.slot for decision in late),
                    until=now,
                    tasks=len(late),
                    dispatched=sum(len(decision.dispatch) + (decision.hold is not None) for decision in late),
                    skipped=sum(skip.count for decision in late for skip in decision.skipped),
                )
            )
