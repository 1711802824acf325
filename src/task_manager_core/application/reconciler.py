"""While this node leads: ends the expired claims of dead processes, and retires the tasks that no process declares."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
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
"""After an outage of the store, workers get this time to settle the attempts that ended meanwhile. A worker tries every
second."""

SUSPECTS_PER_PASS = 100

ONE_OFF_PER_PASS = 1000
"""Each pass looks at so many one-off tasks whose last instant has passed, without a request to the store."""

REMOVED_PER_PASS = 100

PAUSES_PER_PASS = 100
"""Each pass checks so many paused tasks again. If the store loses a pause, the leader writes it again."""


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
        self._store_was_away = False
        """Was the store away in the last pass? Then no worker could settle."""
        self._strays: tuple[Term | None, dict[TaskKey, datetime]] = (None, {})
        """The instant at which each stray was found, in the current term."""
        self._undeclared: tuple[int, tuple[Presence, ...], frozenset[TaskKey]] = (-1, (), frozenset())
        """The scheduled tasks that no living node declares, with the revision and the presences that they were computed
        from."""
        self._ended: tuple[Term | None, dict[TaskKey, datetime]] = (None, {})
        """The instant at which each one-off task was found to have no slot left, in the current term."""
        self._seen: tuple[Term | None, frozenset[NodeId]] = (None, frozenset())
        """The nodes whose claims need no check, and the term in which that was found."""

    async def tick(self) -> float | None:
        term = self._elector.trusted()
        if term is None:
            return None
        away, self._store_was_away = self._store_was_away, False
        try:
            if not away:
                return await self._repair(term)
            await self._diagnose()
        except (BackendUnavailable, BackendMisconfigured):
            self._store_was_away = True
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
        snapshot = await self._read_snapshot()
        tolerance = max(self._policy.poll_interval * 10, timedelta(seconds=5))
        strays: list[TaskKey] = []
        stored = (self._definitions.get(view.key) for view in snapshot.tasks)
        tasks = {one.definition.key: one.definition for one in stored if one is not None}
        for finding in diagnose(snapshot, tasks, tolerance):
            match finding:
                case Stray(key=key):
                    strays.append(key)
                    continue
                case Orphaned():
                    self._seen = (None, frozenset())  # Their claims expire by themselves. Check until they have.
                case Overdue():
                    pass  # The scheduler dispatches it.
                case _:
                    assert_never(finding)
            self._observer.notice(FindingMade(node=self._node, finding=finding))
        await self._retire(strays, snapshot.now)
        await self._remove_ended(snapshot.now)

    async def _read_snapshot(self) -> Snapshot:
        """Read all tasks in the first pass of a term, and after a node has gone. Otherwise read the suspects only, so
        that an idle pass costs the same for any number of tasks."""
        frame = await self._backend.history.snapshot(())
        living = frozenset(node.node for node in frame.nodes) | frame.unreadable
        seen_in, seen = self._seen
        if seen_in is None or seen_in != frame.term or seen - living:
            found = await self._backend.history.snapshot()
        else:
            paused = self._definitions.some_paused(PAUSES_PER_PASS)
            keys = await self._suspects(frame) | frozenset(paused)
            found = await self._backend.history.snapshot(keys) if keys else frame
        self._definitions.note_pauses(found.tasks)
        self._seen = (frame.term, living)  # Only now: a failed request has shown nothing.
        return found

    async def _suspects(self, frame: Snapshot) -> frozenset[TaskKey]:
        agenda = await self._backend.dispatch.agenda(SUSPECTS_PER_PASS)
        due = frozenset(due.key for due in agenda.due)
        return due if frame.unreadable else due | self._strays_among(frame.nodes)

    def _strays_among(self, living: tuple[Presence, ...]) -> frozenset[TaskKey]:
        """The scheduled tasks that no living node declares. Computed again only if a definition or a presence changed,
        because each presence may name every task."""
        revision, nodes, found = self._undeclared
        if revision != self._definitions.revision or nodes != living:
            found = undeclared(self._definitions.scheduled, living)
            self._undeclared = (self._definitions.revision, living, found)
        return found

    async def _retire(self, strays: list[TaskKey], now: datetime) -> None:
        """Retire the tasks that have been strays for as long as a presence lasts. Right after an outage of the store,
        or in the first pass of a new leader, some nodes have not announced themselves again."""
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

    async def _remove_ended(self, now: datetime) -> None:
        """Remove the one-off dynamic tasks whose last slot passed some time ago. The store compares: a task with a live
        run, or one that was changed, stays."""
        term, kept = self._elector.trusted(), self._policy.keep_ended_tasks
        if term is None or kept is None:
            return
        seen_in, seen = self._ended
        since = seen if seen_in == term else {}
        for one_off in self._definitions.some_over(now, ONE_OFF_PER_PASS):
            if one_off.definition.schedule.next_after(now) is None:
                since.setdefault(one_off.definition.key, now)
            else:
                since.pop(one_off.definition.key, None)
        self._ended = (term, since)
        over = list(islice((key for key, found in since.items() if now - found >= kept), REMOVED_PER_PASS))
        if not over:
            return
        stored = {key: self._definitions.get(key) for key in over}
        # Version 0 is that of no task. It repeats a removal that stopped half-way.
        versions = {key: 0 if one is None else one.version for key, one in stored.items()}
        answer = await self._backend.catalogue.remove_ended(term, versions)
        for key in over:  # A later pass finds again what the store has not removed.
            del since[key]
        if isinstance(answer, Fenced):
            self._elector.fenced(term, "remove_ended")
