"""Leadership in memory."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, Term
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
        state.term = Term(candidate, state.next_number(state.term.token if state.term else 0))
        state.lease_ends = now + ttl
        return state.term

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
