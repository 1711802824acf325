"""Dispatch in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import Agenda, DueTask, NextSlot, SlotDecision
from task_manager_core.domain.run import RunState
from task_manager_core.ports import Dispatch
from task_manager_memory.state import RunEntry, State, TaskEntry


class MemoryDispatch(Dispatch):
    def __init__(self, state: State) -> None:
        self._state = state

    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        now = self._state.now()
        planned: list[tuple[NextSlot, TaskEntry]] = [
            (entry.next_slot, entry)
            for entry in self._state.entries.values()
            if entry.next_slot is not None and not entry.retired
        ]
        planned.sort(key=lambda pair: (pair[0].due_at, pair[1].task.key))
        listed = [(next_slot, entry) for next_slot, entry in planned if next_slot.due_at <= now + ahead]
        later = [next_slot.due_at for next_slot, _ in planned if next_slot.due_at > now]
        if len(later) < len(planned) and term is not None and self._state.is_current_term(term):
            self._state.progress += 1
        return Agenda(
            now=now,
            due=tuple(
                DueTask(
                    key=entry.task.key,
                    version=entry.version,
                    slot=next_slot.slot,
                    due_at=next_slot.due_at,
                    paused=entry.paused,
                    resumed_at=entry.resumed_at,
                    live=len(entry.live),
                    held=len(entry.held),
                    retrying=entry.retrying,
                )
                for next_slot, entry in listed[skip : skip + limit]
            ),
            next_due=later[0] if later else None,
            upcoming=later.count(later[0]) if later else 0,
        )

    async def anticipate(self, decisions: Sequence[SlotDecision]) -> None:
        """There is nothing to translate."""

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        if not self._state.is_current_term(term):
            return Fenced()
        self._state.progress += 1
        return tuple(self._commit(decision) for decision in decisions)

    def _commit(self, decision: SlotDecision) -> bool:
        entry = self._state.entries.get(decision.key)
        if entry is None or entry.next_slot is None or entry.retired or entry.next_slot.due_at > self._state.now():
            return False
        if (entry.version, entry.next_slot.slot) != (decision.version, decision.slot):
            return False
        dispatched, hold = decision.dispatch, decision.hold
        if (dispatched or hold) and entry.paused:
            return False
        if dispatched and (entry.retrying or not entry.admits(dispatched[0], len(dispatched))):
            return False
        if hold and (entry.held or not (entry.live or dispatched)):
            return False
        for run in dispatched:
            run_entry = entry.live[run.id] = RunEntry(run=run, state=RunState.QUEUED)
            self._state.to_queue(run_entry)
        if hold:
            entry.held.append(RunEntry(run=hold, state=RunState.HELD))
        entry.skip(decision.skipped)
        entry.next_slot, entry.decided = decision.next_slot, decision.last or entry.decided
        return True

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        found = [self._state.entries[key] for key in keys if key in self._state.entries]
        for entry in found:
            entry.paused = True
        return frozenset(entry.task.key for entry in found)

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        found = [self._state.entries[key] for key in keys if key in self._state.entries]
        for entry in found:
            if entry.paused:
                entry.paused, entry.resumed_at = False, self._state.now()
        return frozenset(entry.task.key for entry in found)
