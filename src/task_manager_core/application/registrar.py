"""Keeps this node and the store agreed on what exists: learns definitions, writes its own, says that it lives."""

from __future__ import annotations

import asyncio
from datetime import datetime

from task_manager_core.application.abandoned_slots import abandoned_until_now
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.definitions import Definitions
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.events import CatalogueChanged, DefinitionKept, StoreSetBack
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.observation import Presence, TaskView
from task_manager_core.domain.planning import (
    SLOTS_PER_DECISION,
    NextSlot,
    Skipped,
    SkipReason,
    first_slot,
    next_slot_after,
)
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition
from task_manager_core.ports import (
    Backend,
    Catalogue,
    Changes,
    Clock,
    Conflict,
    DefinitionWrite,
    Dispatch,
    History,
    Membership,
    Observer,
)

ANNOUNCEMENTS_PER_TTL = 3


async def changed_definition(
    schedule: Dispatch, stored: VersionedDefinition, task: TaskDefinition, view: TaskView | None, now: datetime
) -> DefinitionWrite:
    """Replace a definition whose task stands as `view` shows. Another schedule begins after now; the slots of the old
    one that nobody decided about are given up, on the record."""
    if stored.definition.schedule == task.schedule:
        return DefinitionWrite(definition=task, expected=stored.version, replan=False)
    return await _replanned(schedule, stored, task, view, now)


async def _replanned(
    schedule: Dispatch, stored: VersionedDefinition, task: TaskDefinition, view: TaskView | None, now: datetime
) -> DefinitionWrite:
    plan, decided = (None, None) if view is None else (view.next_slot, view.decided)
    skipped, now = await abandoned_until_now(schedule, stored.definition, plan, now, SkipReason.DELETED)
    following = _new_plan(task, decided, now)
    return DefinitionWrite(definition=task, expected=stored.version, replan=True, next_slot=following, skipped=skipped)


def _instead_of(view: TaskView, task: TaskDefinition, now: datetime) -> DefinitionWrite:
    """Replace a definition that this release cannot read. Of its schedule only the next slot is known: if that is due,
    it is given up on the record, for itself and for those after it that nobody here can name."""
    skipped: tuple[Skipped, ...] = ()
    if view.next_slot is not None and view.next_slot.slot <= now:
        skipped = (Skipped(first=view.next_slot.slot, last=view.next_slot.slot, count=1, reason=SkipReason.DELETED),)
    following = _new_plan(task, view.decided, now)
    return DefinitionWrite(definition=task, expected=view.version, replan=True, next_slot=following, skipped=skipped)


def _new_plan(task: TaskDefinition, decided: datetime | None, now: datetime) -> NextSlot | None:
    """After now, and after the last slot that was decided, which lies ahead when the store's clock was set back."""
    return next_slot_after(task, now if decided is None else max(now, decided))


