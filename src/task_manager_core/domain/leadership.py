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
        progress: The signs of life of the scheduler of the leader. It is only compared for equality.
        first_due: The earliest due instant of all tasks, past or future; None if no task has a next slot.
    """

    now: datetime
    term: Term | None
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


def decide(current: TrustedTerm | None, now: float) -> Campaign | Renew | StepDown | Rest:
    """The next step of an elector with this term, at the local monotonic instant `now`."""
    if current is None:
        return Campaign()
    if not current.trusted(now):
        return StepDown(current.term)
    if now >= current.renew_at:
        return Renew(current.term)
    return Rest(current.renew_at - now)


def bid_delay(held: HeldByOther, policy: CurrentLeadershipPolicy) -> timedelta:
    """How long a follower waits before it campaigns again: until the lease may end, at most the retry interval."""
    return min(max(held.remaining, timedelta(milliseconds=10)), policy.retry_interval)
