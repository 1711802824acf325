"""Announces this node, reads the definitions of the store, and writes the definitions that code declares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from task_manager_core.application.abandoned_slots import abandoned_until_now
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.definitions import Definitions, names_of
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.duties import ALL_DUTIES, Duties
from task_manager_core.domain.events import CatalogueChanged, DefinitionKept, ScheduleChanged, StoreSetBack
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
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
from task_manager_core.ports.codec import recognise

ANNOUNCEMENTS_PER_TTL = 2
"""A failed announcement is repeated at once, so one of them may be lost."""


async def changed_definition(
    dispatch: Dispatch, stored: VersionedDefinition, task: TaskDefinition, view: TaskView | None, now: datetime
) -> DefinitionWrite:
    """The write that replaces a definition; `view` shows the state of its task. A new schedule begins after now. The
    undecided slots of the old schedule are abandoned, and recorded as skipped."""
    if stored.definition.schedule == task.schedule:
        return DefinitionWrite(definition=task, expected=stored.version, replan=False)
    return await _replanned(dispatch, stored, task, view, now)


async def _replanned(
    dispatch: Dispatch, stored: VersionedDefinition, task: TaskDefinition, view: TaskView | None, now: datetime
) -> DefinitionWrite:
    next_slot, decided = (None, None) if view is None else (view.next_slot, view.decided)
    skipped, now = await abandoned_until_now(dispatch, stored.definition, next_slot, now, SkipReason.DELETED)
    following = _following_slot(task, decided, now)
    return DefinitionWrite(definition=task, expected=stored.version, replan=True, next_slot=following, skipped=skipped)


def _replacing_unreadable(view: TaskView, task: TaskDefinition, now: datetime) -> DefinitionWrite:
    """The write that replaces a definition which this release cannot read. Of its schedule only the next slot is known.
    If that slot is due, it is recorded as skipped, in place of the later slots too, which are unknown here."""
    skipped: tuple[Skipped, ...] = ()
    if view.next_slot is not None and view.next_slot.slot <= now:
        skipped = (Skipped(first=view.next_slot.slot, last=view.next_slot.slot, count=1, reason=SkipReason.DELETED),)
    following = _following_slot(task, view.decided, now)
    return DefinitionWrite(definition=task, expected=view.version, replan=True, next_slot=following, skipped=skipped)


def _following_slot(task: TaskDefinition, decided: datetime | None, now: datetime) -> NextSlot | None:
    """The next slot after now, and after the last decided slot: that one lies in the future if the store's clock was
    set back."""
    return next_slot_after(task, now if decided is None else max(now, decided))


class Registrar:
    """One tick: announce this node, load changes, write the pending removals and additions, and write the declared
    tasks that the store lacks or has lost.

    A process writes a static definition once, and again only if the store lost it: two versions of an application that
    run side by side do not overwrite each other for ever. A dynamic definition that the store holds stays as it is,
    unless code asks to replace it: a caller may have changed it since the code was written.
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
        duties: Duties = ALL_DUTIES,
    ) -> None:
        self._node = node
        self._service = service
        self._duties = duties
        self._catalogue: Catalogue = backend.catalogue
        self._dispatch: Dispatch = backend.dispatch
        self._history: History = backend.history
        self._membership: Membership = backend.membership
        self._declarations = declarations
        self._pending = declarations.pending
        self._definitions = definitions
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._started_at = clock.now()
        self._written: set[TaskKey] = set()
        self._declared = 0
        """How many of the declared tasks have been compared with the store."""
        self._recognised = 0
        """How many of the declared tasks are recognised in what the store answers."""
        self._missing: set[TaskKey] = set()
        """The declared tasks that the store lacked in the last comparison. The others have not changed since."""
        self._presence: Presence | None = None
        self._presented = -1
        """The revision of the declarations that `_presence` shows."""
        self._lost: dict[TaskKey, tuple[TaskDefinition, NextSlot | None]] = {}
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._readings = 0
        """How many readings of the store have begun."""
        self._last_reading = 0
        """The number of the last reading whose answer is known."""
        self._announced: Presence | None = None
        self._announce_at = clock.monotonic()
        self.overran: Callable[[], frozenset[RunId]] = frozenset[RunId]
        """The runs of this node that have passed their timeouts and cannot be stopped."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when this node has learned a change of the definitions, which may have moved due instants."""

    async def tick(self) -> float | None:
        # First of all: the leader must not retire a task because it does not see the node that declares it.
        await self._announce()
        await self.refresh()
        await self._announce()  # Once more, if the store has lost everything, this presence too.
        await self._write_all()
        return self._policy.refresh_interval.total_seconds()

    @property
    def announced(self) -> Presence | None:
        """The last presence that this node has announced."""
        return self._announced

    async def flush(self, key: TaskKey) -> None:
        """Write the pending change of this task now, before another change of it."""
        if self._pending.is_pending(key):
            await self._write_all()

    async def _write_all(self) -> None:
        async with self._writing:
            if await self._remove():
                await self.refresh()
            if await self._write():
                await self.refresh()
            await self._pause_again()

    async def refresh(self) -> None:
        """Learn what has changed in the store up to this call, from a reading that begins after it. Only one reading is
        under way at a time: no reading overtakes another, and many callers share the next one."""
        wanted = self._readings + 1
        async with self._reading:
            if self._last_reading < wanted:
                self._readings += 1
                number = self._readings
                await self._read()
                self._last_reading = number

    async def _read(self) -> None:
        """Load changes. Repeat if the known version changed in flight (the reply may be stale) or a version was doubted
        meanwhile (the request started too late)."""
        for task in self._declarations.declared_after(self._recognised):
            recognise(task)
            self._recognised += 1
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
            self._declared = 0  # Compare all of them again.
            self._announced = None
            self._lost.update((task.key, (task, next_slot)) for task, next_slot in loss.tasks)
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
        self.on_change()

    async def _announce(self) -> None:
        presence = self._present()
        now = self._clock.monotonic()
        if presence is self._announced and now < self._announce_at:
            return
        await self._membership.announce(presence, self._policy.presence_ttl)
        self._announced = presence
        self._announce_at = now + self._policy.presence_ttl.total_seconds() / ANNOUNCEMENTS_PER_TTL

    def _present(self) -> Presence:
        """The presence of this node. Built again only after a declaration, and when a run overran or returned."""
        overran, known = self.overran(), self._presence
        if known is None or self._presented != self._declarations.revision or known.overran != overran:
            self._presented = self._declarations.revision
            known = self._presence = Presence(
                node=self._node,
                service=self._service,
                started_at=self._started_at,
                tasks=frozenset(self._declarations.declared),
                functions=self._declarations.functions,
                overran=overran,
                duties=self._duties,
            )
        return known

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
        tasks = self._missing_tasks()
        for task in (*(task for task, _ in self._lost.values()), *self._additions()):
            tasks.setdefault(task.key, task)
        if tasks:
            views, now = await self._views([key for key in tasks if self._is_stored(key)])
            batch: list[DefinitionWrite] = []
            for key, task in tasks.items():
                definition = await self._definition(task, views.get(key), now)
                batch.append(definition)
                if sum(skip.count for skip in definition.skipped) >= SLOTS_PER_DECISION:
                    # Counting took long, and the store refuses a next slot that has passed meanwhile.
                    await self._put(batch)
                    await self._announce()
                    batch = []
            await self._put(batch)
        return bool(tasks)

    def _is_stored(self, key: TaskKey) -> bool:
        return self._definitions.get(key) is not None or self._definitions.is_unreadable(key)

    async def _views(self, keys: list[TaskKey]) -> tuple[dict[TaskKey, TaskView], datetime]:
        """The state of these tasks, and the store's time. A new task has no state: only the time is read for it."""
        if not keys:
            return {}, (await self._dispatch.agenda(0)).now
        snapshot = await self._history.snapshot(keys)
        return {view.key: view for view in snapshot.tasks}, snapshot.now

    async def _pause_again(self) -> None:
        """Write the lost pauses again, once their tasks are in the store. A lost resumption is not written again: users
        notice a task that is paused by mistake sooner than a task that runs although they paused it."""
        keys = frozenset(self._definitions.lost_pauses)
        if keys:
            found = await self._dispatch.pause(keys)
            self._definitions.lost_pauses -= keys
            for key in found:
                self._definitions.note_pause(key, paused=True)

    async def _put(self, batch: list[DefinitionWrite]) -> None:
        replaced = [self._definitions.get(definition.definition.key) for definition in batch]
        answers = await self._catalogue.put(batch)
        for definition, stored, answer in zip(batch, replaced, answers, strict=True):
            self._lost.pop(definition.definition.key, None)
            if not isinstance(answer, Conflict):
                self._written.add(definition.definition.key)
                self._pending.added(definition.definition)
                self._notice_change(stored, definition.definition)

    def _notice_change(self, stored: VersionedDefinition | None, task: TaskDefinition) -> None:
        if stored is not None and stored.definition.schedule != task.schedule:
            old = stored.definition.schedule
            self._observer.notice(ScheduleChanged(node=self._node, key=task.key, old=old, new=task.schedule))

    def _additions(self) -> list[TaskDefinition]:
        """The pending dynamic tasks that have to be written. An addition is dropped if the store holds a dynamic task
        of its name which code did not ask to replace. It replaces a static task: only code can have written that."""
        missing: list[TaskDefinition] = []
        for task in tuple(self._pending.additions.values()):
            stored, unreadable = self._definitions.get(task.key), self._definitions.is_unreadable(task.key)
            if self._pending.replaces(task):
                missing.append(task)
                continue
            if not unreadable and (stored is None or not stored.definition.dynamic):
                missing.append(task)
                continue
            self._pending.kept(task)
            if stored is None or stored.definition != task:
                self._observer.notice(DefinitionKept(node=self._node, key=task.key))
        return missing

    def _missing_tasks(self) -> dict[TaskKey, TaskDefinition]:
        """The declared tasks that have to be written. Only new tasks, missing tasks, and tasks that have changed in the
        store are compared."""
        new = self._declarations.declared_after(self._declared)
        self._declared += len(new)
        compared = {task.key: task for task in new}
        for key in sorted(self._missing | self._definitions.touched, key=names_of):
            task = self._declarations.declaration(key)
            if task is not None:
                compared[key] = task
        self._definitions.touched.clear()
        missing = {key: task for key, task in compared.items() if self._is_missing(key, task)}
        self._missing = set(missing)
        return missing

    def _is_missing(self, key: TaskKey, task: TaskDefinition) -> bool:
        stored = self._definitions.get(key)
        if stored is not None and stored.definition == task:
            self._written.add(key)  # This process or another one wrote it. A different definition is newer from now on.
        absent = stored is None and not self._definitions.is_unreadable(key)
        return absent or self._definitions.is_retired(key) or key not in self._written

    async def _definition(self, task: TaskDefinition, view: TaskView | None, now: datetime) -> DefinitionWrite:
        """The write for a task: a new task gets its first slot, a lost one goes on from now, a known one is changed."""
        if task.key in self._lost:
            _, last = self._lost[task.key]
            skipped, now = await abandoned_until_now(self._dispatch, task, last, now, SkipReason.STORE_LOST)
            following = last if last is not None and last.slot > now else next_slot_after(task, now)
            return DefinitionWrite(definition=task, expected=0, replan=True, next_slot=following, skipped=skipped)
        if view is not None and self._definitions.is_unreadable(task.key):
            return _replacing_unreadable(view, task, now)
        stored = self._definitions.get(task.key)
        is_addition = self._pending.additions.get(task.key) is task and not self._pending.replaces(task)
        if stored is None or (is_addition and stored.definition.dynamic):
            # An addition does not change a task that another process has added meanwhile.
            return DefinitionWrite(definition=task, expected=0, replan=True, next_slot=first_slot(task, now))
        if self._definitions.is_retired(task.key):
            return await _replanned(self._dispatch, stored, task, view, now)
        return await changed_definition(self._dispatch, stored, task, view, now)
