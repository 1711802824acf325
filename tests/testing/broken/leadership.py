"""Mistakes about terms."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, Term
from task_manager_memory.leadership import MemoryLeadership
from task_manager_memory.state import State
from tests.testing.broken.making import BrokenStore, memory, round_trip


class _LivesAtItsEnd(State):
    def is_current_term(self, term: Term) -> bool:
        return self.term == term and self.now() <= self.lease_ends


class _TermWithoutLease(State):
    def is_current_term(self, term: Term) -> bool:
        return self.term == term


class _ReadsThenRenews(MemoryLeadership):
    async def renew(self, term: Term, ttl: timedelta) -> bool:
        if not self._state.is_current_term(term):
            return False
        await round_trip()
        self._state.term, self._state.lease_ends = term, self._state.now() + ttl
        return True


class _ReadsThenCampaigns(MemoryLeadership):
    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        term, ends = self._state.term, self._state.lease_ends
        await round_trip()
        if term is not None and self._state.now() < ends:
            return term if term.holder == candidate else HeldByOther(term.holder, ends - self._state.now())
        self._state.term = Term(candidate, self._state.next_number(term.token if term else 0))
        self._state.lease_ends = self._state.now() + ttl
        return self._state.term


BROKEN = (
    BrokenStore(
        mistake="a lease lives at the instant of its end",
        law="leadership 5",
        killed_by="test_an_ended_lease_stays_ended",
        open_harness=memory(state=_LivesAtItsEnd),
    ),
    BrokenStore(
        mistake="the fence compares the term and ignores its lease",
        law="leadership 5",
        killed_by="test_an_ended_lease_stays_ended",
        open_harness=memory(state=_TermWithoutLease),
    ),
    BrokenStore(
        mistake="a renewal reads and writes in two steps",
        law="leadership 6",
        killed_by="test_a_renewal_during_a_change_of_leader_changes_nothing",
        open_harness=memory(leadership=_ReadsThenRenews),
    ),
    BrokenStore(
        mistake="a campaign reads and writes in two steps",
        law="leadership 1",
        killed_by="test_of_many_candidates_one_is_granted_a_term",
        open_harness=memory(leadership=_ReadsThenCampaigns),
    ),
)