class Registrar:
    """One tick: announce, load changes, remove and write what the code asked for, write what it declares and the store
    lacks, and what it has lost.

    A static definition is written once per life of the process, and again only if the store lost it: two versions of an
    application that run side by side do not overwrite each other for ever. A dynamic one that the store holds stays as
    it is: somebody may have changed it since the code was written.
    """

    def __init__(
        self,
        *,
        node: NodeId,
        service: str,
        backend: Backend,
        declarations: Declarations,
        definitions: Definitions,
        policy: CurrentNodePolicy,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._node = node
        self._service = service
        self._catalogue: Catalogue = backend.catalogue
        self._schedule: Dispatch = backend.dispatch
        self._history: History = backend.history
        self._attendance: Membership = backend.membership
        self._declarations = declarations
        self._pending = declarations.pending
        self._definitions = definitions
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._started_at = clock.now()
        self._written: set[TaskKey] = set()
        self._declared = 0
        """How many of the declared tasks have been looked at."""
        self._missing: set[TaskKey] = set()
        """The declared tasks that the store lacked at the last look. Of the others nothing has changed since."""
        self._presence: Presence | None = None
        self._presented = -1
        """The revision of the declarations of which `_presence` tells."""
        self._lost: dict[TaskKey, tuple[TaskDefinition, NextSlot | None]] = {}
        self._turn = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._readings = 0
        """How many readings of the store have begun."""
        self._last_reading = 0
        """Which of them is the last one whose answer is known."""
        self._announced: Presence | None = None
        self._announce_at = clock.monotonic()

    async def tick(self) -> float | None:
        # Announced before anything is written: a leader must not retire a task whose declarer it cannot see.
        await self._announce()
        await self.refresh()
        await self._announce()  # Once more if the store turned out to have lost everything, our presence too.
        await self._write_all()
        return self._policy.refresh_interval.total_seconds()

    async def flush(self, key: TaskKey) -> None:
        """Write now what the code asked for about this task: somebody asks for more."""
        if self._pending.is_pending(key):
            await self._write_all()

    async def _write_all(self) -> None:
        async with self._turn:
            if await self._remove():
                await self.refresh()
            if await self._write():
                await self.refresh()
            await self._pause_again()

    async def refresh(self) -> None:
        """Learn what changed in the store until now: from a reading that begins after this call. One reading is on its
        way at a time, so that none overtakes another and many callers at once share the next one."""
        wanted = self._readings + 1
        async with self._reading:
            if self._last_reading < wanted:
                self._readings += 1
                number = self._readings
                await self._read()
                self._last_reading = number

    async def _read(self) -> None:
        """Doubts that arise meanwhile ask for more than this reading brings: it is repeated."""
        while True:
            since, answers = self._definitions.since, self._pending.answered()
            changes = await self._catalogue.load(since)
            if self._definitions.since == since and (changes is None or self._definitions.follows(changes)):
                break
        self._definitions.loaded = True
        if changes is None:
            self._definitions.read()
        else:
            self._learn(changes)
        self._pending.read(answers)

    def _learn(self, changes: Changes) -> None:
        loss = self._definitions.lost(changes)
        if loss is None:
            self._definitions.read()
        else:
            self._written.clear()
            self._declared = 0  # All of them are looked at again.
            self._announced = None
            self._lost.update((task.key, (task, plan)) for task, plan in loss.tasks)
            self._definitions.lost_pauses |= loss.paused
            self._observer.notice(
                StoreSetBack(
                    node=self._node,
                    wiped=loss.wiped,
                    definitions=tuple(sorted(task.key for task, _ in loss.tasks)),
                    pauses=tuple(sorted(loss.paused)),
                )
            )
        unreadable = tuple(sorted(key for key in changes.unreadable if not self._definitions.is_unreadable(key)))
        changed, removed = self._definitions.apply(changes)
        if changed or removed or unreadable:
            self._observer.notice(
                CatalogueChanged(node=self._node, changed=changed, removed=removed, unreadable=unreadable)
            )

    async def _announce(self) -> None:
        presence = self._present()
        now = self._clock.monotonic()
        if presence is self._announced and now < self._announce_at:
            return
        await self._attendance.announce(presence, self._policy.presence_ttl)
        self._announced = presence
        self._announce_at = now + self._policy.presence_ttl.total_seconds() / ANNOUNCEMENTS_PER_TTL

    def _present(self) -> Presence:
        """What this node says of itself; made anew only when something was declared."""
        if self._presence is None or self._presented != self._declarations.revision:
            self._presented = self._declarations.revision
            self._presence = Presence(
                node=self._node,
                service=self._service,
                started_at=self._started_at,
                tasks=frozenset(self._declarations.declared),
                functions=self._declarations.functions,
            )
        return self._presence

    async def _remove(self) -> bool:
        removals = dict(self._pending.removals)
        if removals:
            await self._catalogue.remove(frozenset(removals))
            self._pending.removed(removals)
            for key in removals:
                self._lost.pop(key, None)
                self._definitions.lost_pauses.discard(key)
        return bool(removals)

    async def _write(self) -> bool:
        tasks = self._look_for_missing()
        for task in (*(task for task, _ in self._lost.values()), *self._additions()):
            tasks.setdefault(task.key, task)
        if tasks:
            snapshot = await self._history.snapshot(list(tasks))
            views = {view.key: view for view in snapshot.tasks}
            batch: list[DefinitionWrite] = []
            for key, task in tasks.items():
                definition = await self._definition(task, views.get(key), snapshot.now)
                batch.append(definition)
                if sum(skip.count for skip in definition.skipped) >= SLOTS_PER_DECISION:
                    # To count them took long, and a plan for a moment that has passed meanwhile is refused.
                    await self._put(batch)
                    await self._announce()
                    batch = []
            await self._put(batch)
        return bool(tasks)

    async def _pause_again(self) -> None:
        """The tasks stand again, so that their pauses can. A resumption is not written again: a task that is off by
        mistake is found sooner than one that runs against somebody's will."""
        keys = frozenset(self._definitions.lost_pauses)
        if keys:
            found = await self._schedule.pause(keys)
            self._definitions.lost_pauses -= keys
            for key in found:
                self._definitions.saw(key, paused=True)

    async def _put(self, batch: list[DefinitionWrite]) -> None:
        answers = await self._catalogue.put(batch)
        for definition, answer in zip(batch, answers, strict=True):
            self._lost.pop(definition.definition.key, None)
            if not isinstance(answer, Conflict):
                self._written.add(definition.definition.key)
                self._pending.added(definition.definition)

    def _additions(self) -> list[TaskDefinition]:
        """The dynamic tasks to be created. Those that exist are no wish any more; a static one of the name gives way,
        since nobody but code can have written it."""
        missing: list[TaskDefinition] = []
        for task in tuple(self._pending.additions.values()):
            stored, unreadable = self._definitions.get(task.key), self._definitions.is_unreadable(task.key)
            if not unreadable and (stored is None or not stored.definition.dynamic):
                missing.append(task)
                continue
            self._pending.kept(task)
            if stored is None or stored.definition != task:
                self._observer.notice(DefinitionKept(node=self._node, key=task.key))
        return missing

    def _look_for_missing(self) -> dict[TaskKey, TaskDefinition]:
        """The declared tasks that have to be written. Only those are looked at that are new, that were missing, or of
        which something has changed in the store."""
        news = self._declarations.declared_after(self._declared)
        self._declared += len(news)
        looked_at = {task.key: task for task in news}
        for key in sorted(self._missing | self._definitions.touched):
            task = self._declarations.declaration(key)
            if task is not None:
                looked_at[key] = task
        self._definitions.touched.clear()
        missing = {key: task for key, task in looked_at.items() if self._is_missing(key, task)}
        self._missing = set(missing)
        return missing

    def _is_missing(self, key: TaskKey, task: TaskDefinition) -> bool:
        stored = self._definitions.get(key)
        if stored is not None and stored.definition == task:
            self._written.add(key)  # Or somebody did for it: what another version writes from now on is newer.
        absent = stored is None and not self._definitions.is_unreadable(key)
        return absent or self._definitions.is_retired(key) or key not in self._written

    async def _definition(self, task: TaskDefinition, view: TaskView | None, now: datetime) -> DefinitionWrite:
        """A new task waits for its first slot, a lost one goes on from now, a known one is changed."""
        if task.key in self._lost:
            _, last = self._lost[task.key]
            skipped, now = await abandoned_until_now(self._schedule, task, last, now, SkipReason.STORE_LOST)
            following = last if last is not None and last.slot > now else next_slot_after(task, now)
            return DefinitionWrite(definition=task, expected=0, replan=True, next_slot=following, skipped=skipped)
        if view is not None and self._definitions.is_unreadable(task.key):
            return _instead_of(view, task, now)
        stored = self._definitions.get(task.key)
        wished = self._pending.additions.get(task.key) is task
        if stored is None or (wished and stored.definition.dynamic):
            # A wish makes no change of what somebody else has added since it was looked at.
            return DefinitionWrite(definition=task, expected=0, replan=True, next_slot=first_slot(task, now))
        if self._definitions.is_retired(task.key):
            return await _replanned(self._schedule, stored, task, view, now)
        return await changed_definition(self._schedule, stored, task, view, now)
