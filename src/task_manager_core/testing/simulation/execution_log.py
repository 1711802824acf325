"""Writes down what happens in a rehearsal: what the store decided, and what really executed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from task_manager_core.application.context import RunContext
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.planning import NextSlot, Skipped, SkipReason
from task_manager_core.domain.run import Cancelled, Claim, Exhausted, Expired, Retried, Run, Settlement, Succeeded
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.cluster import effects as facts
from task_manager_core.testing.cluster.effects import Effect
from task_manager_core.testing.simulation.report import (
    Execution,
    ExecutionStatus,
    PlannedRun,
    SkippedSlot,
    TaskResult,
)

Opening = Sequence[tuple[TaskDefinition, NextSlot | None]]
"""The tasks, each with its first slot of the period."""

_ENDINGS = {
    Succeeded: ExecutionStatus.SUCCEEDED,
    Retried: ExecutionStatus.RETRIED,
    Exhausted: ExecutionStatus.FAILED,
    Cancelled: ExecutionStatus.CANCELLED,
    Expired: ExecutionStatus.EXPIRED,
}


@dataclass(slots=True, eq=False)
class OpenExecution:
    """An execution while it goes on. `ending` is what the store says; who ends without its word was lost."""

    chronicle: ExecutionLog
    worker: str
    attempt: int
    began: float
    ended: float | None = None
    ending: ExecutionStatus | None = None
    error: str | None = None

    def end(self, error: BaseException | None) -> None:
        """The function returned or raised."""
        if self.ended is None:
            self.ended = self.chronicle.time()
            if error is not None:
                self.error = f"{type(error).__name__}: {error}".rstrip(": ")


@dataclass(slots=True, eq=False)
class _OpenRun:
    run: Run
    held: bool
    ending: ExecutionStatus | None = None
    entries: list[OpenExecution] = field(default_factory=list[OpenExecution])


@dataclass(slots=True, eq=False)
class _OpenStory:
    task: TaskDefinition
    plan: NextSlot | None
    runs: dict[RunId, _OpenRun] = field(default_factory=dict[RunId, _OpenRun])
    skipped: dict[datetime, SkipReason] = field(default_factory=dict[datetime, SkipReason])


class ExecutionLog:
    """`time` is virtual seconds since `begin`. Facts come as they take effect in the store, executions as they go on.

    `on_begin` hears of the first execution of each slot, `on_skip` of every slot that is skipped or expires.
    """

    def __init__(self, opening: Opening, begin: datetime, time: Callable[[], float]) -> None:
        self.time = time
        self.leaders: list[tuple[float, str]] = []
        self.errors: dict[str, None] = {}
        self.on_begin: Callable[[TaskKey, datetime], None] = lambda _key, _slot: None
        self.on_skip: Callable[[TaskKey, datetime], None] = lambda _key, _slot: None
        self._begin = begin
        self._stories = {task.key: _OpenStory(task, plan) for task, plan in opening}
        self._entries: dict[tuple[RunId, int], OpenExecution] = {}
        self._executing: dict[str, list[OpenExecution]] = {}

    def instant(self, seconds: float) -> datetime:
        """By the millisecond, like the time of a store."""
        return self._begin + timedelta(milliseconds=round(seconds * 1000))

    # -- executions ---------------------------------------------------------------------------------------------------

    def begin(self, context: RunContext) -> OpenExecution:
        """A worker calls a function."""
        entry = OpenExecution(self, context.worker.value, context.attempt, self.time())
        self._entries[context.run_id, context.fencing_token] = entry
        going_on = self._executing.setdefault(entry.worker, [])
        going_on[:] = [one for one in going_on if one.ended is None]
        going_on.append(entry)
        run = self._stories[context.task].runs.get(context.run_id)
        if run is not None:
            run.entries.append(entry)
            if len(run.entries) == 1 and run.run.slot is not None:
                self.on_begin(context.task, run.run.slot)
        return entry

    def executing(self, key: TaskKey, slot: datetime) -> str | None:
        """The life that executes the run of a slot, the last to begin if there are two; None if nobody does."""
        runs = (run for run in self._stories[key].runs.values() if run.run.slot == slot)
        going_on = [entry for run in runs for entry in run.entries if entry.ended is None]
        return going_on[-1].worker if going_on else None

    def died(self, life: str) -> None:
        """A process is gone, and what it executed with it."""
        for entry in self._executing.pop(life, ()):
            if entry.ended is None:
                entry.ended = self.time()

    # -- facts --------------------------------------------------------------------------------------------------------

    def enter(self, fact: Effect) -> None:
        """An operation took effect."""
        match fact:
            case facts.Decided(decision=advance):
                story = self._stories[advance.key]
                for run in advance.dispatch:
                    story.runs[run.id] = _OpenRun(run, held=False)
                if advance.hold is not None:
                    story.runs[advance.hold.id] = _OpenRun(advance.hold, held=True)
                self._skip(story, advance.skipped)
                story.plan = advance.next_slot
            case facts.Written(write=definition):
                self._skip(self._stories[definition.definition.key], definition.skipped)
            case facts.Settled(settlement=settlement):
                self._settled(settlement)
            case facts.Reaped(claim=claim):
                self._ended(claim, ExecutionStatus.LOST)
            case facts.Released(claim=claim, started=True):
                self._ended(claim, ExecutionStatus.RELEASED)
            case facts.Granted(term=term):
                self._led(term)
            case _:
                pass

    def _skip(self, story: _OpenStory, skipped: Iterable[Skipped]) -> None:
        for skip in skipped:
            slot: datetime | None = skip.first
            for _ in range(skip.count):
                if slot is None:
                    break
                story.skipped[slot] = skip.reason
                self.on_skip(story.task.key, slot)
                slot = story.task.schedule.next_after(slot)

    def _settled(self, settlement: Settlement) -> None:
        ending, run = _ENDINGS[type(settlement.outcome)], settlement.claim.run
        entry = self._ended(settlement.claim, ending)
        if ending is not ExecutionStatus.RETRIED:
            self._stories[run.task].runs[run.id].ending = ending
        if ending is ExecutionStatus.EXPIRED and run.slot is not None:
            self.on_skip(run.task, run.slot)
        if entry is not None and settlement.failure is not None:
            entry.error = f"{settlement.failure.type}: {settlement.failure.message}".rstrip(": ")

    def _ended(self, claim: Claim, ending: ExecutionStatus) -> OpenExecution | None:
        entry = self._entries.pop((claim.run.id, claim.token), None)
        if entry is not None:
            entry.ending = ending
        return entry

    def _led(self, term: Term) -> None:
        if not self.leaders or self.leaders[-1][1] != term.holder.value:
            self.leaders.append((self.time(), term.holder.value))

    # -- the end ------------------------------------------------------------------------------------------------------

    def results(self, end: datetime) -> tuple[TaskResult, ...]:
        """Everything, as values."""
        return tuple(self._story(self._stories[key], end) for key in sorted(self._stories))

    def _story(self, story: _OpenStory, end: datetime) -> TaskResult:
        key, schedule = story.task.key, story.task.schedule
        runs: list[PlannedRun] = []
        for one in story.runs.values():
            slot = one.run.slot
            assert slot is not None, "a rehearsal triggers nothing"
            executions = tuple(self._execution(key, slot, entry) for entry in one.entries)
            last = executions[-1].status if executions else ExecutionStatus.UNFINISHED
            runs.append(
                PlannedRun(
                    task=key,
                    slot=slot,
                    due=schedule.due_at(key, slot),
                    held=one.held,
                    status=one.ending or last,
                    executions=executions,
                )
            )
        undecided: list[datetime] = []
        plan = story.plan
        slot = None if plan is None else plan.slot
        while slot is not None and schedule.due_at(key, slot) < end:
            undecided.append(slot)
            slot = schedule.next_after(slot)
        return TaskResult(
            task=story.task,
            runs=tuple(sorted(runs, key=lambda run: run.slot)),
            skipped=tuple(
                SkippedSlot(task=key, slot=slot, reason=reason) for slot, reason in sorted(story.skipped.items())
            ),
            undecided=tuple(undecided),
        )

    def _execution(self, key: TaskKey, slot: datetime, entry: OpenExecution) -> Execution:
        return Execution(
            task=key,
            slot=slot,
            attempt=entry.attempt,
            worker=entry.worker,
            began=self.instant(entry.began),
            ended=None if entry.ended is None else self.instant(entry.ended),
            status=entry.ending or ExecutionStatus.UNFINISHED,
            error=entry.error,
        )
