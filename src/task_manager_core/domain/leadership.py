"""Who may dispatch: terms, the window of trust, and what an elector does next.

Theory. A *term* is one holder's reign: (holder, token). The token strictly increases over the life of the system, the
holder is fresh per process, so a term is compared by equality and never by age. The store grants a term for a *lease*
and extends it while the same term asks in time; it never revives a lease that ended.

The holder cannot see the store's clock. It therefore trusts its term only until a local monotonic deadline, counted
from the instant *before* the request was sent: the store started its lease later than that, so the local deadline
comes first unless clocks run at rates that differ by more than 10 %. A process that slept longer than its trust (a
long collection, a suspended machine, a stopped process) finds the deadline behind it and forgets the term before it
does anything else.

Safety never rests on this. Every write of a leader carries its term, and the store refuses a stale one in the same
atomic step. Trust only saves useless work.

    FOLLOWER --won--> LEADER --lost | expired | resigned--> FOLLOWER

One failed heartbeat is not a lost term: the leader asks again until its trust ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import LeadershipPolicy


@dataclass(frozen=True, slots=True)
class Term:
    """One reign. Equality of both parts is the only comparison that means anything."""

    holder: NodeId
    token: int


@dataclass(frozen=True, slots=True)
class HeldByOther:
    """The answer to a bid while somebody else's lease lives."""

    holder: NodeId
    remaining: timedelta


@dataclass(frozen=True, slots=True)
class Fenced:
    """The store's answer to a write that carried a stale term: nothing was changed."""


class LeadershipState(Enum):
    """What a node is."""

    FOLLOWER = "follower"
    LEADER = "leader"


class LeadershipTransition(Enum):
    """What changes a stage."""

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
    def granted(cls, term: Term, *, asked_at: float, policy: LeadershipPolicy) -> TrustedTerm:
        """The reign after a grant or renewal whose request was sent at `asked_at`."""
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
    """Nothing to do before this long."""

    seconds: float


def decide(reign: TrustedTerm | None, now: float) -> Campaign | Renew | StepDown | Rest:
    """The next step of an elector at the local monotonic instant `now`."""
    if reign is None:
        return Campaign()
    if not reign.trusted(now):
        return StepDown(reign.term)
    if now >= reign.renew_at:
        return Renew(reign.term)
    return Rest(reign.renew_at - now)


def bid_delay(held: HeldByOther, policy: LeadershipPolicy) -> timedelta:
    """How long a follower waits before its next bid: until the lease could be free, at most the retry interval."""
    return min(max(held.remaining, timedelta(milliseconds=10)), policy.retry_interval)
