"""Decides about due slots while this node leads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import takewhile

from task_manager_core.application.definitions import Definitions
from task_manager_core.application.elector import Elector
from task_manager_core.application.prepared import PreparedDecisions
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.events import GapFound, SlotsDecided
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import Agenda, SlotDecision, decide_slots
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Clock, Dispatch, Observer

COMMITS_AT_ONCE = 2
"""So many commits of prepared decisions are under way at the same time: the leader does not wait for one answer before
it sends the next."""

READ_FROM_START_EVERY = timedelta(seconds=10)
"""The leader checks due tasks whose definitions it could not read again at least this often."""

LONGEST_REST = timedelta(seconds=5)
"""The leader reads the agenda at least this often, also while it knows that nothing is due. Nothing tells it that the
store's clock was set forward, or that the store was set back to earlier next slots."""


class Scheduler:
    """One tick: read the due tasks, decide, commit under the term, notify the observer.

    Law: after a change of the definitions that the registrar has learned, the agenda is read at once; while a due task
    is undecided, after `poll_interval`; else at the next due instant, and after LONGEST_REST.

    Only changes of the definitions and decisions of the leader move a due instant: a pause and a resumption do not.
    The scheduler is also woken when this node has won a term, and when a service has reached the store again.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        dispatch: Dispatch,
        elector: Elector,
        definitions: Definitions,
        policy: CurrentNodePolicy,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._node = node
        self._dispatch = dispatch
        self._elector = elector
        self._definitions = definitions
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._prepared = PreparedDecisions(dispatch=dispatch, definitions=definitions, policy=policy, clock=clock)
        self._skip = 0
        """The agenda begins with so many tasks whose definitions this node does not know. The node skips them: they
        must not keep it from the others, and reading the agenda must not cost more because of them."""
        self._began: tuple[int, datetime] | None = None
        """The revision of the definitions, and the store's time, of the last reading that began with the first task."""
        self.on_unknown: Callable[[], None] = lambda: None

    async def tick(self) -> float | None:
        if self._elector.trusted() is None:
            await self._prepared.clear()
            return None
        await self._commit_prepared()
        term = self._elector.trusted()
        if term is None:
            return None
        agenda = await self._read_agenda(term)
        read_at = self._clock.monotonic()
        tasks = [self._definitions.at(due.key, due.version) for due in agenda.due]
        known = [(task, due) for task, due in zip(tasks, agenda.due, strict=True) if task is not None]
        for due in agenda.due:
            self._definitions.note_pause(due.key, paused=due.paused)
        skipped = self._skip_unknown(agenda, tasks)
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
        if len(agenda.due) == batches.tasks_per_commit and (kept or skipped):
            return 0.0
        return await self._prepared.prepare(agenda, read_at, self._rest(agenda, kept))

    async def _commit_prepared(self) -> None:
        """Commit the prepared decisions that are due, without waiting for one answer before the next request. This is
        safe, because the store judges each decision on its own."""
        decisions = await self._prepared.take()
        size = self._policy.batches.tasks_per_commit
        batches = iter([decisions[first : first + size] for first in range(0, len(decisions), size)])

        async def commit_in_turn() -> None:
            for batch in batches:
                await self._commit(batch)

        if decisions:
            commits = [commit_in_turn() for _ in range(COMMITS_AT_ONCE)]
            for outcome in await asyncio.gather(*commits, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome

    async def _read_agenda(self, term: Term) -> Agenda:
        """Read as many due tasks as one commit takes. The reading begins with the first task if a definition has
        changed since the last such reading, and otherwise from time to time: skipped tasks may have left the agenda."""
        revision = self._definitions.revision
        agenda = await self._dispatch.agenda(self._policy.batches.tasks_per_commit, self._skip, term)
        if self._skip and self._began is not None:
            began_with, began_at = self._began
            if began_with != revision or not began_at <= agenda.now < began_at + READ_FROM_START_EVERY:
                self._skip = 0
                agenda = await self._dispatch.agenda(self._policy.batches.tasks_per_commit, term=term)
        if not self._skip:
            self._began = revision, agenda.now
        return agenda

    def _skip_unknown(self, agenda: Agenda, tasks: list[TaskDefinition | None]) -> int:
        """Request the definitions that this node does not know. If a full agenda begins with unknown tasks, the next
        reading skips them. Returns how many tasks it will skip."""
        definitions = self._definitions
        unknown = [due for task, due in zip(tasks, agenda.due, strict=True) if task is None]
        # A definition that this release cannot read is requested again only when its version changes.
        news = [due for due in unknown if due.version > definitions.version or not definitions.is_unreadable(due.key)]
        for due in news:
            definitions.doubt(due.key, due.version)
        if news:
            self.on_unknown()
        if len(agenda.due) < self._policy.batches.tasks_per_commit:
            return 0
        skipped = sum(1 for _ in takewhile(lambda task: task is None, tasks))
        self._skip += skipped
        return skipped

    def _rest(self, agenda: Agenda, kept: list[SlotDecision]) -> float:
        """Seconds until the next due instant, after the decisions of this tick; at most LONGEST_REST. While a due task
        is undecided, at most `poll_interval` and half the grace: a follower deposes a leader that does not look."""
        instants = [agenda.now + LONGEST_REST]
        instants += [decision.next_slot.due_at for decision in kept if decision.next_slot is not None]
        if agenda.next_due is not None:
            instants.append(agenda.next_due)
        if self._skip or len(kept) < len(agenda.due) + agenda.unreadable:
            instants.append(agenda.now + min(self._policy.poll_interval, self._policy.grace / 2))
        return max((min(instants) - agenda.now).total_seconds(), 0.001)

    async def _commit(self, batch: list[SlotDecision]) -> list[SlotDecision]:
        """Commit under the term that the elector trusts at this moment. Returns the decisions that the store
        accepted."""
        term = self._elector.trusted()
        if term is None or not batch:
            return []
        answer = await self._dispatch.commit(term, batch)
        if isinstance(answer, Fenced):
            self._elector.fenced(term, "commit")
            return []
        kept = [decision for decision, accepted in zip(batch, answer, strict=True) if accepted]
        for decision in kept:
            self._definitions.remember_next_slot(decision.key, decision.version, decision.next_slot)
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
