"""Records what happens in a simulation: what the store decided, and what really executed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.events import Event, TickFailed
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.planning import NextSlot, Skipped, SkipReason
from task_manager_core.domain.run import Cancelled, Claim, Exhausted, Expired, Retried, Run, Settlement, Succeeded
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.cluster import effects
from task_manager_core.testing.cluster.effects import Effect
from task_manager_core.testing.cluster.watcher import NullWatcher
from task_manager_core.testing.simulation.results import (
    Execution,
    ExecutionStatus,
    PlannedRun,
    SkippedSlot,
    TaskResult,
)

FirstSlots = Sequence[tuple[TaskDefinition, NextSlot | None]]
"""The tasks, each with its first slot of the period."""

_RECORDED = frozenset({"campaign", "depose", "commit", "put", "settle", "release", "reap"})
"""The operations whose effects are recorded."""

_STATUS = {
    Succeeded: ExecutionStatus.SUCCEEDED,
    Retried: ExecutionStatus.RETRIED,
    Exhausted: ExecutionStatus.FAILED,
    Cancelled: ExecutionStatus.CANCELLED,
    Expired: ExecutionStatus.EXPIRED,
}


@dataclass(slots=True, eq=False)
class OpenExecution:
    """An execution while it goes on. `status` is what the store says; None until then."""

    log: ExecutionLog
    worker: str
    attempt: int
    began: float
    ended: float | None = None
    status: ExecutionStatus | None = None
    error: str | None = None

    def end(self, error: BaseException | None) -> None:
        """The function returned or raised."""
        if self.ended is None:
            self.ended = self.log.time()
            if error is not None:
                self.error = f"{type(error).__name__}: {error}".rstrip(": ")


@dataclass(slots=True, eq=False)
class _OpenRun:
    run: Run
    held: bool
    status: ExecutionStatus | None = None
    executions: list[OpenExecution] = field(default_factory=list[OpenExecution])


@dataclass(slots=True, eq=False)
class _OpenTask:
    definition: TaskDefinition
    next_slot: NextSlot | None
    runs: dict[RunId, _OpenRun] = field(default_factory=dict[RunId, _OpenRun])
    skipped: dict[datetime, SkipReason] = field(default_factory=dict[datetime, SkipReason])


class ExecutionLog(NullWatcher):
    """The watcher of a simulation. `time` gives the virtual seconds since `begin`.

    - `on_begin` is called at the first execution of each slot, with the task and the slot.
    - `on_skip` is called for every slot that is skipped or expires.
    - `on_boot` is called with the machine, `on_end` with the name of the process.
    """

    def __init__(self, first_slots: FirstSlots, begin: datetime, time: Callable[[], float]) -> None:
        self.time = time
        self.leaders: list[tuple[float, str]] = []
        self.errors: dict[str, None] = {}
        self.on_begin: Callable[[TaskKey, datetime], None] = lambda _key, _slot: None
        self.on_skip: Callable[[TaskKey, datetime], None] = lambda _key, _slot: None
        self.on_boot: Callable[[str], None] = lambda _machine: None
        self.on_end: Callable[[str], None] = lambda _process: None
        self._begin = begin
        self._tasks = {task.key: _OpenTask(task, first) for task, first in first_slots}
        self._open: dict[tuple[RunId, int], OpenExecution] = {}
        self._executing: dict[str, list[OpenExecution]] = {}

    def instant(self, seconds: float) -> datetime:
        """In whole milliseconds, like the time of a store."""
        return self._begin + timedelta(milliseconds=round(seconds * 1000))

    # -- executions ---------------------------------------------------------------------------------------------------

    def begin(self, context: RunContext) -> OpenExecution:
        """A worker calls a function."""
        execution = OpenExecution(self, context.worker, context.attempt, self.time())
        run_id = RunId(context.run_id)
        self._open[run_id, context.fencing_token] = execution
        executing = self._executing.setdefault(execution.worker, [])
        executing[:] = [one for one in executing if one.ended is None]
        executing.append(execution)
        run = self._tasks[context.task].runs.get(run_id)
        if run is not None:
            run.executions.append(execution)
            if len(run.executions) == 1 and run.run.slot is not None:
                self.on_begin(context.task, run.run.slot)
        return execution

    def executing(self, key: TaskKey, slot: datetime) -> str | None:
        """The process that executes the run of a slot; of two the one that began last. None: no process does."""
        runs = (run for run in self._tasks[key].runs.values() if run.run.slot == slot)
        executing = [one for run in runs for one in run.executions if one.ended is None]
        return executing[-1].worker if executing else None

    # -- what the cluster reports -------------------------------------------------------------------------------------

    def booted(self, machine: str, node: Node, declarations: Declarations) -> None:
        del node, declarations
        self.on_boot(machine)

    def ended(self, process: str) -> None:
        """What the process executed ends with it."""
        for execution in self._executing.pop(process, ()):
            if execution.ended is None:
                execution.ended = self.time()
        self.on_end(process)

    def notice(self, process: str, event: Event) -> None:
        """Record the errors that no fault explains."""
        if isinstance(event, TickFailed) and not isinstance(event.error, (BackendError, TimeoutError)):
            self.errors[f"{event.service} of {process}: {event.error!r}"] = None

    def observe(self, process: str, operation: str, effects: Iterable[Effect]) -> None:
        """Record what took effect, whether or not the node gets the answer."""
        del process
        if operation in _RECORDED:
            for effect in effects:
                self._record(effect)

    def _record(self, effect: Effect) -> None:
        match effect:
            case effects.Decided(decision=decision):
                task = self._tasks[decision.key]
                for run in decision.dispatch:
                    task.runs[run.id] = _OpenRun(run, held=False)
                if decision.hold is not None:
                    task.runs[decision.hold.id] = _OpenRun(decision.hold, held=True)
                self._skip(task, decision.skipped)
                task.next_slot = decision.next_slot
            case effects.Written(write=write):
                self._skip(self._tasks[write.definition.key], write.skipped)
            case effects.Settled(settlement=settlement):
                self._settled(settlement)
            case effects.Reaped(claim=claim):
                self._set_status(claim, ExecutionStatus.LOST)
            case effects.Released(claim=claim, started=True):
                self._set_status(claim, ExecutionStatus.RELEASED)
            case effects.Granted(term=term) | effects.Deposed(term=term):
                self._granted(term)
            case _:
                pass

    def _skip(self, task: _OpenTask, skipped: Iterable[Skipped]) -> None:
        for skip in skipped:
            slot: datetime | None = skip.first
            for _ in range(skip.count):
                if slot is None:
                    break
                task.skipped[slot] = skip.reason
                self.on_skip(task.definition.key, slot)
                slot = task.definition.schedule.next_after(slot)

    def _settled(self, settlement: Settlement) -> None:
        status, run = _STATUS[type(settlement.outcome)], settlement.claim.run
        execution = self._set_status(settlement.claim, status)
        if status is not ExecutionStatus.RETRIED:
            self._tasks[run.task].runs[run.id].status = status
        if status is ExecutionStatus.EXPIRED and run.slot is not None:
            self.on_skip(run.task, run.slot)
        if execution is not None and settlement.failure is not None:
            execution.error = f"{settlement.failure.type}: {settlement.failure.message}".rstrip(": ")

    def _set_status(self, claim: Claim, status: ExecutionStatus) -> OpenExecution | None:
        execution = self._open.pop((claim.run.id, claim.token), None)
        if execution is not None:
            execution.status = status
        return execution

    def _granted(self, term: Term) -> None:
        if not self.leaders or self.leaders[-1][1] != term.holder.value:
            self.leaders.append((self.time(), term.holder.value))

    # -- the results --------------------------------------------------------------------------------------------------

    def results(self, end: datetime) -> tuple[TaskResult, ...]:
        """Everything that was recorded, as values."""
        return tuple(self._task_result(self._tasks[key], end) for key in sorted(self._tasks))

    def _task_result(self, task: _OpenTask, end: datetime) -> TaskResult:
        key, schedule = task.definition.key, task.definition.schedule
        runs: list[PlannedRun] = []
        for one in task.runs.values():
            slot = one.run.slot
            assert slot is not None, "a simulation triggers no run by hand"
            executions = tuple(self._execution(key, slot, execution) for execution in one.executions)
            last = executions[-1].status if executions else ExecutionStatus.UNFINISHED
            runs.append(
                PlannedRun(
                    task=key,
                    slot=slot,
                    due=schedule.due_at(key, slot),
                    held=one.held,
                    status=one.status or last,
                    executions=executions,
                )
            )
        undecided: list[datetime] = []
        following = None if task.next_slot is None else task.next_slot.slot
        while following is not None and schedule.due_at(key, following) < end:
            undecided.append(following)
            following = schedule.next_after(following)
        return TaskResult(
            task=task.definition,
            runs=tuple(sorted(runs, key=lambda run: run.slot)),
            skipped=tuple(
                SkippedSlot(task=key, slot=slot, reason=reason) for slot, reason in sorted(task.skipped.items())
            ),
            undecided=tuple(undecided),
        )

    def _execution(self, key: TaskKey, slot: datetime, execution: OpenExecution) -> Execution:
        return Execution(
            task=key,
            slot=slot,
            attempt=execution.attempt,
            worker=execution.worker,
            began=self.instant(execution.began),
            ended=None if execution.ended is None else self.instant(execution.ended),
            status=execution.status or ExecutionStatus.UNFINISHED,
            error=execution.error,
        )
