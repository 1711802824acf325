"""The catalogue in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.run import AttemptRecord
from task_manager_core.domain.task import VersionedDefinition
from task_manager_core.ports import Catalogue, Changes, Conflict, DefinitionWrite
from task_manager_memory.state import State, TaskEntry

SKIPS_KEPT = 100


class MemoryCatalogue(Catalogue):
    def __init__(self, state: State) -> None:
        self._state = state

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        return tuple(self._put(definition) for definition in definitions)

    def _put(self, definition: DefinitionWrite) -> int | Conflict:
        state, task = self._state, definition.definition
        entry = state.entries.get(task.key)
        if entry is not None and entry.task == task and not entry.retired:
            return entry.version
        if definition.expected != (0 if entry is None else entry.version):
            return Conflict(0 if entry is None else entry.version)
        skipped = definition.skipped
        if entry is not None and skipped and (entry.next_slot is None or entry.next_slot.slot != skipped[0].first):
            return Conflict(entry.version)
        if entry is not None and definition.replan and definition.next_slot:
            passed = state.now() if entry.decided is None else max(state.now(), entry.decided)
            if definition.next_slot.slot <= passed:
                return Conflict(entry.version)
        version = self._next_version(task.key)
        if entry is None:
            entry = state.entries[task.key] = TaskEntry(
                task=task,
                version=version,
                next_slot=definition.next_slot,
                records=deque[AttemptRecord](maxlen=state.retention.runs),
                skips=deque[Skipped](maxlen=SKIPS_KEPT),
            )
        else:
            entry.task, entry.version, entry.retired = task, version, False
            if definition.replan:
                entry.next_slot = definition.next_slot
        entry.skip(skipped)
        state.notifications.notify()
        return version

    def _next_version(self, key: TaskKey) -> int:
        """Take the version of the next change, which concerns this task."""
        self._state.version = self._state.next_number(self._state.version)
        self._state.changes.append((self._state.version, key))
        self._state.incarnation = self._state.incarnation or self._state.version
        return self._state.version

    async def remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        state = self._state
        removed = frozenset(key for key in keys if key in state.entries)
        for key in removed:
            entry = state.entries.pop(key)
            for run_entry in entry.live.values():
                state.take(run_entry)
        for key in sorted(removed):
            self._next_version(key)
        if removed:
            state.notifications.notify()
        return removed

    async def remove_ended(self, term: Term, versions: Mapping[TaskKey, int]) -> frozenset[TaskKey] | Fenced:
        if not self._state.is_current_term(term):
            return Fenced()
        return await self.remove([key for key, version in versions.items() if self._has_ended(key, version)])

    def _has_ended(self, key: TaskKey, version: int) -> bool:
        entry = self._state.entries.get(key)
        if entry is None or entry.version != version:
            return False
        return entry.next_slot is None and not entry.live and not entry.held

    async def load(self, since: int) -> Changes | None:
        state = self._state
        if since == state.version:
            return None
        touched = self._touched(since)
        keys = state.entries.keys() if touched is None else touched
        entries = [state.entries[key] for key in keys if key in state.entries]
        return Changes(
            version=state.version,
            incarnation=state.incarnation,
            complete=touched is None,
            changed=tuple(
                VersionedDefinition(definition=entry.task, version=entry.version)
                for entry in sorted(entries, key=lambda entry: entry.version)
                if touched is None or entry.version > since
            ),
            removed=frozenset(key for key in keys if key not in state.entries),
            retired=frozenset(entry.task.key for entry in entries if entry.retired),
            total=len(state.entries),
        )

    def _touched(self, since: int) -> set[TaskKey] | None:
        """The tasks that changed after a version; None if the store does not remember that version."""
        touched: set[TaskKey] = set()
        for version, key in reversed(self._state.changes):
            if version <= since:
                return touched if version == since else None
            touched.add(key)
        return None

    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        if not self._state.is_current_term(term):
            return Fenced()
        retired = [self._state.entries[key] for key in keys if key in self._state.entries]
        retired = [entry for entry in retired if not entry.retired]
        for entry in retired:
            self._next_version(entry.task.key)
            entry.retired = True
        if retired:
            self._state.notifications.notify()
        return frozenset(entry.task.key for entry in retired)
