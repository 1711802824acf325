"""Leadership in memory."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, LeaderSign, Term
from task_manager_core.ports import Leadership
from task_manager_memory.state import State


class MemoryLeadership(Leadership):
    def __init__(self, state: State) -> None:
        self._state = state

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        state = self._state
        now = state.steady()
        if state.term is not None and now < state.lease_ends:
            if state.term.holder == candidate:
                return state.term
            return HeldByOther(state.term.holder, state.lease_ends - now)
        return self._grant(candidate, ttl)

    def _grant(self, candidate: NodeId, ttl: timedelta) -> Term:
        state = self._state
        state.term = Term(candidate, state.next_number(state.term.token if state.term else 0))
        state.lease_ends = state.steady() + ttl
        return state.term

    async def observe(self) -> LeaderSign:
        return self._sign()

    def _sign(self) -> LeaderSign:
        state = self._state
        return LeaderSign(
            now=state.now(),
            term=state.live_term(),
            remaining=max(state.lease_ends - state.steady(), timedelta(0)),
            progress=state.progress,
            first_due=state.first_due(),
        )

    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        sign = self._sign()
        is_due = sign.first_due is not None and sign.first_due <= sign.now
        if sign.term is None or sign.term.holder == candidate or not is_due:
            return await self.campaign(candidate, ttl)
        if (sign.term, sign.progress) != (seen.term, seen.progress):
            return await self.campaign(candidate, ttl)
        term = self._grant(candidate, ttl)
        self._state.notifications.notify()
        return term

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        if not self._state.is_current_term(term):
            return False
        self._state.lease_ends = self._state.steady() + ttl
        return True

    async def resign(self, term: Term) -> bool:
        if not self._state.is_current_term(term):
            return False
        self._state.lease_ends = self._state.steady()
        self._state.notifications.notify()
        return True
