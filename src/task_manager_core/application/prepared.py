"""Decisions about a burst of slots, made before the slots are due."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from task_manager_core.application.definitions import Definitions
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.planning import Agenda, DueTask, SlotDecision, decide_slots
from task_manager_core.ports import Clock, Dispatch

LEAD = timedelta(seconds=2)
"""The leader begins to prepare a burst so long before its instant."""

MOST_PREPARED = 10_000
"""The leader prepares so many decisions for one instant, which take about 20 MB until then. It makes the others when
they are due."""

PAGES = 5
"""So many batches of tasks are read in one request. Between two requests other work of the process gets its turn."""

LATEST = 0.5
"""Seconds. A decision that was not committed so long after its instant is made again: it may depend on the time by now,
as that of a task with a deadline for its start."""

TIMER = 0.001
"""Seconds by which a timer may be early. The store refuses a decision about a slot that is not due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Decisions for one instant, which comes at the local monotonic instant `at`. They rest on the definitions of a
    revision."""

    at: float
    revision: int
    decisions: list[SlotDecision]


class PreparedDecisions:
    """Law: a prepared decision is the one that the scheduler would make at its instant if nothing changed until then.

    If something has changed (a version, a pause, a live run, a retry), the store refuses the decision, and the
    scheduler decides again.
    """

    def __init__(
        self, *, dispatch: Dispatch, definitions: Definitions, policy: CurrentNodePolicy, clock: Clock
    ) -> None:
        self._dispatch = dispatch
        self._definitions = definitions
        self._policy = policy
        self._clock = clock
        self._prepared: Prepared | None = None

    async def clear(self) -> None:
        if self._prepared is not None:
            self._prepared = None
            await self._dispatch.anticipate(())

    async def take(self) -> list[SlotDecision]:
        """The decisions whose instant has come. They are handed out once."""
        prepared, now = self._prepared, self._clock.monotonic()
        if prepared is None:
            return []
        if prepared.revision != self._definitions.revision or now >= prepared.at + LATEST:
            await self.clear()
            return []
        if now < prepared.at:
            return []
        self._prepared = None
        return prepared.decisions

    async def prepare(self, agenda: Agenda, read_at: float, rest: float) -> float:
        """Prepare the burst that comes next after this reading of the agenda, if one comes soon.

        The scheduler read the agenda at the local monotonic instant `read_at`, and could rest for `rest` seconds.
        Returns how long it rests, so that it ticks again at the instant of the burst or to prepare it.
        """
        if agenda.next_due is None or agenda.upcoming <= self._policy.batches.tasks_per_commit:
            return rest
        due_in = (agenda.next_due - agenda.now).total_seconds()
        if due_in > LEAD.total_seconds():
            return min(rest, due_in - LEAD.total_seconds())
        at, revision = read_at + due_in + TIMER, self._definitions.revision
        if self._prepared is None:
            decisions = await self._decide(agenda, agenda.next_due, at)
            self._prepared = Prepared(at=at, revision=revision, decisions=decisions)
        return rest if rest < due_in else max(at - self._clock.monotonic(), 0.0)

    async def _decide(self, agenda: Agenda, due_at: datetime, until: float) -> list[SlotDecision]:
        decisions: list[SlotDecision] = []
        batch = self._policy.batches.tasks_per_commit
        page, skip = PAGES * batch, 0
        while skip < MOST_PREPARED and self._clock.monotonic() < until:
            found = await self._dispatch.agenda(page, skip, ahead=due_at - agenda.now)
            for first in range(0, len(found.due), batch):
                made = list(self._made(found.due[first : first + batch], due_at))
                await self._dispatch.anticipate(made)
                await asyncio.sleep(0)
                decisions += made
            if len(found.due) < page:
                break
            skip += page
        return decisions

    def _made(self, tasks: Sequence[DueTask], due_at: datetime) -> Iterator[SlotDecision]:
        for due in tasks:
            task = self._definitions.at(due.key, due.version)
            if task is not None and due.due_at == due_at:
                decision = decide_slots(task, due, due_at)
                # Other decisions depend on more than the store compares.
                if len(decision.dispatch) == decision.slots == 1:
                    yield decision
