"""Repairs, while this node leads, what processes left behind when they died or changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from task_manager_core.application.definitions import Definitions
from task_manager_core.application.elector import Elector
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.errors import BackendMisconfigured, BackendUnavailable
from task_manager_core.domain.events import ClaimReaped, FindingMade
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.observation import Presence, Snapshot
from task_manager_core.domain.reconciliation import Orphaned, Overdue, Stray, diagnose, undeclared
from task_manager_core.ports import Backend, Observer

RECOVERY = timedelta(seconds=2)
"""After an outage of the store, workers get so long to settle what ended meanwhile: a worker tries every second."""

SUSPECTS_PER_LOOK = 100

PAUSES_PER_LOOK = 100
"""So many tasks that were paused are looked at again. If the store loses them, the leader writes their pauses again."""


class Reconciler:
    """One tick: reap expired claims, diagnose, retire strays, report the rest."""

    def __init__(
        self,
        *,
        node: NodeId,
        backend: Backend,
        elector: Elector,
        definitions: Definitions,
        policy: CurrentNodePolicy,
        observer: Observer,
    ) -> None:
        self._node = node
        self._backend = backend
        self._elector = elector
        self._definitions = definitions
        self._policy = policy
        self._observer = observer
        self._away = False
        """Was the store away in the last pass? Then its workers could not settle either."""
        self._strays: tuple[Term | None, dict[TaskKey, datetime]] = (None, {})
        """Since when each stray has been one, in the present term."""
        self._undeclared: tuple[int, tuple[Presence, ...], frozenset[TaskKey]] = (-1, (), frozenset())
        """The scheduled tasks that no living node declares, and of what that was found."""
        self._seen: tuple[Term | None, frozenset[NodeId]] = (None, frozenset())
        """The nodes whose claims need no look, and the term in which that was found."""

    async def tick(self) -> float | None:
        term = self._elector.trusted()
        if term is None:
            return None
        away, self._away = self._away, False
        try:
            if not away:
                return await self._repair(term)
            await self._diagnose()
        except (BackendUnavailable, BackendMisconfigured):
            self._away = True
            raise
        return RECOVERY.total_seconds()

    async def _repair(self, term: Term) -> float | None:
        limit = self._policy.batches.reaped_claims
        reaped = await self._backend.queue.reap(term, self._policy.worker.claim_ttl, limit)
        if isinstance(reaped, Fenced):
            self._elector.fenced(term, "reap")
            return None
        for claim in reaped:
            self._observer.notice(ClaimReaped(node=self._node, claim=claim))
        if len(reaped) == limit:
            return 0.0
        await self._diagnose()
        return self._policy.reconciliation_interval.total_seconds()

    async def _diagnose(self) -> None:
        snapshot = await self._look()
        patience = max(self._policy.poll_interval * 10, timedelta(seconds=5))
        strays: list[TaskKey] = []
        stored = (self._definitions.get(view.key) for view in snapshot.tasks)
        tasks = {one.definition.key: one.definition for one in stored if one is not None}
        for finding in diagnose(snapshot, tasks, patience):
            match finding:
                case Stray(key=key):
                    strays.append(key)
                    continue
                case Orphaned():
                    self._seen = (None, frozenset())  # They end by themselves; look until they have.
                case Overdue():
                    pass  # The scheduler is behind it.
                case _:
                    assert_never(finding)
            self._observer.notice(FindingMade(node=self._node, finding=finding))
        await self._retire(strays, snapshot.now)

    async def _look(self) -> Snapshot:
        """At all tasks with the first look of a term and when a node has gone; otherwise at the suspects, so that an
        idle pass costs the same whatever the number of tasks."""
        frame = await self._backend.history.snapshot(())
        living = frozenset(node.node for node in frame.nodes) | frame.unreadable
        seen_in, seen = self._seen
        if seen_in is None or seen_in != frame.term or seen - living:
            found = await self._backend.history.snapshot()
        else:
            paused = self._definitions.some_paused(PAUSES_PER_LOOK)
            keys = await self._suspects(frame) | frozenset(paused)
            found = await self._backend.history.snapshot(keys) if keys else frame
        self._definitions.saw_all(found.tasks)
        self._seen = (frame.term, living)  # Only now: a look that failed has seen nothing.
        return found

    async def _suspects(self, frame: Snapshot) -> frozenset[TaskKey]:
        agenda = await self._backend.dispatch.agenda(SUSPECTS_PER_LOOK)
        due = frozenset(due.key for due in agenda.due)
        return due if frame.unreadable else due | self._strays_among(frame.nodes)

    def _strays_among(self, living: tuple[Presence, ...]) -> frozenset[TaskKey]:
        """Looked for only when a definition changed or a node did: each of them may name as many as there are."""
        revision, nodes, found = self._undeclared
        if revision != self._definitions.revision or nodes != living:
            found = undeclared(self._definitions.scheduled, living)
            self._undeclared = (self._definitions.revision, living, found)
        return found

    async def _retire(self, strays: list[TaskKey], now: datetime) -> None:
        """Retire what has been a stray for as long as a presence lasts: right after an outage of the store not
        everybody has announced himself again, and a change of hands comes with a first look."""
        term = self._elector.trusted()
        seen_in, seen = self._strays
        since = {key: min(seen[key], now) if key in seen and term == seen_in else now for key in strays}
        self._strays = (term, since)
        over = [key for key in strays if now - since[key] >= self._policy.presence_ttl]
        if not over or term is None:
            return
        answer = await self._backend.catalogue.retire(term, over)
        if isinstance(answer, Fenced):
            self._elector.fenced(term, "retire")
            return
        for key in over:
            self._observer.notice(FindingMade(node=self._node, finding=Stray(key=key)))
