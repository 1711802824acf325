"""The faults that a simulation can inject, and when.

faults=[
    kill(timedelta(days=3), worker="leader", restart_after=timedelta(seconds=30)),
    kill(during("export", nth=2, after=timedelta(minutes=3))),
    store_down(datetime(2026, 1, 9, 12, tzinfo=UTC), lasting=timedelta(minutes=5)),
    *rolling_deploy(timedelta(days=10), workers=3),
]
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Literal, TypeGuard

from task_manager_core.domain.duration import Length, duration
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.recurrence import utc
from task_manager_core.testing.simulation.naming import TaskName

NOTHING = timedelta(0)


class FaultKind(Enum):
    """What happens. A report shows the value."""

    KILL = "killed"
    STOP = "stopped gracefully"
    PAUSE = "stands still"
    PARTITION = "cut off from the store"
    STORE_DOWN = "the store is down"


@dataclass(frozen=True, slots=True, kw_only=True)
class During:
    """While the run of the task's `nth` slot executes, `after` its first execution began. The fault hits the worker
    that executes the run at that moment. If no worker executes it, the fault does not happen."""

    task: TaskName
    nth: int = 1
    after: timedelta = NOTHING

    def __post_init__(self) -> None:
        if not _is_number(self.nth) or self.nth < 1:
            raise DefinitionError("nth", self.nth, "must be a whole number, from 1 on")
        object.__setattr__(self, "after", duration("after", self.after))

    def __str__(self) -> str:
        later = f", {self.after} after it began" if self.after else ""
        return f"during run {self.nth} of {self.task}{later}"


When = timedelta | datetime | During
"""Some time after the start of the simulation, at an instant, or while a task executes."""

Target = int | Literal["leader", "all"]
"""A worker by its number, the worker that leads at that moment, or all workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. It ends `lasting` after it began; None: it never ends. For a worker that is stopped, `lasting` counts
    from the end of its process. A fault `during` a task hits the worker that executes it."""

    kind: FaultKind
    at: When
    worker: Target = 0
    lasting: timedelta | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.at, During):
            object.__setattr__(self, "at", _when(self.at))
        if not _is_number(self.worker) and self.worker not in ("leader", "all"):
            raise DefinitionError("worker", self.worker, "must be a number, 'leader' or 'all'")
        if isinstance(self.worker, int) and self.worker < 0:
            raise DefinitionError("worker", self.worker, "workers are counted from 0")

    def __str__(self) -> str:
        if isinstance(self.at, During):
            return f"{self.kind.value} {self.at}"
        when = f"at {self.at.astimezone(UTC).isoformat()}" if isinstance(self.at, datetime) else f"after {self.at}"
        who = f"worker {self.worker}" if isinstance(self.worker, int) else str(self.worker)
        whom = "" if self.kind is FaultKind.STORE_DOWN else f"{who} "
        return f"{whom}{self.kind.value} {when}"


def during(task: TaskName, *, nth: int = 1, after: Length = NOTHING) -> During:
    """While the run of the task's `nth` slot executes, `after` it began."""
    return During(task=task, nth=nth, after=duration("after", after))


def kill(at: Length | When, *, worker: Target = 0, restart_after: Length | None = None) -> Fault:
    """Kill -9: the worker ends at once, without any cleanup. A new process starts `restart_after`; None: never."""
    return _fault(FaultKind.KILL, at, worker, "restart_after", restart_after)


def stop(at: Length | When, *, worker: Target = 0, restart_after: Length | None = None) -> Fault:
    """SIGTERM: the worker resigns, lets its tasks end within `shutdown_timeout` and releases the rest. A new process
    starts `restart_after` the end of the old one; None: never."""
    return _fault(FaultKind.STOP, at, worker, "restart_after", restart_after)


def pause(at: Length | When, *, lasting: Length, worker: Target = 0) -> Fault:
    """The process stands still, as in a long pause of its machine. Then it continues."""
    return _fault(FaultKind.PAUSE, at, worker, "lasting", duration("lasting", lasting))


def partition(at: Length | When, *, lasting: Length, worker: Target = 0) -> Fault:
    """No message passes between the worker and the store."""
    return _fault(FaultKind.PARTITION, at, worker, "lasting", duration("lasting", lasting))


def store_down(at: Length | When, *, lasting: Length) -> Fault:
    """The store refuses every request. It keeps its data."""
    return _fault(FaultKind.STORE_DOWN, at, "all", "lasting", duration("lasting", lasting))


def outage(at: Length | When, *, lasting: Length) -> Fault:
    """All workers are killed, and restart together."""
    return _fault(FaultKind.KILL, at, "all", "lasting", duration("lasting", lasting))


def rolling_deploy(
    at: Length | datetime,
    *,
    workers: int,
    every: Length = timedelta(minutes=1),
    away: Length = timedelta(seconds=10),
) -> tuple[Fault, ...]:
    """The workers are stopped gracefully and restarted, one after the other."""
    first, distance = _when(at), duration("every", every)
    return tuple(stop(first + number * distance, worker=number, restart_after=away) for number in range(workers))


def _fault(kind: FaultKind, at: Length | When, worker: Target, field: str, lasting: Length | None) -> Fault:
    when = at if isinstance(at, During) else _when(at)
    return Fault(kind=kind, at=when, worker=worker, lasting=None if lasting is None else duration(field, lasting))


def _when(at: object) -> timedelta | datetime:
    """Instants in UTC: in a local zone, adding hours may skip or repeat an hour."""
    if isinstance(at, datetime):
        return utc("at", at)
    return duration("at", at, "must be a timedelta or a number of seconds since the start, an instant, or during(...)")


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
