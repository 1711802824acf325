"""Keeps or seeks the term, and is the only one who knows whether this node leads."""

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
    """Law: `trusted` names a term only while local time proves that nobody else can have been granted one."""

    def __init__(
        self, *, node: NodeId, leadership: Leadership, policy: CurrentLeadershipPolicy, clock: Clock, observer: Observer
    ) -> None:
        self._node = node
        self._leadership = leadership
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._reign: TrustedTerm | None = None
        self._maybe_held = False
        """May the store hold a lease of ours that began before our next request?"""
        self.on_won: Callable[[], None] = lambda: None
        self.on_other: Callable[[], None] = lambda: None
        """Somebody else leads."""

    def trusted(self) -> Term | None:
        """The term of this node if it still trusts it; a term beyond its trust is forgotten here and now."""
        if self._reign is not None and not self._reign.trusted(self._clock.monotonic()):
            self._end(LeadershipTransition.EXPIRED)
        return None if self._reign is None else self._reign.term

    def fenced(self, term: Term, operation: str) -> None:
        """The store refused a write of this term: it is over, whatever the clock says."""
        self._observer.notice(WriteFenced(node=self._node, term=term, operation=operation))
        if self._reign is not None and self._reign.term == term:
            self._end(LeadershipTransition.LOST)

    async def tick(self) -> float | None:
        asked_at = self._clock.monotonic()
        decision = decide(self._reign, asked_at)
        match decision:
            case Rest(seconds):
                return seconds
            case StepDown():
                self._end(LeadershipTransition.EXPIRED)
                return 0.0
            case Renew(term):
                renewed = await self._leadership.renew(term, self._policy.lease)
                if self._reign is None or self._reign.term != term:
                    return 0.0  # Forgotten while the request was under way, and what is forgotten stays forgotten.
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
        """Ask for a term. The answer may be an older lease of ours, part of which is over: one more request renews it,
        and trust counts from there."""
        older, self._maybe_held = self._maybe_held, True
        answer = await self._leadership.campaign(self._node, self._policy.lease)
        if isinstance(answer, HeldByOther):
            self._maybe_held = False
            self.on_other()
            return bid_delay(answer, self._policy).total_seconds()
        if older:
            asked_at = self._clock.monotonic()
            if not await self._leadership.renew(answer, self._policy.lease):
                self._maybe_held = False
                return 0.0
        self._begin(answer, asked_at)
        return 0.0

    async def resign(self) -> None:
        """Give the term up, so that somebody else leads at once."""
        if self._reign is not None:
            term = self._reign.term
            self._end(LeadershipTransition.RESIGNED)
            await self._leadership.resign(term)
            self._maybe_held = False
        elif self._maybe_held:  # A request for it was cut off, or its answer came too late.
            answer = await self._leadership.campaign(self._node, self._policy.lease)
            if isinstance(answer, Term):
                await self._leadership.resign(answer)

    def _begin(self, term: Term, asked_at: float) -> None:
        reign = TrustedTerm.granted(term, asked_at=asked_at, policy=self._policy)
        if not reign.trusted(self._clock.monotonic()):
            if self._reign is not None:
                self._end(LeadershipTransition.EXPIRED)
            return
        new = self._reign is None
        self._reign = reign
        if new:
            self._observer.notice(TermWon(node=self._node, term=term))
            self.on_won()

    def _end(self, turn: LeadershipTransition) -> None:
        assert self._reign is not None
        term, self._reign = self._reign.term, None
        self._maybe_held = turn is not LeadershipTransition.LOST
        self._observer.notice(TermEnded(node=self._node, term=term, transition=turn))
