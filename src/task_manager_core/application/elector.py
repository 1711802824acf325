"""Asks for the term and keeps it. The only place that knows whether this node leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from task_manager_core.domain.current_policy import CurrentLeadershipPolicy
from task_manager_core.domain.events import TermEnded, TermWon, WriteFenced
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import (
    Campaign,
    HeldByOther,
    LeadershipTransition,
    Renew,
    Rest,
    StepDown,
    Term,
    TrustedTerm,
    bid_delay,
    decide,
)
from task_manager_core.ports import Clock, Leadership, Observer


class Elector:
    """Law: `trusted` names a term only while local time proves that no other node can have been granted one."""

    def __init__(
        self, *, node: NodeId, leadership: Leadership, policy: CurrentLeadershipPolicy, clock: Clock, observer: Observer
    ) -> None:
        self._node = node
        self._leadership = leadership
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._trusted_term: TrustedTerm | None = None
        self._maybe_held = False
        """May the store hold a lease of this node that began before the next request?"""
        self.on_won: Callable[[], None] = lambda: None
        self.on_other_leader: Callable[[], None] = lambda: None
        """Called when another node leads."""

    def trusted(self) -> Term | None:
        """The term of this node, None if it has none or no longer trusts it. A term that is no longer trusted ends
        here."""
        if self._trusted_term is not None and not self._trusted_term.trusted(self._clock.monotonic()):
            self._end(LeadershipTransition.EXPIRED)
        return None if self._trusted_term is None else self._trusted_term.term

    def fenced(self, term: Term, operation: str) -> None:
        """The store refused a write of this term: the term is over, even if the local clock still allows it."""
        self._observer.notice(WriteFenced(node=self._node, term=term, operation=operation))
        if self._trusted_term is not None and self._trusted_term.term == term:
            self._end(LeadershipTransition.LOST)

    async def tick(self) -> float | None:
        asked_at = self._clock.monotonic()
        decision = decide(self._trusted_term, asked_at)
        match decision:
            case Rest(seconds):
                return seconds
            case StepDown():
                self._end(LeadershipTransition.EXPIRED)
                return 0.0
            case Renew(term):
                renewed = await self._leadership.renew(term, self._policy.lease)
                if self._trusted_term is None or self._trusted_term.term != term:
                    return (
                        0.0  # The term ended here while the request was under way: the answer does not bring it back.
                    )
                if renewed:
                    self._begin(term, asked_at)
                else:
                    self._end(LeadershipTransition.LOST)
                return 0.0
            case Campaign():
                return await self._campaign(asked_at)
            case _:
                assert_never(decision)

    async def _campaign(self, asked_at: float) -> float:
        """Ask for a term. The store may answer with an older lease of this node, part of which is over. One more
        request renews that lease, and the node trusts it from that request on."""
        older, self._maybe_held = self._maybe_held, True
        answer = await self._leadership.campaign(self._node, self._policy.lease)
        if isinstance(answer, HeldByOther):
            self._maybe_held = False
            self.on_other_leader()
            return bid_delay(answer, self._policy).total_seconds()
        if older:
            asked_at = self._clock.monotonic()
            if not await self._leadership.renew(answer, self._policy.lease):
                self._maybe_held = False
                return 0.0
        self._begin(answer, asked_at)
        return 0.0

    async def resign(self) -> None:
        """Give the term up, so that another node can lead at once."""
        if self._trusted_term is not None:
            term = self._trusted_term.term
            self._end(LeadershipTransition.RESIGNED)
            await self._leadership.resign(term)
            self._maybe_held = False
        elif self._maybe_held:  # A request for a term was interrupted, or its answer came too late.
            answer = await self._leadership.campaign(self._node, self._policy.lease)
            if isinstance(answer, Term):
                await self._leadership.resign(answer)

    def _begin(self, term: Term, asked_at: float) -> None:
        trusted_term = TrustedTerm.granted(term, asked_at=asked_at, policy=self._policy)
        if not trusted_term.trusted(self._clock.monotonic()):
            if self._trusted_term is not None:
                self._end(LeadershipTransition.EXPIRED)
            return
        new = self._trusted_term is None
        self._trusted_term = trusted_term
        if new:
            self._observer.notice(TermWon(node=self._node, term=term))
            self.on_won()

    def _end(self, transition: LeadershipTransition) -> None:
        assert self._trusted_term is not None
        term, self._trusted_term = self._trusted_term.term, None
        self._maybe_held = transition is not LeadershipTransition.LOST
        self._observer.notice(TermEnded(node=self._node, term=term, transition=transition))
