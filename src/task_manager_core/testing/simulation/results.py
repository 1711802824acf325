"""The results of a simulation: every slot and its runs, every execution, and the questions that you can ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from itertools import chain

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.simulation.faults import Fault
from task_manager_core.testing.simulation.naming import TaskName, key_of_name
from task_manager_core.testing.simulation.overlaps import (
    OverlapInterval,
    PileUp,
    overlaps,
    overlaps_between,
    pile_ups_of,
)

ON_TIME = timedelta(0)


class ExecutionStatus(Enum):
    """How an execution ended.

    - LOST: its worker died, stood still or was cut off, and lost the claim. Another worker executes the run again.
    - RELEASED: its worker stopped gracefully before the function had ended. Another worker executes the run again.
    - UNFINISHED: the simulation ended first.
    - EXPIRED: the run was not executed, because no worker claimed it by its start deadline.
    """

    SUCCEEDED = "succeeded"
    RETRIED = "failed, to be retried"
    FAILED = "failed for good"
    CANCELLED = "cancelled"
    RELEASED = "released"
    LOST = "lost with its worker"
    UNFINISHED = "not finished"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One attempt, as it was executed: from the call of the function to its return, or to the end of its process.

    `worker` names the process: "w0", after a restart "w0#2". `ended` is None if the simulation ended first.
    """

    task: TaskKey
    slot: datetime
    attempt: int
    worker: str
    began: datetime
    ended: datetime | None
    status: ExecutionStatus
    error: str | None = None

    @property
    def duration(self) -> timedelta | None:
        return None if self.ended is None else self.ended - self.began

    def __str__(self) -> str:
        until = "…" if self.ended is None else f"{self.ended:%H:%M:%S}"
        why = "" if self.error is None else f": {' '.join(self.error.split())}"
        return f"{self.task} {self.began:%Y-%m-%d %H:%M:%S}–{until} on {self.worker} ({self.status.value}{why})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """The run of a slot. `due` is the slot plus its jitter. `held` says that the run first waited for an earlier run of
    its task. `status` is the outcome; of a run without an outcome it is how the last execution ended. `executions` is
    empty if no worker began the run."""

    task: TaskKey
    slot: datetime
    due: datetime
    held: bool
    status: ExecutionStatus
    executions: tuple[Execution, ...]

    @property
    def began(self) -> datetime | None:
        return self.executions[0].began if self.executions else None

    @property
    def ended(self) -> datetime | None:
        """The end of its last execution."""
        return self.executions[-1].ended if self.executions else None

    @property
    def lateness(self) -> timedelta | None:
        """From the instant at which it was due to its first execution. None if it never began."""
        return None if self.began is None else self.began - self.due

    def late_by(self, end: datetime) -> timedelta:
        """The same. For a run that never began: how late it was at the end of the simulation."""
        return (self.began or end) - self.due

    @property
    def lost(self) -> int:
        """The number of its executions that were lost with their worker."""
        return sum(execution.status is ExecutionStatus.LOST for execution in self.executions)

    def __str__(self) -> str:
        slot = f"{self.task} {self.slot:%Y-%m-%d %H:%M:%S}"
        if not self.executions:
            return f"{slot} {'expired' if self.status is ExecutionStatus.EXPIRED else 'never began'}"
        last = self.executions[-1]
        return f"{slot} attempt {last.attempt} {last.status.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedSlot:
    task: TaskKey
    slot: datetime
    reason: SkipReason

    def __str__(self) -> str:
        return f"{self.task} {self.slot:%Y-%m-%d %H:%M:%S} skipped: {self.reason.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """A fault that happened. `workers` names the processes that it hit; `until` is None if it never ended."""

    at: datetime
    until: datetime | None
    workers: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        until = "" if self.until is None else f" until {self.until:%Y-%m-%d %H:%M:%S}"
        return f"{self.at:%Y-%m-%d %H:%M:%S} {', '.join(self.workers)} {self.what}".replace("  ", " ") + until


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """One task. `undecided` has the slots that were due, and that no leader had decided about by the end."""

    task: TaskDefinition
    runs: tuple[PlannedRun, ...]
    skipped: tuple[SkippedSlot, ...]
    undecided: tuple[datetime, ...]

    @property
    def key(self) -> TaskKey:
        return self.task.key

    @property
    def planned(self) -> tuple[datetime, ...]:
        """All slots, in order."""
        decided = chain((run.slot for run in self.runs), (skip.slot for skip in self.skipped))
        return tuple(sorted(chain(decided, self.undecided)))

    @property
    def expected(self) -> tuple[PlannedRun, ...]:
        """The runs that should execute, and each undecided slot as a run that never began."""
        return (
            *(run for run in self.runs if run.status is not ExecutionStatus.EXPIRED),
            *map(self._never_begun, self.undecided),
        )

    def _never_begun(self, slot: datetime) -> PlannedRun:
        due = self.task.schedule.due_at(self.key, slot)
        return PlannedRun(
            task=self.key, slot=slot, due=due, held=False, status=ExecutionStatus.UNFINISHED, executions=()
        )

    @property
    def executions(self) -> tuple[Execution, ...]:
        """In the order in which they began."""
        found = (execution for run in self.runs for execution in run.executions)
        return tuple(sorted(found, key=lambda execution: execution.began))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a simulation. Far from every fault a node waits up to `calm` between two passes. From a fault
    until `settling` after it, all intervals are the configured ones. `steps` is the number of simulated steps."""

    start: datetime
    end: datetime
    workers: int
    concurrency: int
    calm: timedelta
    settling: timedelta
    steps: int

    @property
    def capacity(self) -> int:
        """How many runs can execute at the same time."""
        return self.workers * self.concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What happened in a simulation. Without a name, each question is about all tasks.

    The name of a task is "export", or "reports/export" if two groups have an export. All instants are UTC. `leaders`
    has the instants at which the leader changed, each with the new leader. `injected_faults` happened; `unused_faults`
    did not happen or changed nothing. `errors` has unexpected errors, of functions or of the library.
    """

    settings: Settings
    tasks: tuple[TaskResult, ...]
    injected_faults: tuple[InjectedFault, ...]
    leaders: tuple[tuple[datetime, str], ...]
    unused_faults: tuple[Fault, ...]
    errors: tuple[str, ...]
    _by_key: dict[TaskKey, TaskResult] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_key", {task.key: task for task in self.tasks})

    # -- what was planned, what happened ------------------------------------------------------------------------------

    def task(self, task: TaskName) -> TaskResult:
        """Everything about one task. Errors: DefinitionError for a name that no task has."""
        return self._by_key[key_of_name(self._by_key, task, "task")]

    def planned(self, task: TaskName | None = None) -> tuple[datetime, ...]:
        """All slots in order, dispatched or not. A slot that two tasks have in common is listed twice."""
        return tuple(sorted(slot for result in self._about(task) for slot in result.planned))

    def runs(self, task: TaskName | None = None) -> tuple[PlannedRun, ...]:
        """The runs of the dispatched slots, each with its executions."""
        return tuple(run for result in self._about(task) for run in result.runs)

    def executions(self, task: TaskName | None = None) -> tuple[Execution, ...]:
        """Every attempt that a worker began."""
        return tuple(execution for result in self._about(task) for execution in result.executions)

    def skips(self, task: TaskName | None = None, *, reason: SkipReason | None = None) -> tuple[SkippedSlot, ...]:
        """The slots that were skipped, each with its reason."""
        found = (skip for result in self._about(task) for skip in result.skipped)
        return tuple(skip for skip in found if reason is None or skip.reason is reason)

    # -- problems ---------------------------------------------------------------------------------------------------

    def overlaps(
        self, first: TaskName | None = None, second: TaskName | None = None
    ) -> tuple[OverlapInterval[Execution], ...]:
        """The intervals in which two executions overlapped: of two tasks, of one task with itself if only one is named,
        or of any tasks if none is named."""
        if first is None:
            return tuple(overlaps(self.executions(second), self.settings.end))
        one, other = self.task(first), self.task(first if second is None else second)
        if one is other:
            return tuple(overlaps(one.executions, self.settings.end))
        return tuple(overlaps_between(one.executions, other.executions, self.settings.end))

    def lateness(self, task: TaskName | None = None) -> timedelta:
        """The longest delay from the instant at which a run was due to its beginning, or to the end of the simulation
        if it never began. An undecided slot counts as a run that never began."""
        end = self.settings.end
        return max((run.late_by(end) for run in self._expected(task)), default=ON_TIME)

    def late(self, task: TaskName | None = None, *, by: timedelta = ON_TIME) -> tuple[PlannedRun, ...]:
        """The runs that began more than `by` after they were due, and those that had not begun by then. An undecided
        slot counts as a run that never began."""
        end = self.settings.end
        return tuple(run for run in self._expected(task) if run.late_by(end) > by)

    def failures(self, task: TaskName | None = None) -> tuple[Execution, ...]:
        """The attempts whose function failed, whether or not the run was retried."""
        bad = {ExecutionStatus.RETRIED, ExecutionStatus.FAILED}
        return tuple(execution for execution in self.executions(task) if execution.status in bad)

    def retries(self, task: TaskName | None = None) -> tuple[PlannedRun, ...]:
        """The runs that took more than one attempt."""
        return tuple(run for run in self.runs(task) if len(run.executions) > 1)

    def lost(self, task: TaskName | None = None) -> tuple[Execution, ...]:
        """The attempts that were lost with their worker."""
        return tuple(execution for execution in self.executions(task) if execution.status is ExecutionStatus.LOST)

    def expired(self, task: TaskName | None = None) -> tuple[PlannedRun, ...]:
        """The runs that were not executed, because no worker claimed them by their start deadline."""
        return tuple(run for run in self.runs(task) if run.status is ExecutionStatus.EXPIRED)

    def unfinished(self, task: TaskName | None = None) -> tuple[PlannedRun, ...]:
        """The runs without an outcome at the end of the simulation."""
        done = {ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED, ExecutionStatus.EXPIRED}
        return tuple(run for run in self.runs(task) if run.status not in done)

    def undecided(self, task: TaskName | None = None) -> tuple[tuple[TaskKey, datetime], ...]:
        """The slots that were due at the end of the simulation, and that no leader had decided about."""
        return tuple((result.key, slot) for result in self._about(task) for slot in result.undecided)

    def pile_ups(self, *, at_least: int = 2) -> tuple[PileUp, ...]:
        """The instants at which at least so many slots are planned, the greatest number first."""
        slots = ((slot, result.key) for result in self.tasks for slot in result.planned)
        return pile_ups_of(slots, at_least)

    def _expected(self, task: TaskName | None) -> Iterator[PlannedRun]:
        return (run for result in self._about(task) for run in result.expected)

    def _about(self, name: TaskName | None) -> Iterator[TaskResult]:
        yield from self.tasks if name is None else (self.task(name),)
