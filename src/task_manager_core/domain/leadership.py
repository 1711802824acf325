"""Leadership: terms, how long a leader trusts its term, and the next step of an elector.

Theory. A *term* is a pair (holder, token). The token strictly increases as long as the store exists, and every process
has a new node id, so terms are compared by equality and never by age. The store grants a term for a *lease*. It extends
the lease if the same term asks in time, and it never revives a lease that ended.

The holder cannot see the store's clock. It therefore trusts its term only until a local monotonic deadline, counted
from the instant *before* the request was sent. The store started the lease later than that, so the local deadline comes
first unless the rates of the two clocks differ by more than 10 %. A process that slept past its deadline (a long
garbage collection, a suspended machine, a stopped process) forgets the term before it does anything else.

Safety does not depend on this trust. Every write of a leader carries its term, and the store refuses a stale term in
the same atomic step. The trust only saves useless work.

    FOLLOWER --won--> LEADER --lost | expired | resigned--> FOLLOWER

One failed heartbeat is not a lost term: the leader asks again until its trust ends.

A lease is long, so that a leader with a slow network keeps it. A leader that died would then cost every slot of a
lease. So a follower may *depose* a leader that decides nothing about a due slot for a *grace*: the store grants a
greater token although the old lease lives. The store counts the *progress* of the term: the signs of life of the
scheduler of the leader. A renewal is no sign: the elector of a process may live while its scheduler hangs.

A follower holds a *suspicion*: the term, its progress and the due slot that it saw, and the local instant from which
the grace counts. That is the instant at which the follower first saw them, or at which the slot was due, whichever is
later. So a store whose clock is set forward accuses no leader. A new progress, a new term, another first slot and a
request that failed end the suspicion. The grace grows with the time that the store takes to answer: a store that is
slow is slow for the leader, too. In the end the store compares the term and the progress again, in the step that grants
the new term: of two followers one deposes, and a leader that decided meanwhile stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from task_manager_core.domain.current_policy import CurrentLeadershipPolicy
from task_manager_core.domain.identity import NodeId


@dataclass(frozen=True, slots=True)
class Term:
    """The right of one node to lead. Terms are only compared for equality of both parts."""

    holder: NodeId
    token: int


@dataclass(frozen=True, slots=True)
class HeldByOther:
    """The answer to a candidate while the lease of another node lives. `remaining` is the rest of that lease."""

    holder: NodeId
    remaining: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderSign:
    """What the store shows of the leader to a node that looks.

    Attributes:
        now: The store's time.
        term: The live term, None if no lease lives.
        remaining: The rest of its lease.
        progress: The signs of life of the scheduler of the leader. It is only compared for equality.
        first_due: The earliest due instant of all tasks, past or future; None if no task has a next slot.
    """

    now: datetime
    term: Term | None
    remaining: timedelta
    progress: int
    first_due: datetime | None


@dataclass(frozen=True, slots=True)
class Fenced:
    """The store's answer to a write that carried a stale term: nothing was changed."""


class LeadershipState(Enum):
    """The role of a node."""

    FOLLOWER = "follower"
    LEADER = "leader"


class LeadershipTransition(Enum):
    """The causes of a change between the two states."""

    WON = "won"
    LOST = "lost"
    EXPIRED = "expired"
    RESIGNED = "resigned"


_LOOK_MARGIN = 0.002
"""Seconds. Clocks of stores count whole milliseconds."""

TRANSITIONS: dict[tuple[LeadershipState, LeadershipTransition], LeadershipState] = {
    (LeadershipState.FOLLOWER, LeadershipTransition.WON): LeadershipState.LEADER,
    (LeadershipState.LEADER, LeadershipTransition.LOST): LeadershipState.FOLLOWER,
    (LeadershipState.LEADER, LeadershipTransition.EXPIRED): LeadershipState.FOLLOWER,
    (LeadershipState.LEADER, LeadershipTransition.RESIGNED): LeadershipState.FOLLOWER,
}


@dataclass(frozen=True, slots=True)
class TrustedTerm:
    """A term with the local instants that bound its use. Instants are seconds of the node's monotonic clock."""

    term: Term
    trusted_until: float
    renew_at: float

    @classmethod
    def granted(cls, term: Term, *, asked_at: float, policy: CurrentLeadershipPolicy) -> TrustedTerm:
        """The term after a grant or a renewal whose request was sent at `asked_at`."""
        return cls(
            term=term,
            trusted_until=asked_at + policy.trust.total_seconds(),
            renew_at=asked_at + policy.heartbeat.total_seconds(),
        )

    def trusted(self, now: float) -> bool:
        return now < self.trusted_until


@dataclass(frozen=True, slots=True)
class Campaign:
    """Ask for a term."""


@dataclass(frozen=True, slots=True)
class Renew:
    """Extend this term."""

    term: Term


@dataclass(frozen=True, slots=True)
class StepDown:
    """Forget this term: its trust has ended."""

    term: Term


@dataclass(frozen=True, slots=True)
class Rest:
    """Do nothing for this many seconds."""

    seconds: float


def decide(current: TrustedTerm | None, now: float, *, in_doubt: bool = False) -> Campaign | Renew | StepDown | Rest:
    """The next step of an elector with this term, at the local monotonic instant `now`.

    A leader in doubt renews early: another node may have deposed it.
    """
    if current is None:
        return Campaign()
    if not current.trusted(now):
        return StepDown(current.term)
    if in_doubt or now >= current.renew_at:
        return Renew(current.term)
    return Rest(current.renew_at - now)


def bid_delay(remaining: timedelta, policy: CurrentLeadershipPolicy) -> timedelta:
    """How long a follower waits before it asks again: until the lease of the leader may end, at most the retry
    interval."""
    return min(max(remaining, timedelta(milliseconds=10)), policy.retry_interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A slot that the leader has to decide about. The grace for it counts from `since`, a local monotonic instant."""

    term: Term
    progress: int
    first_due: datetime
    since: float

    @classmethod
    def after(cls, earlier: Suspicion | None, sign: LeaderSign, answered_at: float) -> Suspicion | None:
        """The suspicion after a look. It stays the earlier one if the leader has not moved since."""
        if sign.term is None or sign.first_due is None:
            return None
        due_at = answered_at + (sign.first_due - sign.now).total_seconds()
        same = earlier is not None and earlier.about(sign)
        first_seen = earlier.since if earlier is not None and same else answered_at
        return cls(term=sign.term, progress=sign.progress, first_due=sign.first_due, since=max(first_seen, due_at))

    def about(self, sign: LeaderSign) -> bool:
        """Does the store still show what this suspicion is about?"""
        return (self.term, self.progress, self.first_due) == (sign.term, sign.progress, sign.first_due)


@dataclass(frozen=True, slots=True)
class Depose:
    """Ask for a term in place of this leader."""

    sign: LeaderSign


def judge(
    suspicion: Suspicion | None, sign: LeaderSign, *, asked_at: float, answered_at: float, grace: timedelta
) -> Depose | Rest | None:
    """The next step of a follower after a look, which took from `asked_at` to `answered_at` by its monotonic clock.

    `suspicion` includes this look. The answer is None if no slot is planned.
    """
    if suspicion is None:
        return None
    round_trip = max(answered_at - asked_at, 0.0)
    ripe_at = suspicion.since + grace.total_seconds() + 2 * round_trip
    is_due = suspicion.first_due <= sign.now
    if is_due and asked_at >= ripe_at:
        return Depose(sign)
    # The next look may take a little longer than this one.
    return Rest(max(ripe_at - answered_at, 0.0) + round_trip + _LOOK_MARGIN)
