"""The states of a run.

Theory. A *run* is one execution promised to the user; it ends exactly once. An *attempt* is one try at it. A live run
is in exactly one place:

    HELD      waits until another run of the task ends (overlap not allowed, or limited)
    QUEUED    may be claimed by any worker that serves its queue and knows its function
    RUNNING   one worker holds a claim on it; without heartbeats the claim ends
    WAITING   comes to the queue at a set instant (backoff of a retry, delay of a release or of a request)

The states SUCCEEDED, FAILED, CANCELLED and EXPIRED are final. Only the holder of the claim may settle a running
attempt. If the claim expires (LOST), the run returns to the queue with the next attempt number. That is a loss and no
failure: nothing is known about the function, which may not have been called. Losses have a limit of their own, so that
a run that kills its workers ends. A release, at once (RELEASED) or with a delay (POSTPONED), counts neither as a
failure nor as a loss. The removal of a task removes its runs from every place.

A run may have a last instant for its start. A worker that claims the first attempt later than that, by its own clock,
settles the run as EXPIRED and does not execute it. A run that has started once goes on at any time: the limit does not
apply to its retries and to the attempts after a loss.

All other transitions are in the table below. The stores keep the places. The simulation moves each run of its model by
this table, and compares the store with the model after every operation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from task_manager_core.domain.duties import DEFAULT_QUEUE
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.memory import Remembered
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy


class RunState(Enum):
    """The place of a live run, or how a run has ended."""

    HELD = "held"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class RunTransition(Enum):
    """The causes of a change between two states."""

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
    """One promised execution, as it was dispatched. A run never changes; its attempts are counted elsewhere.

    `slot` is None for a triggered run. `kwargs` is the canonical JSON text of an object. `version` is the version of
    the definition at the dispatch. `dynamic` says whether the task is dynamic, because a static task has its own
    function. `start_by` is the last instant at which the first attempt may start; None sets no limit. `max_instances`
    limits the live runs of a task whose runs may overlap; None sets no limit. `queue` is the queue of the run whenever
    it is queued. `trace` is the trace context of the dispatch; None if it was not traced.
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
    max_instances: int | None = None
    queue: str = DEFAULT_QUEUE
    trace: str | None = None

    @property
    def live_limit(self) -> int | None:
        """How many runs of the task may live at the same time, this one included; None: any number."""
        return 1 if self.exclusive else self.max_instances

    @property
    def exclusive(self) -> bool:
        """True if no other run of the task may live at the same time."""
        return self.overlap is not Overlap.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A worker's lease on one attempt.

    `token` is the fencing token: each attempt has another one, and the tokens of one run strictly increase. `attempt`
    counts from 1. `failures` counts the earlier attempts that failed, `losses` those that lost their worker.
    """

    run: Run
    attempt: int
    failures: int
    losses: int = 0
    token: int
    worker: NodeId

    def expired(self, now: datetime) -> bool:
        """True if it is too late for the first attempt of the run. `now` is the time of the worker."""
        return self.attempt == 1 and self.run.start_by is not None and now > self.run.start_by


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt and its run succeeded."""


@dataclass(frozen=True, slots=True)
class Retried:
    """This attempt failed; the next one may start after `delay`."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Exhausted:
    """This attempt failed, and the run is not tried again."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run was cancelled by request."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The run was claimed too late and was not executed."""


Outcome = Succeeded | Retried | Exhausted | Cancelled | Expired


class AttemptStatus(Enum):
    """The status of an attempt in the history.

    RETRIED means that the attempt failed and another one follows. LOST means that the claim of its worker expired.
    EXPIRED means that the run was claimed too late and was not executed.
    """

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
    """The exception of the user's function. `message` and `traceback` have a limited length."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the user's function returned.

    `type` is the qualified name of its class. `json` is the value as JSON; None if the value is no JSON, or too long to
    be kept. `size` is the number of bytes of the JSON; None if there is none.
    """

    type: str
    size: int | None = None
    json: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One line of history. `started_at` and `duration` come from the worker's clock: people read them, no rule does.
    `trace` is the trace context of the attempt; None if it was not traced, or did not end itself."""

    run: RunId
    slot: datetime | None
    attempt: int
    status: AttemptStatus
    started_at: datetime
    duration: timedelta
    worker: NodeId
    token: int
    failure: Failure | None = None
    result: Result | None = None
    trace: str | None = None

    def outline(self) -> AttemptRecord:
        """The same line without its long parts: the message and the traceback of the failure, the result, and the
        trace."""
        failure = None if self.failure is None else replace(self.failure, message="", traceback="")
        return replace(self, failure=failure, result=None, trace=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The outcome of a claimed attempt, with the times that the worker measured. `result` is None if the function
    returned None. `remembered` is for the task, and belongs to a success. `trace` is for the line of history."""

    claim: Claim
    outcome: Outcome
    started_at: datetime
    duration: timedelta
    failure: Failure | None = None
    result: Result | None = None
    remembered: Remembered | None = None
    trace: str | None = None

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
            result=self.result,
            trace=self.trace,
        )
