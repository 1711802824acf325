"""Mistakes about definitions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.ports import Changes, Conflict, DefinitionWrite
from task_manager_memory.catalogue import MemoryCatalogue
from tests.testing.broken.making import BrokenStore, memory, round_trip


class _RowsBeforeVersion(MemoryCatalogue):
    async def load(self, since: int) -> Changes | None:
        rows = await super().load(since)
        await round_trip()
        version = self._state.version
        if version == since:
            return None
        return await super().load(since) if rows is None else replace(rows, version=version)


class _RemovalsBeforeRows(MemoryCatalogue):
    async def load(self, since: int) -> Changes | None:
        before = await super().load(since)
        await round_trip()
        changes = await super().load(since)
        return None if changes is None else replace(changes, removed=before.removed if before else frozenset())


class _ForgetsRemovals(MemoryCatalogue):
    """`load` searches only the newer rows, and a removed row is not among them."""

    async def load(self, since: int) -> Changes | None:
        changes = await super().load(since)
        return None if changes is None else replace(changes, removed=frozenset())


class _RemovesWhatLives(MemoryCatalogue):
    """A task without a next slot is taken for over, whatever runs it has."""

    def _has_ended(self, key: TaskKey, version: int) -> bool:
        entry = self._state.entries.get(key)
        return entry is not None and entry.version == version and entry.next_slot is None


class _RemovesUnfenced(MemoryCatalogue):
    async def remove_ended(self, term: Term, versions: Mapping[TaskKey, int]) -> frozenset[TaskKey] | Fenced:
        return await self.remove([key for key, version in versions.items() if self._has_ended(key, version)])


class _ChangesForStrangers(MemoryCatalogue):
    """`load` returns changes also for a version that the store does not know."""

    def _touched(self, since: int) -> set[TaskKey] | None:
        touched = {key for version, key in self._state.changes if version > since}
        return touched if 0 < since < self._state.version else super()._touched(since)


class _EverythingAlways(MemoryCatalogue):
    def _touched(self, since: int) -> set[TaskKey] | None:
        return None


class _CountsWhatIsActive(MemoryCatalogue):
    async def load(self, since: int) -> Changes | None:
        changes = await super().load(since)
        active = sum(not entry.retired for entry in self._state.entries.values())
        return None if changes is None else replace(changes, total=active)


class _VersionsOutOfOrder(MemoryCatalogue):
    """Versions come from a sequence, and the transactions may end in another order."""

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        taken = self._state.version = self._state.next_number(self._state.version)
        await round_trip()
        answers: list[int | Conflict] = []
        for definition in definitions:
            answer = self._put(definition)
            if isinstance(answer, int) and answer > taken:
                self._state.changes.remove((answer, definition.definition.key))
                self._state.changes.append((taken, definition.definition.key))
                self._state.entries[definition.definition.key].version = answer = taken
                taken = self._state.version = self._state.next_number(self._state.version)
            answers.append(answer)
        changes = sorted(self._state.changes)
        self._state.changes.clear()
        self._state.changes.extend(changes)
        self._state.version = changes[-1][0]
        return tuple(answers)


class _PoliciesNotCompared(MemoryCatalogue):
    """`put` compares only some columns with the stored definition."""

    def _put(self, definition: DefinitionWrite) -> int | Conflict:
        entry, new = self._state.entries.get(definition.definition.key), definition.definition
        if entry is not None and not entry.retired:
            same = (entry.task.schedule, entry.task.function, entry.task.kwargs, entry.task.description)
            if same == (new.schedule, new.function, new.kwargs, new.description):
                return entry.version
        return super()._put(definition)


class _NewPlanNewRow(MemoryCatalogue):
    """`replan` sets all columns as for a new row."""

    def _put(self, definition: DefinitionWrite) -> int | Conflict:
        entry = self._state.entries.get(definition.definition.key)
        answer = super()._put(definition)
        if entry is not None and definition.replan and answer == entry.version:
            entry.resumed_at = None
        return answer


class _NewPlanForgetsWishes(MemoryCatalogue):
    def _put(self, definition: DefinitionWrite) -> int | Conflict:
        entry = self._state.entries.get(definition.definition.key)
        before = entry.version if entry else 0
        answer = super()._put(definition)
        if entry is not None and definition.replan and answer != before:
            for run_entry in entry.live.values():
                run_entry.cancelling = False
        return answer


class _WritesWholeRows(MemoryCatalogue):
    """`put` writes the state back that it read before."""

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        rows = {
            one.definition.key: (entry.next_slot, entry.paused, entry.resumed_at)
            for one in definitions
            if (entry := self._state.entries.get(one.definition.key))
        }
        await round_trip()
        answers = await super().put(definitions)
        for definition, answer in zip(definitions, answers, strict=True):
            entry = self._state.entries.get(definition.definition.key)
            if entry is None or definition.definition.key not in rows or isinstance(answer, Conflict):
                continue
            next_slot, entry.paused, entry.resumed_at = rows[definition.definition.key]
            if not definition.replan:
                entry.next_slot = next_slot
        return answers


class _RemovalUndone(MemoryCatalogue):
    """`put` writes a row that it read, also if the row was removed meanwhile."""

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        rows = {
            one.definition.key: entry
            for one in definitions
            if (entry := self._state.entries.get(one.definition.key)) is not None
        }
        await round_trip()
        for key, entry in rows.items():
            self._state.entries.setdefault(key, entry)
        return await super().put(definitions)


class _OnlyAPage(MemoryCatalogue):
    """`put` writes the first hundred definitions of a call, and answers as if it wrote all."""

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        answers = await super().put(definitions[:100])
        return answers + tuple(self._next_version(definition.definition.key) for definition in definitions[100:])


class _Unfenced(MemoryCatalogue):
    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        retired = [self._state.entries[key] for key in keys if key in self._state.entries]
        retired = [entry for entry in retired if not entry.retired]
        for entry in retired:
            self._next_version(entry.task.key)
            entry.retired = True
        if retired:
            self._state.notifications.notify()
        return frozenset(entry.task.key for entry in retired)


class _RetirementWritesRows(MemoryCatalogue):
    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        rows: dict[TaskKey, tuple[Any, ...]] = {
            key: (entry.next_slot, entry.paused, entry.resumed_at)
            for key in keys
            if (entry := self._state.entries.get(key)) is not None
        }
        await round_trip()
        answer = await super().retire(term, keys)
        for key in frozenset() if isinstance(answer, Fenced) else answer:
            entry = self._state.entries[key]
            entry.next_slot, entry.paused, entry.resumed_at = rows[key]
        return answer


class _LostUpdate(MemoryCatalogue):
    """`put` compares the version when it reads the row, and not when it writes."""

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        stood = {
            one.definition.key: entry.version
            for one in definitions
            if (entry := self._state.entries.get(one.definition.key))
        }
        await round_trip()
        return tuple(
            self._put(
                replace(one, expected=self._state.entries[one.definition.key].version)
                if one.definition.key in self._state.entries and stood.get(one.definition.key, 0) == one.expected
                else one
            )
            for one in definitions
        )


BROKEN = (
    BrokenStore(
        mistake="a task with a live run is removed as ended",
        law="catalogue 15",
        killed_by="test_only_tasks_that_are_over_are_removed",
        open_harness=memory(catalogue=_RemovesWhatLives),
    ),
    BrokenStore(
        mistake="the removal of ended tasks is not fenced",
        law="catalogue 15",
        killed_by="test_a_stale_term_removes_no_ended_task",
        open_harness=memory(catalogue=_RemovesUnfenced),
    ),
    BrokenStore(
        mistake="rows are read before the version",
        law="catalogue 7",
        killed_by="test_changes_become_visible_in_the_order_of_their_versions",
        open_harness=memory(catalogue=_RowsBeforeVersion),
    ),
    BrokenStore(
        mistake="removals are read before the rows",
        law="catalogue 7",
        killed_by="test_a_reader_learns_what_is_written_while_it_reads",
        open_harness=memory(catalogue=_RemovalsBeforeRows),
    ),
    BrokenStore(
        mistake="a removal is forgotten",
        law="catalogue 14",
        killed_by="test_a_reader_learns_the_changes_alone",
        open_harness=memory(catalogue=_ForgetsRemovals),
    ),
    BrokenStore(
        mistake="a reader at an unknown version gets only changes",
        law="catalogue 14",
        killed_by="test_a_reader_from_long_ago_learns_everything",
        open_harness=memory(catalogue=_ChangesForStrangers),
    ),
    BrokenStore(
        mistake="every reader gets everything",
        law="catalogue 14",
        killed_by="test_a_reader_learns_the_changes_alone",
        open_harness=memory(catalogue=_EverythingAlways),
    ),
    BrokenStore(
        mistake="retired tasks are not counted",
        law="catalogue 14",
        killed_by="test_a_reader_learns_the_changes_alone",
        open_harness=memory(catalogue=_CountsWhatIsActive),
    ),
    BrokenStore(
        mistake="versions become visible out of order",
        law="catalogue 7",
        killed_by="test_a_reader_learns_what_is_written_while_it_reads",
        open_harness=memory(catalogue=_VersionsOutOfOrder),
    ),
    BrokenStore(
        mistake="a change of policy counts as no change",
        law="catalogue 3",
        killed_by="test_a_change_of_any_part_is_a_change",
        open_harness=memory(catalogue=_PoliciesNotCompared),
    ),
    BrokenStore(
        mistake="a replan forgets when the last pause ended",
        law="catalogue 4",
        killed_by="test_a_change_keeps_waits_and_requested_cancellations",
        open_harness=memory(catalogue=_NewPlanNewRow),
    ),
    BrokenStore(
        mistake="a replan forgets requested cancellations",
        law="catalogue 4",
        killed_by="test_a_change_keeps_waits_and_requested_cancellations",
        open_harness=memory(catalogue=_NewPlanForgetsWishes),
    ),
    BrokenStore(
        mistake="a definition is written with the state read before",
        law="backend 4",
        killed_by="test_of_two_verbs_one_comes_before_the_other",
        open_harness=memory(catalogue=_WritesWholeRows),
    ),
    BrokenStore(
        mistake="a removed row is written again",
        law="backend 4",
        killed_by="test_of_two_verbs_one_comes_before_the_other",
        open_harness=memory(catalogue=_RemovalUndone),
    ),
    BrokenStore(
        mistake="definitions beyond a page are lost",
        law="catalogue 10",
        killed_by="test_changes_wake",
        open_harness=memory(catalogue=_OnlyAPage),
    ),
    BrokenStore(
        mistake="retirement is not fenced",
        law="catalogue 9",
        killed_by="test_a_stale_term_retires_nothing",
        open_harness=memory(catalogue=_Unfenced),
    ),
    BrokenStore(
        mistake="a retirement writes an old row back",
        law="backend 4",
        killed_by="test_of_two_verbs_one_comes_before_the_other",
        open_harness=memory(catalogue=_RetirementWritesRows),
    ),
    BrokenStore(
        mistake="the version is compared a round trip before the write",
        law="catalogue 2",
        killed_by="test_of_many_writers_that_saw_the_same_version_one_writes",
        open_harness=memory(catalogue=_LostUpdate),
    ),
)
