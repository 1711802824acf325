"""Mistakes about history and snapshots."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.observation import Presence, Snapshot, TaskView
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Claim, Settlement
from task_manager_core.domain.scope import Scope
from task_manager_memory.catalogue import MemoryCatalogue
from task_manager_memory.history import MemoryHistory
from task_manager_memory.membership import MemoryMembership
from task_manager_memory.run_queue import MemoryRunQueue
from task_manager_memory.state import State, TaskEntry
from tests.testing.broken.making import BrokenStore, memory, round_trip


class _KeepsTheOldestOfABatch(MemoryRunQueue):
    """`settle` trims the lines before it writes those of a batch."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        most = self._state.retention.runs
        before = {key: list(entry.records) for key, entry in self._state.entries.items()}
        lost = await super().settle(settlements)
        for key, entry in self._state.entries.items():
            new = [one.record() for one in settlements if one.claim.run.task == key and one.claim not in lost]
            if len(new) > most:
                entry.records.clear()
                entry.records.extend([*reversed(new[:most]), *before[key]][:most])
        return lost


class _TrimsTheNewest(MemoryRunQueue):
    def _record(self, key: TaskKey, record: AttemptRecord) -> None:
        if len(self._state.entries[key].records) < self._state.retention.runs:
            super()._record(key, record)


class _CancelledLinesOnly(MemoryRunQueue):
    """`reap` writes no line for a run whose cancellation was requested."""

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        cancelling = {run for run, run_entry in self._state.claimed.items() if run_entry.cancelling}
        answer = await super().reap(term, ttl, limit)
        for claim in () if isinstance(answer, Fenced) else answer:
            records = self._state.entries[claim.run.task].records
            if claim.run.id in cancelling and records:
                records.popleft()
        return answer


class _BeginsWithItsEnd(MemoryRunQueue):
    """A LOST line begins at the reaping."""

    def _record(self, key: TaskKey, record: AttemptRecord) -> None:
        now = self._state.now()
        lost = record.status is AttemptStatus.LOST
        super()._record(key, replace(record, started_at=now, duration=timedelta(0)) if lost else record)


