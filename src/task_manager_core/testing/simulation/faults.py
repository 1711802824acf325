"""What may happen to the workers of a rehearsal, and when.

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
    """What happens. The value is how a report says it."""

    KILL = "killed"
    STOP = "stopped in order"
    PAUSE = "stands still"
    PARTITION = "cut off from the store"
    STORE_DOWN = "the store is down"


@dataclass(frozen=True, slots=True, kw_only=True)
class During:
    """While the run of the task's `nth` slot executes, `after` its first execution began. A fault strikes the worker
    that executes it at that moment; if nobody does, it has no occasion."""

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
"""Since the start of the rehearsal, at an instant, or while a task executes."""

Target = int | Literal["leader", "all"]
"""A worker by its number, the one that leads at that moment, or every one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`lasting` is how long it takes until all is well again, counted for a worker that is stopped from when it has
    left; None is for ever. During a task, the worker that executes it is meant."""

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
            raise DefinitionError("worker", self.worker, "workers count from 0")

    def __str__(self) -> str:
        if isinstance(self.at, During):
            return f"{self.kind.value} {self.at}"
        when = f"at {self.at.astimezone(UTC).isoformat()}" if isinstance(self.at, datetime) else f"after {self.at}"
        who = f"worker {self.worker}" if isinstance(self.worker, int) else str(self.worker)
        whom = "" if self.kind is FaultKind.STORE_DOWN else f"{who} "
        return f"{whom}{self.kind.value} {when}"


def during(task: TaskName, *, nth: int = 1, after: Length = NOTHING) -> During:
    """While the run of the task's `nth` slot executes, `after` its beginning."""
    return During(task=task, nth=nth, after=duration("after", after))


def kill(at: Length | When, *, worker: Target = 0, restart_after: Length | None = None) -> Fault:
    """Kill -9: no goodbye, no cleaning up. Another life begins `restart_after`, if at all."""
    return _fault(FaultKind.KILL, at, worker, "restart_after", restart_after)


def stop(at: Length | When, *, worker: Target = 0, restart_after: Length | None = None) -> Fault:
    """SIGTERM: the worker resigns, lets its tasks end within `shutdown_timeout` and hands back the rest. Another life
    begins `restart_after` it has left, if at all."""
    return _fault(FaultKind.STOP, at, worker, "restart_after", restart_after)


def pause(at: Length | When, *, lasting: Length, worker: Target = 0) -> Fault:
    """The process stands still, as in a long pause of its machine, and then goes on as if nothing had been."""
    return _fault(FaultKind.PAUSE, at, worker, "lasting", duration("lasting", lasting))


def partition(at: Length | When, *, lasting: Length, worker: Target = 0) -> Fault:
    """Nothing gets through between the worker and the store."""
    return _fault(FaultKind.PARTITION, at, worker, "lasting", duration("lasting", lasting))


def store_down(at: Length | When, *, lasting: Length) -> Fault:
    """The store refuses everybody, and forgets nothing."""
    return _fault(FaultKind.STORE_DOWN, at, "all", "lasting", duration("lasting", lasting))


def outage(at: Length | When, *, lasting: Length) -> Fault:
    """All workers die, and come back together."""
    return _fault(FaultKind.KILL, at, "all", "lasting", duration("lasting", lasting))


def rolling_deploy(
    at: Length | datetime,
    *,
    workers: int,
    every: Length = timedelta(minutes=1),
    away: Length = timedelta(seconds=10),
) -> tuple[Fault, ...]:
    """One worker after the other is stopped in order and starts again."""
    first, distance = _when(at), duration("every", every)
    return tuple(stop(first + number * distance, worker=number, restart_after=away) for number in range(workers))


def _fault(kind: FaultKind, at: Length | When, worker: Target, field: str, lasting: Length | None) -> Fault:
    when = at if isinstance(at, During) else _when(at)
    return Fault(kind=kind, at=when, worker=worker, lasting=None if lasting is None else duration(field, lasting))


def _when(at: object) -> timedelta | datetime:
    """In UTC: a local zone would count hours of the wrong length."""
    if isinstance(at, datetime):
        return utc("at", at)
    return duration("at", at, "must be a timedelta or a number of seconds since the start, an instant, or during(...)")


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
