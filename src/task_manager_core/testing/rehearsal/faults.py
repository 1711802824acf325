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
from typing import Literal

from task_manager_core.domain.errors import DefinitionError
from task_manager_core.testing.rehearsal.naming import TaskName

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

    def __str__(self) -> str:
        later = f", {self.after} after it began" if self.after else ""
        return f"during run {self.nth} of {self.task}{later}"


When = timedelta | datetime | During
"""Since the start of the rehearsal, at an instant, or while a task executes."""

Target = int | Literal["leader", "all"]
"""A worker by its number, the one that leads at that moment, or every one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`lasting` is how long it takes until all is well again; None is for ever. During a task, the worker that
    executes it is meant."""

    kind: FaultKind
    at: When
    worker: Target = 0
    lasting: timedelta | None = None

    def __post_init__(self) -> None:
        if isinstance(self.at, datetime) and self.at.utcoffset() is None:
            raise DefinitionError("at", self.at, "must have a time zone")
        if isinstance(self.at, timedelta) and self.at < NOTHING:
            raise DefinitionError("at", self.at, "must not be before the start")
        if isinstance(self.at, During) and (self.at.nth < 1 or self.at.after < NOTHING):
            raise DefinitionError("during", str(self.at), "counts from 1, and nothing strikes before the beginning")
        if isinstance(self.worker, int) and self.worker < 0:
            raise DefinitionError("worker", self.worker, "workers count from 0")
        if not isinstance(self.worker, int) and self.worker not in ("leader", "all"):
            raise DefinitionError("worker", self.worker, "must be a number, 'leader' or 'all'")
        if self.lasting is not None and self.lasting < NOTHING:
            raise DefinitionError("lasting", self.lasting, "must not be negative")

    def __str__(self) -> str:
        if isinstance(self.at, During):
            return f"{self.kind.value} {self.at}"
        when = f"at {self.at.astimezone(UTC).isoformat()}" if isinstance(self.at, datetime) else f"after {self.at}"
        who = f"worker {self.worker}" if isinstance(self.worker, int) else str(self.worker)
        whom = "" if self.kind is FaultKind.STORE_DOWN else f"{who} "
        return f"{whom}{self.kind.value} {when}"


def during(task: TaskName, *, nth: int = 1, after: timedelta = NOTHING) -> During:
    """While the run of the task's `nth` slot executes, `after` its beginning."""
    return During(task=task, nth=nth, after=after)


def kill(at: When, *, worker: Target = 0, restart_after: timedelta | None = None) -> Fault:
    """Kill -9: no goodbye, no cleaning up. Another life begins `restart_after`, if at all."""
    return Fault(kind=FaultKind.KILL, at=at, worker=worker, lasting=restart_after)


def stop(at: When, *, worker: Target = 0, restart_after: timedelta | None = None) -> Fault:
    """SIGTERM: the worker resigns, lets its tasks end within `shutdown_timeout` and hands back the rest."""
    return Fault(kind=FaultKind.STOP, at=at, worker=worker, lasting=restart_after)


def pause(at: When, *, lasting: timedelta, worker: Target = 0) -> Fault:
    """The process stands still, as in a long pause of its machine, and then goes on as if nothing had been."""
    return Fault(kind=FaultKind.PAUSE, at=at, worker=worker, lasting=lasting)


def partition(at: When, *, lasting: timedelta, worker: Target = 0) -> Fault:
    """Nothing gets through between the worker and the store."""
    return Fault(kind=FaultKind.PARTITION, at=at, worker=worker, lasting=lasting)


def store_down(at: When, *, lasting: timedelta) -> Fault:
    """The store refuses everybody, and forgets nothing."""
    return Fault(kind=FaultKind.STORE_DOWN, at=at, worker="all", lasting=lasting)


def outage(at: When, *, lasting: timedelta) -> Fault:
    """All workers die, and come back together."""
    return kill(at, worker="all", restart_after=lasting)


def rolling_deploy(
    at: timedelta | datetime,
    *,
    workers: int,
    every: timedelta = timedelta(minutes=1),
    away: timedelta = timedelta(seconds=10),
) -> tuple[Fault, ...]:
    """One worker after the other is stopped in order and starts again."""
    return tuple(stop(at + number * every, worker=number, restart_after=away) for number in range(workers))
