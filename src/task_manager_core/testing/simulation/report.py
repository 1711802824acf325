"""What a rehearsal came to: every slot and what became of it, every execution, and questions to ask of them."""

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
from task_manager_core.testing.simulation.naming import TaskName, the_task
from task_manager_core.testing.simulation.overlaps import OverlapInterval, PileUp, gathered, overlaps, overlaps_between

ON_TIME = timedelta(0)


class ExecutionStatus(Enum):
    """How an execution ended. LOST: its worker lost the claim (it died, or stood still, or was cut off), and the run
    was put back. HANDED_BACK: its worker stopped in order. UNFINISHED: the rehearsal ended first. EXPIRED is how a run
    ends that was not executed, because no worker claimed it by its start deadline."""

    SUCCEEDED = "succeeded"
    RETRIED = "failed, to be retried"
    FAILED = "failed for good"
    CANCELLED = "cancelled"
    RELEASED = "handed back"
    LOST = "lost with its worker"
    UNFINISHED = "not finished"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One attempt, as it really executed: from the call of the function to its return, or the death of its worker.

    `worker` is a life: "w0", after a restart "w0#2". `ended` is None if the rehearsal ended first.
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
    """A slot that was dispatched, or is still to be. `due` is the slot and its jitter; `held` if it first waited for an
    earlier run of its task. `ending` is its outcome, or if it has none how its last execution ended. `executions` is
    empty if no worker got to it."""

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
        """When its last execution ended."""
        return self.executions[-1].ended if self.executions else None

    @property
    def lateness(self) -> timedelta | None:
        """From the instant it was due to the beginning of its first execution; None if it never began."""
        return None if self.began is None else self.began - self.due

    def late_by(self, end: datetime) -> timedelta:
        """The same, and of a run that never began how late it was when the rehearsal ended."""
        return (self.began or end) - self.due

    @property
    def lost(self) -> int:
        """How many of its executions were lost with their worker."""
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
class Mark:
    """Something that happened to the cluster. `who` are workers; `until` is when it was over, None if it never was."""

    at: datetime
    until: datetime | None
    who: tuple[str, ...]
    what: str

    def __str__(self) -> str:
        until = "" if self.until is None else f" until {self.until:%Y-%m-%d %H:%M:%S}"
        return f"{self.at:%Y-%m-%d %H:%M:%S} {', '.join(self.who)} {self.what}".replace("  ", " ") + until


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """One task. `undecided` are slots that nobody had decided about when the rehearsal ended."""

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
        """The runs that are to be executed, and each undecided slot as a run that never began."""
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
        """In the order of their beginnings."""
        found = (execution for run in self.runs for execution in run.executions)
        return tuple(sorted(found, key=lambda execution: execution.began))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Under which a rehearsal took place. `calm` is the longest rest of a node far from any fault, `settling` how long
    after a fault the rests are the configured ones; `steps` is what the simulation took."""

    start: datetime
    end: datetime
    workers: int
    concurrency: int
    calm: timedelta
    settling: timedelta
    steps: int

    @property
    def places(self) -> int:
        """How many runs can execute at a time."""
        return self.workers * self.concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Ask about one task by its name ("export", "reports/export" where two groups have one), or about all without.

    Instants are UTC. `leaders` are the instants at which somebody new led; `never` are faults that had no occasion or
    changed nothing; `troubles` are errors that nobody expected: of functions, or of the library.
    """

    settings: Settings
    stories: tuple[TaskResult, ...]
    marks: tuple[Mark, ...]
    leaders: tuple[tuple[datetime, str], ...]
    unused_faults: tuple[Fault, ...]
    errors: tuple[str, ...]
    _by_key: dict[TaskKey, TaskResult] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_key", {story.key: story for story in self.stories})

    # -- what was planned, what happened ------------------------------------------------------------------------------

    def task(self, task: TaskName) -> TaskResult:
        """Everything about one task. Errors: DefinitionError for a name that is no task's."""
        return self._by_key[the_task(self._by_key, task, "task")]

    def planned(self, task: TaskName | None = None) -> tuple[datetime, ...]:
        """The slots, whatever became of them, in order. Those that tasks have in common are named once for each."""
        return tuple(sorted(slot for story in self._about(task) for slot in story.planned))

    def runs(self, task: TaskName | None = None) -> tuple[PlannedRun, ...]:
        """The slots that were dispatched, each with its executions."""
        return tuple(run for story in self._about(task) for run in story.runs)

    def executions(self, task: TaskName | None = None) -> tuple[Execution, ...]:
        """Every attempt that a worker began."""
        return tuple(execution for story in self._about(task) for execution in story.executions)

    def skips(self, task: TaskName | None = None, *, reason: SkipReason | None = None) -> tuple[SkippedSlot, ...]:
        """The slots that were decided not to run, and why."""
        found = (skip for story in self._about(task) for skip in story.skipped)
        return tuple(skip for skip in found if reason is None or skip.reason is reason)

    # -- what one would rather not see --------------------------------------------------------------------------------

    def overlaps(
        self, first: TaskName | None = None, second: TaskName | None = None
    ) -> tuple[OverlapInterval[Execution], ...]:
        """The times at which two executions went on together: of two tasks; of one task with itself if only one is
        named; of any two if none is."""
        if first is None:
            everybody = self.executions() if second is None else self.executions(second)
            return tuple(overlaps(everybody, self.settings.end))
        mine, other = self.task(first), self.task(first if second is None else second)
        if mine is other:
            return tuple(overlaps(mine.executions, self.settings.end))
        return tuple(overlaps_between(mine.executions, other.executions, self.settings.end))

    def lateness(self, task: TaskName | None = None) -> timedelta:
        """How long after the instant it was due the latest run began, or how long it had waited when the rehearsal
        ended. An undecided slot counts as a run that never began."""
        end = self.settings.end
        return max((run.late_by(end) for run in self._expected(task)), default=ON_TIME)

    def late(self, task: TaskName | None = None, *, by: timedelta = ON_TIME) -> tuple[PlannedRun, ...]:
        """The runs that began more than `by` after they were due, or had not begun that long after. An undecided slot
        counts as a run that never began."""
        end = self.settings.end
        return tuple(run for run in self._expected(task) if run.late_by(end) > by)

    def failures(self, task: TaskName | None = None) -> tuple[Execution, ...]:
        """The attempts whose function failed, retried or not."""
        bad = {ExecutionStatus.RETRIED, ExecutionStatus.FAILED}
        return tuple(execution for execution in self.executions(task) if execution.status in bad)

    def retries(self, task: TaskName | None = None) -> tuple[PlannedRun, ...]:
        """The runs that took more than one attempt."""
        return tuple(run for run in self.runs(task) if len(run.executions) > 1)

    def lost(self, task: TaskName | None = None) -> tuple[Execution, ...]:
        """The attempts that were lost with their worker, and put back."""
        return tuple(execution for execution in self.executions(task) if execution.status is ExecutionStatus.LOST)

    def expired(self, task: TaskName | None = None) -> tuple[PlannedRun, ...]:
        """The runs that were not executed, because no worker claimed them by their start deadline."""
        return tuple(run for run in self.runs(task) if run.status is ExecutionStatus.EXPIRED)

    def unfinished(self, task: TaskName | None = None) -> tuple[PlannedRun, ...]:
        """The runs without an outcome when the rehearsal ended."""
        done = {ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED, ExecutionStatus.EXPIRED}
        return tuple(run for run in self.runs(task) if run.status not in done)

    def undecided(self, task: TaskName | None = None) -> tuple[tuple[TaskKey, datetime], ...]:
        """The slots that nobody had decided about when the rehearsal ended."""
        return tuple((story.key, slot) for story in self._about(task) for slot in story.undecided)

    def pile_ups(self, *, at_least: int = 2) -> tuple[PileUp, ...]:
        """The instants for which at least so many slots are planned, the greatest first."""
        slots = ((slot, story.key) for story in self.stories for slot in story.planned)
        return gathered(slots, at_least)

    # -- shown --------------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """A page of text."""
        from task_manager_core.testing.simulation.summary import summary  # noqa: PLC0415 - it is about this class

        return summary(self)

    def to_html(self) -> str:
        """One self-contained page that draws planned against actual, a row a task."""
        from task_manager_core.testing.simulation.page import page  # noqa: PLC0415 - it is about this class

        return page(self)

    def _expected(self, task: TaskName | None) -> Iterator[PlannedRun]:
        return (run for story in self._about(task) for run in story.expected)

    def _about(self, task: TaskName | None) -> Iterator[TaskResult]:
        yield from self.stories if task is None else (self.task(task),)
