"""The life of a run.

Theory. A *run* is one execution promised to the user; it ends exactly once. An *attempt* is one try at it. A live run
stands in exactly one place:

    HELD      waits until the task's other run ends (overlap not allowed)
    QUEUED    may be claimed by any worker that knows its function
    RUNNING   one worker holds a claim on it; without heartbeats the claim ends
    WAITING   comes back to the queue at a set instant (backoff of a retry, or the delay with which a worker gave it
              back)

and SUCCEEDED, FAILED, CANCELLED, EXPIRED are absorbing. Only the holder of the claim may settle a running attempt; a
claim that ended (LOST) puts the run back with the next attempt number. That is a loss and no failure: nothing is known
about the function, which may not have been called. Losses have a bound of their own, so that a run which kills its
workers ends.
Giving a run back, at once (RELEASED) or for later (POSTPONED), counts as nothing. A task that is removed takes its runs
with it, wherever they stand.

A run may have an instant by which it has to start. A worker that claims it for the first attempt later than that, by
its own clock, settles it as EXPIRED and does not execute it. A run that has started once goes on, whatever the time:
its retries, and the attempts that follow a loss, are not judged.

Every other move is in the table below. Stores keep the places; the books of the simulation move each run by this table,
and after every operation the store is compared with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy


class RunState(Enum):
    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class RunTransition(Enum):
    """What moves a run."""

    FREED = "freed"
    CLAIMED = "claimed"
    RELEASED = "released"
    POSTPONED = "postponed"
    LOST = "lost"
    RETRIED = "retried"
    DUE = "due"
    SUCCEEDED = "succeeded"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.EXPIRED})

TRANSITIONS: dict[tuple[RunState, RunTransition], RunState] = {
    (RunState.HELD, RunTransition.FREED): RunState.QUEUED,
    (RunState.HELD, RunTransition.CANCELLED): RunState.CANCELLED,
    (RunState.QUEUED, RunTransition.CLAIMED): RunState.RUNNING,
    (RunState.QUEUED, RunTransition.CANCELLED): RunState.CANCELLED,
    (RunState.RUNNING, RunTransition.SUCCEEDED): RunState.SUCCEEDED,
    (RunState.RUNNING, RunTransition.RETRIED): RunState.WAITING,
    (RunState.RUNNING, RunTransition.EXHAUSTED): RunState.FAILED,
    (RunState.RUNNING, RunTransition.CANCELLED): RunState.CANCELLED,
    (RunState.RUNNING, RunTransition.EXPIRED): RunState.EXPIRED,
    (RunState.RUNNING, RunTransition.RELEASED): RunState.QUEUED,
    (RunState.RUNNING, RunTransition.POSTPONED): RunState.WAITING,
    (RunState.RUNNING, RunTransition.LOST): RunState.QUEUED,
    (RunState.WAITING, RunTransition.DUE): RunState.QUEUED,
    (RunState.WAITING, RunTransition.CANCELLED): RunState.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One promised execution, as it was dispatched. Never changes; attempts are counted beside it.

    `slot` is None for a triggered run. `kwargs` is the canonical JSON text of an object. `version` is the version of
    the definition that dispatched it; `dynamic` tells whether its task is, since a static task has a function of its
    own. `start_by` is the last instant at which its first attempt may start, None for any.
    """

    id: RunId
    task: TaskKey
    slot: datetime | None
    function: str
    kwargs: str
    priority: Priority
    overlap: Overlap
    retry: RetryPolicy
    timeout: timedelta | None
    version: int
    dynamic: bool
    start_by: datetime | None = None

    @property
    def exclusive(self) -> bool:
        """May no other run of the task live beside it?"""
        return self.overlap is not Overlap.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's lease on one attempt.

    `token` is the fencing token: unique per attempt, strictly increasing within a run. `attempt` counts from 1. Of the
    attempts before this one, `failures` counts those that failed and `losses` those that lost their worker.
    """

    run: Run
    attempt: int
    failures: int
    losses: int = 0
    token: int
    worker: NodeId

    def expired(self, now: datetime) -> bool:
        """Does the run come too late to be started for the first time? `now` is the clock of the worker."""
        return self.attempt == 1 and self.run.start_by is not None and now > self.run.start_by


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The run ends well."""


@dataclass(frozen=True, slots=True)
class Retried:
    """This attempt failed; the next one may start after `delay`."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Exhausted:
    """This attempt failed and there will be no other."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run was cancelled by request."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The run was claimed too late, and not executed."""


Outcome = Succeeded | Retried | Exhausted | Cancelled | Expired


class AttemptStatus(Enum):
    """How an attempt is remembered. RETRIED: failed, another attempt follows. LOST: its worker's claim ended. EXPIRED:
    claimed too late, and not executed."""

    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    EXPIRED = "expired"


STATUS_OF_OUTCOME: dict[type[Outcome], AttemptStatus] = {
    Succeeded: AttemptStatus.SUCCEEDED,
    Retried: AttemptStatus.RETRIED,
    Exhausted: AttemptStatus.FAILED,
    Cancelled: AttemptStatus.CANCELLED,
    Expired: AttemptStatus.EXPIRED,
}

TRANSITION_OF_OUTCOME: dict[type[Outcome], RunTransition] = {
    Succeeded: RunTransition.SUCCEEDED,
    Retried: RunTransition.RETRIED,
    Exhausted: RunTransition.EXHAUSTED,
    Cancelled: RunTransition.CANCELLED,
    Expired: RunTransition.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong in the user's function; `message` and `traceback` are bounded in length."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One line of history. `started_at` and `duration` are the worker's clock: for reading, never for a rule."""

    run: RunId
    slot: datetime | None
    attempt: int
    status: AttemptStatus
    started_at: datetime
    duration: timedelta
    worker: NodeId
    token: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The outcome of a claimed attempt, with what it measured."""

    claim: Claim
    outcome: Outcome
    started_at: datetime
    duration: timedelta
    failure: Failure | None = None

    def record(self) -> AttemptRecord:
        return AttemptRecord(
            run=self.claim.run.id,
            slot=self.claim.run.slot,
            attempt=self.claim.attempt,
            status=STATUS_OF_OUTCOME[type(self.outcome)],
            started_at=self.started_at,
            duration=self.duration,
            worker=self.claim.worker,
            token=self.claim.token,
            failure=self.failure,
        )
