"""Policies: frozen values with all the numbers that the rules use.

A policy checks its fields when it is built. Lengths of time are timedeltas. A refused value raises InvalidPolicy, which
names the field and the limit: a wrong configuration fails at the deployment and not later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from task_manager_core.domain.errors import InvalidPolicy

LEASE_HEARTBEATS = 3
"""A lease lasts this many heartbeats: two of them may get lost before the leader changes."""

TRUST_SHARE = 0.9
"""A leader trusts its lease for this share of it.

The rest allows for clocks of two machines that run at different rates.
"""

LONGEST_TIME = timedelta(days=366)
"""The longest duration in a definition.

A duration that leads out of the calendar would stop the scheduling of all tasks.
"""

DEPOSITION_GRACE = timedelta(seconds=0.75)
"""How long a follower waits for a decision about a due slot, unless the policy says otherwise.

A task of every second then loses no slot when the leader dies: one second until the next slot, and this grace, are less
than the two seconds by which a slot may be late.
"""

DEPOSITION_POLLS = 2
"""The grace is at least this many poll intervals: a leader that cannot decide about a due slot looks once a poll."""

MAX_RETRIES = 50
"""How often a failed run is tried again, unless the policy says otherwise.

The default delays 1, 2, 4, 8, 16, 32 and then 60 s add up to 45 minutes. A service that is away for half an hour does
not end the run. The run of a task that never succeeds ends within the hour, also if each attempt takes 15 s. It leaves
an error in the log and a line of history, and the next slot of an hourly task begins anew.
"""

MOST_INSTANCES = 10_000
"""The greatest limit of the live runs of a task."""

_MILLISECOND = timedelta(milliseconds=1)


def require(condition: object, field: str, value: object, reason: str) -> None:
    """Raise InvalidPolicy unless the condition is true."""
    if not condition:
        raise InvalidPolicy(field, value, reason)


def require_positive(field: str, value: timedelta) -> None:
    require(value > timedelta(0), field, value.total_seconds(), "must be more than 0 seconds")


def require_kind(field: str, value: object, kind: type) -> None:
    """Check a type. Users build some policies themselves, and a wrong type would fail only later, in every tick."""
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    require(fits, field, value, f"must be of type {kind.__name__}")


def require_storable(field: str, value: timedelta, *, least: timedelta = timedelta(milliseconds=1)) -> None:
    """Check a length of time in a definition: a store can keep it, and it can be added to any instant."""
    require_kind(field, value, timedelta)
    require(not value % _MILLISECOND, field, value.total_seconds(), "must be a whole number of milliseconds")
    require(
        least <= value <= LONGEST_TIME,
        field,
        value.total_seconds(),
        f"must be {least.total_seconds():g} to {LONGEST_TIME.total_seconds():.0f} seconds",
    )


def require_text(field: str, value: str) -> None:
    """Check a text: a store keeps UTF-8, which has no lone surrogates."""
    require(not any("\ud800" <= character <= "\udfff" for character in value), field, value, "must be valid unicode")


class Overlap(Enum):
    """What happens to a slot that falls due while an earlier run of its task lives.

    With ALLOW a task may limit its live runs by `max_instances`. A slot that would exceed the limit is skipped.
    """

    ALLOW = "allow"
    BUFFER_ONE = "buffer_one"
    SKIP = "skip"


class Priority(Enum):
    """High runs are claimed before low ones."""

    HIGH = "high"
    LOW = "low"


class CatchUpMode(Enum):
    """Which of the slots that were missed in an outage run afterwards."""

    LATEST = "latest"
    NONE = "none"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """What happens to slots that the leader did not dispatch in time.

    A slot that is late by at most `grace` was not missed: it always runs. LATEST runs the newest missed slot, unless a
    newer slot runs anyway. NONE runs no missed slot. ALL runs the missed slots of the last `window`, at most the newest
    `limit`. The other missed slots are recorded as skipped.
    """

    mode: CatchUpMode = CatchUpMode.LATEST
    window: timedelta = timedelta(days=1)
    limit: int = 100
    grace: timedelta = timedelta(seconds=2)

    def __post_init__(self) -> None:
        require_kind("catch_up.mode", self.mode, CatchUpMode)
        require_storable("catch_up.window", self.window)
        require_kind("catch_up.limit", self.limit, int)
        require(1 <= self.limit <= 500, "catch_up.limit", self.limit, "must be between 1 and 500")
        require_storable("catch_up.grace", self.grace, least=timedelta(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late a failed run is tried again.

    With `max_retries` None a run is tried until it succeeds. The default is finite, because a task that always fails
    would otherwise be retried until a person notices. `retry_on` and `no_retry_on` hold qualified names of exception
    classes ("builtins.ValueError"). An exception matches if a class of its method resolution order is named.
    An empty `retry_on` names all classes, and `no_retry_on` is stronger than `retry_on`.

    `max_lost_attempts` limits the attempts that lose their worker: its process died or stood still for too long, which
    says nothing about the function. One more such attempt ends the run; None sets no limit. The default is a limit,
    because a run that kills its workers also ends the attempts of other runs in the same processes. A deploy, an
    eviction and a few pauses may hit the same long run; six dead workers are probably caused by the run itself.
    """

    initial: timedelta = timedelta(seconds=1)
    maximum: timedelta = timedelta(seconds=60)
    multiplier: float = 2.0
    jitter: float = 0.0
    max_retries: int | None = MAX_RETRIES
    max_lost_attempts: int | None = 5
    retry_on: tuple[str, ...] = ()
    no_retry_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_storable("retry_backoff", self.initial)
        require_storable("retry_backoff_max", self.maximum)
        require(
            self.maximum >= self.initial,
            "retry_backoff_max",
            self.maximum.total_seconds(),
            f"must not be below retry_backoff={self.initial.total_seconds()}",
        )
        require(1.0 <= self.multiplier <= 1000.0, "retry_backoff_multiplier", self.multiplier, "must be 1 to 1000")
        require(0.0 <= self.jitter <= 1.0, "retry_jitter", self.jitter, "must be between 0 and 1")
        for field, most in (("max_retries", self.max_retries), ("max_lost_attempts", self.max_lost_attempts)):
            require(most is None or most >= 0, field, most, "must not be negative")
        for field, names in (("retry_on", self.retry_on), ("no_retry_on", self.no_retry_on)):
            for name in names:
                require_text(field, name)

    def outlives(self, losses: int) -> bool:
        """May a run be started again after this many of its attempts lost their worker?"""
        return self.max_lost_attempts is None or losses <= self.max_lost_attempts

    def retries(self, exception_classes: tuple[str, ...]) -> bool:
        """Is the run tried again after an exception with these class names (its method resolution order)?"""
        if any(name in self.no_retry_on for name in exception_classes):
            return False
        return not self.retry_on or any(name in self.retry_on for name in exception_classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadershipPolicy:
    """How a leader keeps its lease and how long a follower waits for one."""

    heartbeat: timedelta = timedelta(seconds=3)
    retry_interval: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        require_positive("leader_heartbeat_interval", self.heartbeat)
        require_positive("leader_retry_interval", self.retry_interval)

    @property
    def lease(self) -> timedelta:
        return self.heartbeat * LEASE_HEARTBEATS

    @property
    def trust(self) -> timedelta:
        """How long a leader may act on a successful request, counted from the instant when the request was *sent*."""
        return self.lease * TRUST_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPolicy:
    """How much a worker does at a time and how it keeps its claims."""

    concurrency: int = 2
    heartbeat: timedelta = timedelta(seconds=3)
    wait: timedelta = timedelta(seconds=1)
    unknown_function_pause: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        require(1 <= self.concurrency <= 100_000, "concurrent_tasks", self.concurrency, "must be 1 to 100000")
        require_positive("running_heartbeat_interval", self.heartbeat)
        require_positive("stream_block_ms", self.wait)
        require_positive("unknown_function_pause", self.unknown_function_pause)

    @property
    def claim_ttl(self) -> timedelta:
        """A claim is over when it had no heartbeat for this long."""
        return self.heartbeat * LEASE_HEARTBEATS


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPolicy:
    """What a process does while a function blocks its event loop.

    After `warning` the process reports the block. It keeps its claims for `limit`: a loop that stands for longer loses
    them. The length 0 switches the report, or the keeping, off.
    """

    warning: timedelta = timedelta(seconds=2)
    limit: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        for field, length in (("loop_block_warning", self.warning), ("loop_block_limit", self.limit)):
            seconds = length.total_seconds()
            require(timedelta(0) <= length <= LONGEST_TIME, field, seconds, "must be 0 seconds to 366 days")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How much one request to the store may carry.

    - A commit decides about `tasks_per_commit` tasks at most: a store is busy with it for a few milliseconds. After a
      long outage one decision accounts for many slots: a commit is full at `slots_per_commit` slots, too.
    - A worker writes `settlements` at a time. The leader reaps `reaped_claims` at a time.
    """

    tasks_per_commit: int = 100
    slots_per_commit: int = 1000
    settlements: int = 500
    reaped_claims: int = 500

    def __post_init__(self) -> None:
        for field in ("tasks_per_commit", "slots_per_commit", "settlements", "reaped_claims"):
            value: int = getattr(self, field)
            require(1 <= value <= 10_000, field, value, "must be 1 to 10000")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePolicy:
    """The intervals and time limits of one process.

    A one-off dynamic task whose runs are all over is removed after `keep_ended_tasks`; None keeps it. A wait for
    notifications ends after `notifier_wait` and begins again. `deposition_grace` is None for the default,
    which fits the poll interval and the lease. gunicorn and Kubernetes kill a process 30 seconds after their first
    signal. `shutdown_timeout` leaves a third of that for the other steps of the stop.
    """

    leadership: LeadershipPolicy = LeadershipPolicy()
    worker: WorkerPolicy = WorkerPolicy()
    batches: BatchPolicy = BatchPolicy()
    blocking: BlockPolicy = BlockPolicy()
    poll_interval: timedelta = timedelta(seconds=0.1)
    refresh_interval: timedelta = timedelta(seconds=1)
    reconciliation_interval: timedelta = timedelta(seconds=30)
    keep_ended_tasks: timedelta | None = timedelta(hours=1)
    deposition_grace: timedelta | None = None
    notifier_wait: timedelta = timedelta(seconds=15)
    shutdown_timeout: timedelta = timedelta(seconds=20)

    def __post_init__(self) -> None:
        require_positive("poll_interval", self.poll_interval)
        require_positive("refresh_interval", self.refresh_interval)
        require_positive("reconciliation_interval", self.reconciliation_interval)
        require_positive("notifier_wait", self.notifier_wait)
        if self.keep_ended_tasks is not None:
            kept = self.keep_ended_tasks.total_seconds()
            require(kept >= 0, "keep_ended_tasks", kept, "must not be negative")
        require(
            self.shutdown_timeout >= timedelta(0),
            "shutdown_timeout",
            self.shutdown_timeout.total_seconds(),
            "must not be negative",
        )
        require(
            self.poll_interval <= self.leadership.lease,
            "poll_interval",
            self.poll_interval.total_seconds(),
            f"must not exceed the lease of {self.leadership.lease.total_seconds()} s (3 × leader_heartbeat_interval)",
        )
        if self.deposition_grace is not None:
            self._check_grace(self.deposition_grace)

    def _check_grace(self, grace: timedelta) -> None:
        field, seconds, polls = "leader_deposition_grace", grace.total_seconds(), DEPOSITION_POLLS * self.poll_interval
        require(
            grace >= polls,
            field,
            seconds,
            f"must be at least {polls.total_seconds()} s ({DEPOSITION_POLLS} × poll_interval)",
        )
        lease = self.leadership.lease
        require(
            grace <= lease,
            field,
            seconds,
            f"must not exceed the lease of {lease.total_seconds()} s (3 × leader_heartbeat_interval)",
        )

    @property
    def grace(self) -> timedelta:
        """How long a follower waits for a decision about a due slot before it deposes the leader."""
        if self.deposition_grace is not None:
            return self.deposition_grace
        return min(max(DEPOSITION_GRACE, DEPOSITION_POLLS * self.poll_interval), self.leadership.lease)

    @property
    def presence_ttl(self) -> timedelta:
        """A node counts as gone when it did not announce itself for this long."""
        return max(self.refresh_interval * 10, timedelta(seconds=10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much history a store keeps: at most `runs` attempts of each task, at least for `ttl` after the last one."""

    runs: int = 500
    ttl: timedelta = timedelta(days=5)

    def __post_init__(self) -> None:
        require(1 <= self.runs <= 1_000_000, "statistics_history_runs", self.runs, "must be 1 to 1000000")
        require_positive("statistics_redis_expiration", self.ttl)