class _NamesTheLastWorker(MemoryRunQueue):
    """The line of a run that is cancelled while it waits names its last worker."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._last: dict[RunId, Claim] = {}

    def _claim(self, worker: NodeId, limit: int, scope: Scope) -> tuple[Claim, ...]:
        claims = super()._claim(worker, limit, scope)
        self._last.update({claim.run.id: claim for claim in claims})
        return claims

    def _record(self, key: TaskKey, record: AttemptRecord) -> None:
        if not record.worker.value and (last := self._last.get(record.run)) is not None:
            record = replace(record, worker=last.worker, token=last.token)
        super()._record(key, record)


class _LimitsAllTasksTogether(MemoryHistory):
    async def recent(self, keys: Collection[TaskKey], limit: int) -> Mapping[TaskKey, tuple[AttemptRecord, ...]]:
        found: dict[TaskKey, tuple[AttemptRecord, ...]] = {}
        for key, lines in (await super().recent(keys, limit)).items():
            found[key] = lines[: limit - sum(map(len, found.values()))]
        return found


class _ReadsWholeLines(MemoryHistory):
    async def recent(self, keys: Collection[TaskKey], limit: int) -> Mapping[TaskKey, tuple[AttemptRecord, ...]]:
        return {key: await self.read(key, limit) for key in keys if key in self._state.entries}


class _ClearsWholeRows(MemoryHistory):
    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        rows = {key: (entry.next_slot, entry.paused) for key in keys if (entry := self._state.entries.get(key))}
        await round_trip()
        for key, (next_slot, paused) in rows.items():
            if key in self._state.entries:
                self._state.entries[key].next_slot, self._state.entries[key].paused = next_slot, paused
        return await super().clear(keys)


class _SnapshotsOneByOne(MemoryHistory):
    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        chosen = list(self._state.entries) if keys is None else sorted(set(keys))
        views: list[TaskView] = []
        for key in chosen:
            views += (await super().snapshot([key])).tasks
            await round_trip()
        frame = await super().snapshot(())
        return replace(frame, tasks=tuple(sorted(views, key=lambda view: view.key)))


class _Merges(MemoryMembership):
    """An announcement keeps the functions of the earlier ones."""

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        before = self._state.present.get(presence.node)
        if before is not None:
            presence = replace(presence, functions=presence.functions | before[0].functions)
        await super().announce(presence, ttl)


class _LongestWord(MemoryMembership):
    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        before = self._state.present.get(presence.node)
        await super().announce(presence, ttl)
        if before is not None:
            self._state.present[presence.node] = (presence, max(before[1], self._state.present[presence.node][1]))


class _CountsOverwritten(TaskEntry):
    __slots__ = ()

    def skip(self, skipped: Iterable[Skipped]) -> None:
        for skip in skipped:
            self.skips.appendleft(skip)
            self.skipped[skip.reason] = skip.count


class _CountsOfARange(TaskEntry):
    """A range of skips counts as one slot."""

    __slots__ = ()

    def skip(self, skipped: Iterable[Skipped]) -> None:
        for skip in skipped:
            self.skips.appendleft(skip)
            self.skipped[skip.reason] += 1


def _with(entry: type[TaskEntry]) -> type[MemoryCatalogue]:
    class Catalogue(MemoryCatalogue):
        def _put(self, definition):  # type: ignore[no-untyped-def]
            answer = super()._put(definition)
            if definition.definition.key in self._state.entries:
                self._state.entries[definition.definition.key].__class__ = entry
            return answer

    return Catalogue


BROKEN = (
    BrokenStore(
        mistake="a large batch leaves its oldest lines",
        law="history 2",
        killed_by="test_a_batch_larger_than_what_is_kept_leaves_the_newest",
        open_harness=memory(queue=_KeepsTheOldestOfABatch),
    ),
    BrokenStore(
        mistake="history trims the newest",
        law="history 2",
        killed_by="test_old_lines_make_room",
        open_harness=memory(queue=_TrimsTheNewest),
    ),
    BrokenStore(
        mistake="a reaped run with a requested cancellation leaves no line",
        law="run_queue 13",
        killed_by="test_the_line_of_a_cancelled_run_says_how_it_ended",
        open_harness=memory(queue=_CancelledLinesOnly),
    ),
    BrokenStore(
        mistake="a lost attempt begins when it is reaped",
        law="history 6",
        killed_by="test_the_store_writes_what_no_worker_can",
        open_harness=memory(queue=_BeginsWithItsEnd),
    ),
    BrokenStore(
        mistake="a cancelled run names its last worker",
        law="history 6",
        killed_by="test_the_store_writes_what_no_worker_can",
        open_harness=memory(queue=_NamesTheLastWorker),
    ),
    BrokenStore(
        mistake="the limit of newest lines counts over all tasks",
        law="history 7",
        killed_by="test_the_newest_lines_of_several_tasks",
        open_harness=memory(history=_LimitsAllTasksTogether),
    ),
    BrokenStore(
        mistake="the newest lines of several tasks have their tracebacks",
        law="history 7",
        killed_by="test_the_newest_lines_of_several_tasks",
        open_harness=memory(history=_ReadsWholeLines),
    ),
    BrokenStore(
        mistake="clearing writes an old row back",
        law="backend 4",
        killed_by="test_of_two_verbs_one_comes_before_the_other",
        open_harness=memory(history=_ClearsWholeRows),
    ),
    BrokenStore(
        mistake="a snapshot reads task by task",
        law="history 5",
        killed_by="test_a_snapshot_shows_one_instant",
        open_harness=memory(history=_SnapshotsOneByOne),
    ),
    BrokenStore(
        mistake="functions of an earlier announcement are kept",
        law="membership 2",
        killed_by="test_the_last_announcement_counts",
        open_harness=memory(membership=_Merges),
    ),
    BrokenStore(
        mistake="the longest announcement counts",
        law="membership 2",
        killed_by="test_the_last_announcement_counts",
        open_harness=memory(membership=_LongestWord),
    ),
    BrokenStore(
        mistake="a lost skip count",
        law="history 3",
        killed_by="test_skips_are_counted_and_shown",
        open_harness=memory(catalogue=_with(_CountsOverwritten)),
    ),
    BrokenStore(
        mistake="a range of skips counts as one",
        law="history 3",
        killed_by="test_skips_are_counted_and_shown",
        open_harness=memory(catalogue=_with(_CountsOfARange)),
    ),
)
