"""Mistakes about slots and pauses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import Agenda, SlotDecision
from task_manager_core.domain.run import Run
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Enqueued
from task_manager_memory.dispatch import MemoryDispatch
from task_manager_memory.run_queue import MemoryRunQueue
from tests.testing.broken.making import BrokenStore, memory, round_trip, silence


class _PauseWritesRows(MemoryDispatch):
    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        next_slots = {key: entry.next_slot for key in keys if (entry := self._state.entries.get(key))}
        await round_trip()
        for key, next_slot in next_slots.items():
            if key in self._state.entries:
                self._state.entries[key].next_slot = next_slot
        return await super().pause(keys)


class _ResumptionWritesRows(MemoryDispatch):
    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        next_slots = {key: entry.next_slot for key in keys if (entry := self._state.entries.get(key))}
        await round_trip()
        for key, next_slot in next_slots.items():
            if key in self._state.entries:
                self._state.entries[key].next_slot = next_slot
        return await super().resume(keys)


class _ReadsAllThenWrites(MemoryDispatch):
    """`commit` compares all decisions of a batch first, and then writes all."""

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        answer = await super().commit(term, decisions)
        if isinstance(answer, Fenced):
            return answer
        kept: dict[TaskKey, SlotDecision] = {}
        answers: list[bool] = []
        for decision, accepted in zip(decisions, answer, strict=True):
            if accepted:
                kept[decision.key] = decision
            elif kept.get(decision.key) == decision:
                self._state.entries[decision.key].skip(decision.skipped)
                accepted = True  # noqa: PLW2901
            answers.append(accepted)
        return tuple(answers)


class _DispatchesQuietly(MemoryDispatch):
    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        with silence(self._state):
            return await super().commit(term, decisions)


class _RoomSeenBefore(MemoryDispatch):
    """Room for an exclusive run is looked for before the step that queues it."""

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        if not self._state.is_current_term(term):
            return Fenced()
        room = {
            key: not (entry.live or entry.held)
            for decision in decisions
            if (entry := self._state.entries.get(key := decision.key))
        }
        await round_trip()
        answers: list[bool] = []
        for decision in decisions:
            entry = self._state.entries.get(decision.key)
            if entry is None or not room.get(decision.key):
                answers.append(self._commit(decision))
                continue
            live, held, entry.live, entry.held = entry.live, entry.held, {}, type(entry.held)()
            answers.append(self._commit(decision))
            entry.live, entry.held = {**live, **entry.live}, type(entry.held)([*held, *entry.held])
        return tuple(answers)


class _OnePlaceIsEnough(MemoryDispatch):
    """A commit looks for one free place, also for several runs."""

    def _commit(self, decision: SlotDecision) -> bool:
        entry, dispatch = self._state.entries.get(decision.key), decision.dispatch
        if entry is None or not dispatch or not entry.admits(dispatch[0]) or dispatch[0].max_instances is None:
            return super()._commit(decision)
        most = len(entry.live) + len(dispatch)
        return super()._commit(replace(decision, dispatch=tuple(replace(run, max_instances=most) for run in dispatch)))


class _NothingSkipped(MemoryDispatch):
    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        return await super().agenda(limit, term=term, ahead=ahead)


class _LooksNotAhead(MemoryDispatch):
    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        return await super().agenda(limit, skip, term)


class _CountsWhatIsDue(MemoryDispatch):
    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        found = await super().agenda(limit, skip, term, ahead)
        return replace(found, upcoming=len(found.due))


class _DecidesEarly(MemoryDispatch):
    def _commit(self, decision: SlotDecision) -> bool:
        entry = self._state.entries.get(decision.key)
        if entry is not None and entry.next_slot is not None:
            entry.next_slot = replace(entry.next_slot, due_at=min(entry.next_slot.due_at, self._state.now()))
        return super()._commit(decision)


class _LimitBeforeFilter(MemoryDispatch):
    """`agenda` reads the first rows of the index, and then leaves out the retired tasks."""

    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        retired = [entry for entry in self._state.entries.values() if entry.retired]
        for entry in retired:
            entry.retired = False
        whole = await super().agenda(limit, skip, term, ahead)
        for entry in retired:
            entry.retired = True
        gone = {entry.task.key for entry in retired}
        later = await super().agenda(0)
        return Agenda(
            now=whole.now, due=tuple(due for due in whole.due if due.key not in gone), next_due=later.next_due
        )


class _FencedAtTheBeginning(MemoryDispatch):
    """`commit` compares the term at its start."""

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        if not self._state.is_current_term(term):
            return Fenced()
        answers: list[bool] = []
        for decision in decisions:
            answers.append(self._commit(decision))
            await round_trip()
        return tuple(answers)


class _PausedSeenBefore(MemoryDispatch):
    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        paused = {
            decision.key: entry.paused for decision in decisions if (entry := self._state.entries.get(decision.key))
        }
        await round_trip()
        now = {key: self._state.entries[key].paused for key in paused if key in self._state.entries}
        for key in now:
            self._state.entries[key].paused = paused[key]
        answer = await super().commit(term, decisions)
        for key, standing in now.items():
            self._state.entries[key].paused = standing
        return answer


class _EnqueuesAmid(MemoryRunQueue):
    """Room for an exclusive run is looked for before the step that queues it."""

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        room = {
            run.task: not (entry.live or entry.held) for run in runs if (entry := self._state.entries.get(run.task))
        }
        await round_trip()
        answers: list[Enqueued] = []
        for run in runs:
            entry = self._state.entries.get(run.task)
            if entry is None or not room.pop(run.task, False) or entry.run_entry(run.id) or run.id in entry.requests:
                answers.append(self._enqueue(run, asked, memory, delay))
                continue
            live, held, entry.live, entry.held = entry.live, entry.held, {}, type(entry.held)()
            answers.append(self._enqueue(run, asked, memory, delay))
            entry.live, entry.held = {**live, **entry.live}, type(entry.held)([*held, *entry.held])
        return tuple(answers)


BROKEN = (
    BrokenStore(
        mistake="a pause writes an old next slot back",
        law="dispatch 9",
        killed_by="test_a_pause_or_its_end_undoes_no_other_change",
        open_harness=memory(dispatch=_PauseWritesRows),
    ),
    BrokenStore(
        mistake="a resumption writes an old next slot back",
        law="dispatch 9",
        killed_by="test_a_pause_or_its_end_undoes_no_other_change",
        open_harness=memory(dispatch=_ResumptionWritesRows),
    ),
    BrokenStore(
        mistake="a decision that a batch names twice is kept twice",
        law="backend 5",
        killed_by="test_a_decision_that_a_batch_holds_twice_is_kept_once",
        open_harness=memory(dispatch=_ReadsAllThenWrites),
    ),
    BrokenStore(
        mistake="a dispatch wakes no waiting worker",
        law="run_queue 3",
        killed_by="test_a_waiting_worker_gets_the_run_that_is_dispatched",
        open_harness=memory(dispatch=_DispatchesQuietly),
    ),
    BrokenStore(
        mistake="a dispatch checks the live runs before its step",
        law="dispatch 4",
        killed_by="test_a_slot_and_a_request_do_not_overlap",
        open_harness=memory(dispatch=_RoomSeenBefore),
    ),
    BrokenStore(
        mistake="a request checks the live runs before its step",
        law="run_queue 1",
        killed_by="test_a_request_is_remembered_from_when_it_was_queued",
        open_harness=memory(queue=_EnqueuesAmid),
    ),
    BrokenStore(
        mistake="the agenda ignores `skip`",
        law="dispatch 1",
        killed_by="test_the_agenda_shows_what_is_due",
        open_harness=memory(dispatch=_NothingSkipped),
    ),
    BrokenStore(
        mistake="the agenda does not look ahead",
        law="dispatch 1",
        killed_by="test_the_agenda_shows_what_is_due",
        open_harness=memory(dispatch=_LooksNotAhead),
    ),
    BrokenStore(
        mistake="a commit of several runs looks for one place",
        law="dispatch 4",
        killed_by="test_as_many_runs_are_dispatched_as_there_are_places_and_no_more",
        open_harness=memory(dispatch=_OnePlaceIsEnough),
    ),
    BrokenStore(
        mistake="the agenda counts the tasks that are due now",
        law="dispatch 12",
        killed_by="test_the_agenda_counts_what_is_due_next",
        open_harness=memory(dispatch=_CountsWhatIsDue),
    ),
    BrokenStore(
        mistake="a commit does not ask whether the slot is due",
        law="dispatch 11",
        killed_by="test_no_slot_is_decided_before_it_is_due",
        open_harness=memory(dispatch=_DecidesEarly),
    ),
    BrokenStore(
        mistake="retired tasks use up the limit of the agenda",
        law="dispatch 1",
        killed_by="test_a_task_that_is_not_due_takes_no_place_on_the_agenda",
        open_harness=memory(dispatch=_LimitBeforeFilter),
    ),
    BrokenStore(
        mistake="the term is compared at the start of a commit",
        law="dispatch 7",
        killed_by="test_nothing_is_written_after_the_resignation_was_answered",
        open_harness=memory(dispatch=_FencedAtTheBeginning),
    ),
    BrokenStore(
        mistake="a dispatch checks the pause before its step",
        law="dispatch 3",
        killed_by="test_nothing_is_dispatched_after_the_pause_was_answered",
        open_harness=memory(dispatch=_PausedSeenBefore),
    ),
)
