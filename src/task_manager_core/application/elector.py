"""Asks for the term and keeps it. The only place that knows whether this node leads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.events import TermEnded, TermWon, WriteFenced
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import (
    Campaign,
    Depose,
    HeldByOther,
    LeadershipTransition,
    Renew,
    Rest,
    StepDown,
    Suspicion,
    Term,
    TrustedTerm,
    bid_delay,
    decide,
    judge,
)
from task_manager_core.ports import Clock, Leadership, Observer


class Elector:
    """Law: `trusted` names a term only while local time proves that its lease lives, unless another node deposed it.

    Another node may have deposed this one, or its process may stand still after the look: the store refuses every write
    under a term that is over. A follower looks at the leader, and campaigns when no lease lives. It deposes a leader
    that decides nothing about a due slot.
    """

    def __init__(
        self, *, node: NodeId, leadership: Leadership, policy: CurrentNodePolicy, clock: Clock, observer: Observer
    ) -> None:
        self._node = node
        self._leadership = leadership
        self._policy = policy.leadership
        self._node_policy = policy
        self._clock = clock
        self._observer = observer
        self._trusted_term: TrustedTerm | None = None
        self._maybe_held = False
        """May the store hold a lease of this node that began before the next request?"""
        self._follows = False
        """Did another node lead at the last look?"""
        self._suspicion: Suspicion | None = None
        self._is_in_doubt = False
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

    def doubt(self) -> None:
        """A notification came: the next tick of a leader asks the store whether it still leads."""
        self._is_in_doubt = True

    def drop_suspicion(self) -> None:
        """The store did not answer this node. It may be away for the leader, too."""
        self._suspicion = None

    async def tick(self) -> float | None:
        asked_at = self._clock.monotonic()
        decision = decide(self._trusted_term, asked_at, in_doubt=self._is_in_doubt)
        self._is_in_doubt = False
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
                return await (self._look(asked_at) if self._follows else self._campaign(asked_at))
            case _:
                assert_never(decision)

    async def _look(self, asked_at: float) -> float:
        """Look at the leader. Campaign if there is none; depose it if the grace for a due slot is over."""
        earlier, self._suspicion = self._suspicion, None
        sign = await self._leadership.observe()
        answered_at = self._clock.monotonic()
        if sign.term is None or sign.term.holder == self._node:
            return await self._campaign(answered_at)
        self.on_other_leader()
        suspicion = Suspicion.after(earlier, sign, answered_at)
        decision = judge(suspicion, sign, asked_at=asked_at, answered_at=answered_at, grace=self._node_policy.grace)
        longest = bid_delay(sign.remaining, self._policy).total_seconds()
        match decision:
            case None:
                return longest
            case Rest(seconds):
                self._suspicion = suspicion
                return min(seconds, longest)
            case Depose(seen):
                deposition = self._leadership.depose(self._node, self._policy.lease, seen)
                return await self._ask(deposition, answered_at, deposed=seen.term)
            case _:
                assert_never(decision)

    async def _campaign(self, asked_at: float) -> float:
        return await self._ask(self._leadership.campaign(self._node, self._policy.lease), asked_at)

    async def _ask(
        self, request: Awaitable[Term | HeldByOther], asked_at: float, *, deposed: Term | None = None
    ) -> float:
        """Ask for a term. The store may answer with an older lease of this node, part of which is over. One more
        request renews that lease, and the node trusts it from that request on."""
        older, self._maybe_held = self._maybe_held, True
        answer = await request
        if isinstance(answer, HeldByOther):
            self._maybe_held = False
            followed, self._follows = self._follows, True
            self.on_other_leader()
            # A new follower looks at once, to know which slot is due next. One that has just looked waits a little.
            longest = min(bid_delay(answer.remaining, self._policy), self._node_policy.grace / 2)
            return longest.total_seconds() if followed else 0.0
        if older:
            asked_at = self._clock.monotonic()
            if not await self._leadership.renew(answer, self._policy.lease):
                self._maybe_held = False
                return 0.0
        self._begin(answer, asked_at, deposed)
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

    def _begin(self, term: Term, asked_at: float, deposed: Term | None = None) -> None:
        trusted_term = TrustedTerm.granted(term, asked_at=asked_at, policy=self._policy)
        if not trusted_term.trusted(self._clock.monotonic()):
            if self._trusted_term is not None:
                self._end(LeadershipTransition.EXPIRED)
            return
        new = self._trusted_term is None
        self._trusted_term, self._follows, self._suspicion = trusted_term, False, None
        if new:
            self._observer.notice(TermWon(node=self._node, term=term, deposed=deposed))
            self.on_won()

    def _end(self, transition: LeadershipTransition) -> None:
        assert self._trusted_term is not None
        term, self._trusted_term = self._trusted_term.term, None
        self._maybe_held = transition is not LeadershipTransition.LOST
        self._observer.notice(TermEnded(node=self._node, term=term, transition=transition))
