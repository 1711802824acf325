"""History in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice

from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.observation import Snapshot, TaskView
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord
from task_manager_core.ports import History
from task_manager_memory.state import State, TaskEntry


class MemoryHistory(History):
    def __init__(self, state: State) -> None:
        self._state = state

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        entry = self._state.entries.get(key)
        return () if entry is None else tuple(islice(entry.records, limit))

    async def recent(self, keys: Collection[TaskKey], limit: int) -> Mapping[TaskKey, tuple[AttemptRecord, ...]]:
        found = [self._state.entries[key] for key in keys if key in self._state.entries]
        return {entry.task.key: tuple(record.outline() for record in islice(entry.records, limit)) for entry in found}

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        entry = self._state.entries.get(key)
        return () if entry is None else tuple(islice(entry.skips, limit))

    async def progress(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Progress | None, ...]:
        return tuple(self._progress(key, run) for key, run in runs)

    def _progress(self, key: TaskKey, run: RunId) -> Progress | None:
        entry = self._state.entries.get(key)
        run_entry = None if entry is None else entry.live.get(run)
        return None if run_entry is None else run_entry.progress

    async def memory(self, key: TaskKey) -> TaskMemory:
        entry = self._state.entries.get(key)
        return TaskMemory() if entry is None else entry.memory

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        found = [self._state.entries[key] for key in keys if key in self._state.entries]
        for entry in found:
            entry.records.clear()
            entry.skips.clear()
            entry.skipped.clear()
        return frozenset(entry.task.key for entry in found)

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        state = self._state
        state.promote()
        now = state.steady()
        chosen = state.entries.keys() if keys is None else [key for key in keys if key in state.entries]
        return Snapshot(
            now=state.now(),
            term=state.term if now < state.lease_ends else None,
            tasks=tuple(_view(state.entries[key], state.clock_time) for key in sorted(set(chosen))),
            nodes=tuple(
                presence
                for _, (presence, until) in sorted(state.present.items(), key=lambda item: item[0])
                if now < until
            ),
            queued=sum(map(len, state.queued.values())),
        )


def _view(entry: TaskEntry, clock_time: Callable[[datetime], datetime]) -> TaskView:
    run_entries = (*entry.live.values(), *entry.held)
    return TaskView(
        key=entry.task.key,
        version=entry.version,
        next_slot=entry.next_slot,
        decided=entry.decided,
        paused=entry.paused,
        resumed_at=entry.resumed_at,
        retired=entry.retired,
        live=tuple(run_entry.view(clock_time) for run_entry in run_entries),
        skipped=dict(entry.skipped),
    )
