"""Mistakes about terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Fenced, HeldByOther, LeaderSign, Term
from task_manager_core.domain.planning import Agenda, SlotDecision
from task_manager_memory.dispatch import MemoryDispatch
from task_manager_memory.leadership import MemoryLeadership
from task_manager_memory.state import Condition, State
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


class _DeposesBusyLeaders(MemoryLeadership):
    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        return await super().depose(candidate, ttl, replace(seen, progress=self._state.progress))


class _DeposesIdleLeaders(MemoryLeadership):
    def _sign(self) -> LeaderSign:
        sign = super()._sign()
        return replace(sign, first_due=sign.now)


class _DeposesAnyLeader(MemoryLeadership):
    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        return await super().depose(candidate, ttl, replace(seen, term=self._state.live_term()))


class _KeepsTheToken(MemoryLeadership):
    def _grant(self, candidate: NodeId, ttl: timedelta) -> Term:
        deposed = self._state.live_term()
        term = super()._grant(candidate, ttl)
        if deposed is not None:
            self._state.term = term = Term(candidate, deposed.token)
        return term


class _LooksThenDeposes(MemoryLeadership):
    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        sign = self._sign()
        await round_trip()
        unchanged = (sign.term, sign.progress) == (seen.term, seen.progress)
        return await super().depose(candidate, ttl, self._sign() if unchanged else seen)


class _RefusesToDepose(MemoryLeadership):
    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        return await self.campaign(candidate, ttl)


class _DeposesForTheRestOfTheLease(MemoryLeadership):
    """The new term takes over the old lease."""

    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        ends, before = self._state.lease_ends, self._state.term
        answer = await super().depose(candidate, ttl, seen)
        if before == seen.term and isinstance(answer, Term):
            self._state.lease_ends = ends
        return answer


class _DeposesQuietly(MemoryLeadership):
    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        notifications, self._state.notifications = self._state.notifications, Condition()
        answer = await super().depose(candidate, ttl, seen)
        self._state.notifications = notifications
        return answer


class _DeposedTwice(MemoryLeadership):
    """A candidate that asks again gets another term."""

    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        term = self._state.live_term()
        return (
            self._grant(candidate, ttl)
            if term and term.holder == candidate
            else await super().depose(candidate, ttl, seen)
        )


class _RenewalIsProgress(MemoryLeadership):
    async def renew(self, term: Term, ttl: timedelta) -> bool:
        renewed = await super().renew(term, ttl)
        self._state.progress += renewed
        return renewed


class _ShowsOnlyWhatIsDue(MemoryLeadership):
    async def observe(self) -> LeaderSign:
        sign = await super().observe()
        return sign if sign.first_due is None or sign.first_due <= sign.now else replace(sign, first_due=None)


class _ShowsTermsThatEnded(MemoryLeadership):
    async def observe(self) -> LeaderSign:
        return replace(await super().observe(), term=self._state.term)


class _AnyReadingIsProgress(MemoryDispatch):
    """A reading with a stale term counts, too."""

    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        return await super().agenda(limit, skip, term and self._state.live_term(), ahead)


class _EmptyReadingIsProgress(MemoryDispatch):
    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        agenda = await super().agenda(limit, skip, term, ahead)
        self._state.progress += not agenda.due and term is not None
        return agenda


class _ReadingIsNoProgress(MemoryDispatch):
    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        return await super().agenda(limit, skip, ahead=ahead)


class _CommitIsNoProgress(MemoryDispatch):
    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        progress = self._state.progress
        answer = await super().commit(term, decisions)
        self._state.progress = progress
        return answer


class _OvertakenCommitIsNoProgress(MemoryDispatch):
    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        progress = self._state.progress
        answer = await super().commit(term, decisions)
        if not isinstance(answer, Fenced) and not any(answer):
            self._state.progress = progress
        return answer


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
    BrokenStore(
        mistake="a leader that made progress is deposed",
        law="leadership 10",
        killed_by="test_a_deposition_that_came_too_late_is_a_campaign",
        open_harness=memory(leadership=_DeposesBusyLeaders),
    ),
    BrokenStore(
        mistake="a leader is deposed while nothing is due",
        law="leadership 10",
        killed_by="test_no_leader_is_deposed_while_nothing_is_due",
        open_harness=memory(leadership=_DeposesIdleLeaders),
    ),
    BrokenStore(
        mistake="a deposition ignores whose term was seen",
        law="leadership 10",
        killed_by="test_only_the_term_that_was_seen_is_deposed",
        open_harness=memory(leadership=_DeposesAnyLeader),
    ),
    BrokenStore(
        mistake="a deposition keeps the token",
        law="leadership 9",
        killed_by="test_a_leader_that_decides_nothing_is_deposed",
        open_harness=memory(leadership=_KeepsTheToken),
    ),
    BrokenStore(
        mistake="a deposition reads and writes in two steps",
        law="leadership 9",
        killed_by="test_of_many_candidates_that_saw_the_same_one_deposes",
        open_harness=memory(leadership=_LooksThenDeposes),
    ),
    BrokenStore(
        mistake="no leader is ever deposed",
        law="leadership 9",
        killed_by="test_a_leader_that_decides_nothing_is_deposed",
        open_harness=memory(leadership=_RefusesToDepose),
    ),
    BrokenStore(
        mistake="a deposition takes over the old lease",
        law="leadership 9",
        killed_by="test_a_leader_that_decides_nothing_is_deposed",
        open_harness=memory(leadership=_DeposesForTheRestOfTheLease),
    ),
    BrokenStore(
        mistake="a deposition wakes no waiting node",
        law="notifier 1",
        killed_by="test_waiters_are_woken",
        open_harness=memory(leadership=_DeposesQuietly),
    ),
    BrokenStore(
        mistake="a deposition that is repeated grants another term",
        law="leadership 10",
        killed_by="test_deposing_again_is_harmless",
        open_harness=memory(leadership=_DeposedTwice),
    ),
    BrokenStore(
        mistake="a renewal counts as progress",
        law="leadership 12",
        killed_by="test_nothing_else_is_progress",
        open_harness=memory(leadership=_RenewalIsProgress),
    ),
    BrokenStore(
        mistake="an observation hides what will be due",
        law="leadership 13",
        killed_by="test_an_observation",
        open_harness=memory(leadership=_ShowsOnlyWhatIsDue),
    ),
    BrokenStore(
        mistake="an observation shows a term whose lease has ended",
        law="leadership 13",
        killed_by="test_an_observation",
        open_harness=memory(leadership=_ShowsTermsThatEnded),
    ),
    BrokenStore(
        mistake="a reading by a stale term counts as progress",
        law="leadership 12",
        killed_by="test_nothing_else_is_progress",
        open_harness=memory(dispatch=_AnyReadingIsProgress),
    ),
    BrokenStore(
        mistake="a reading that finds nothing counts as progress",
        law="leadership 12",
        killed_by="test_a_reading_that_finds_nothing_is_no_progress",
        open_harness=memory(dispatch=_EmptyReadingIsProgress),
    ),
    BrokenStore(
        mistake="a reading of the agenda is no progress",
        law="leadership 11",
        killed_by="test_decisions_and_readings_are_progress",
        open_harness=memory(dispatch=_ReadingIsNoProgress),
    ),
    BrokenStore(
        mistake="a commit is no progress",
        law="leadership 11",
        killed_by="test_decisions_and_readings_are_progress",
        open_harness=memory(dispatch=_CommitIsNoProgress),
    ),
    BrokenStore(
        mistake="a commit whose decisions were overtaken is no progress",
        law="leadership 11",
        killed_by="test_decisions_and_readings_are_progress",
        open_harness=memory(dispatch=_OvertakenCommitIsNoProgress),
    ),
)
