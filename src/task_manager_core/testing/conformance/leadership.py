"""Tests of the laws of leadership that need no other port. `leadership_deposition` has the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, Term
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import HOUR, ODD, SECOND, TTL
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import SLACK, Store

A = NodeId("a")
B = NodeId("b")


class LeadershipLaws(Contract):
    @law("leadership", 1)
    async def test_one_term_at_a_time(self, store: Store) -> None:
        """While a lease lives, no other node is granted a term, unless that node deposes the leader."""
        term = await store.lead(A, TTL)

        held = await store.leadership.campaign(B, TTL)
        assert isinstance(held, HeldByOther)
        assert held.holder == A
        assert TTL - SLACK < held.remaining <= TTL

        await store.advance(TTL - 10 * SECOND)
        held = await store.leadership.campaign(B, TTL)
        assert isinstance(held, HeldByOther)
        assert 10 * SECOND - SLACK < held.remaining <= 10 * SECOND
        assert await store.leads(term)

        await store.advance(10 * SECOND)
        assert (await store.lead(B, TTL)).holder == B

    @law("leadership", 1)
    async def test_of_many_candidates_one_is_granted_a_term(self, store: Store) -> None:
        candidates = [NodeId(f"candidate {number}") for number in range(20)]
        answers = await asyncio.gather(*(store.leadership.campaign(node, TTL) for node in candidates))
        [term] = [answer for answer in answers if isinstance(answer, Term)]
        assert {answer.holder for answer in answers} == {term.holder}

    @law("leadership", 2)
    async def test_tokens_increase(self, store: Store) -> None:
        """Tokens strictly increase, also after a lease ended, was resigned, or the store was wiped."""
        tokens = [(await store.lead(A, TTL)).token]
        await store.advance(TTL)
        tokens.append((await store.lead(A, TTL)).token)
        await store.advance(TTL)
        tokens.append((term := await store.lead(B, TTL)).token)
        await store.leadership.resign(term)
        tokens.append((term := await store.lead(B, TTL)).token)
        await store.leadership.resign(term)
        tokens.append((await store.lead(A, TTL)).token)
        assert tokens == sorted(set(tokens))

        await store.wipe()
        assert (await store.lead(A, TTL)).token > max(tokens)

    @law("leadership", 2)
    async def test_tokens_increase_when_terms_change_faster_than_the_clock(self, store: Store) -> None:
        tokens: list[int] = []
        for number in range(50):
            term = await store.lead(NodeId(f"node {number % 3}"), TTL)
            tokens.append(term.token)
            assert await store.leadership.resign(term)
        assert tokens == sorted(set(tokens))

    @law("leadership", 3)
    async def test_campaigning_again_is_harmless(self, store: Store) -> None:
        """A node that campaigns again while its own lease lives gets the same term (a lost reply is harmless), and its
        lease is not extended."""
        term = await store.lead(A, TTL)
        await store.advance(TTL - 10 * SECOND)
        assert await store.leadership.campaign(A, TTL) == term
        assert await store.leadership.campaign(A, TTL) == term
        assert await store.leadership.renew(term, TTL)

    @law("leadership", 3)
    async def test_campaigning_again_extends_nothing(self, store: Store) -> None:
        term = await store.lead(A, TTL)
        await store.advance(TTL - 10 * SECOND)
        assert await store.leadership.campaign(A, 10 * TTL) == term
        await store.advance(10 * SECOND)
        assert await store.leader() is None

    @law("leadership", 4)
    async def test_a_renewal_extends_the_lease(self, store: Store) -> None:
        """A renewal by the live term extends the lease to now + ttl."""
        term = await store.lead(A, TTL)
        for _ in range(3):
            await store.advance(TTL - 10 * SECOND)
            assert await store.leadership.renew(term, TTL)
            held = await store.leadership.campaign(B, TTL)
            assert isinstance(held, HeldByOther)
            assert TTL - SLACK < held.remaining <= TTL
        await store.advance(TTL)
        assert await store.leader() is None

    @law("leadership", 4)
    @pytest.mark.parametrize("ttl", [TTL + ODD, TTL + SECOND - ODD], ids=str)
    async def test_a_lease_is_kept_to_the_millisecond(self, store: Store, ttl: timedelta) -> None:
        await store.advance(ODD)
        # An author who starts with leadership has no agenda yet, so the event loop measures the store's time here.
        time = asyncio.get_running_loop().time
        before = time()
        term = await store.lead(A, ttl)
        for _ in range(2):
            held = await store.leadership.campaign(B, TTL)
            ran = timedelta(seconds=time() - before, milliseconds=1)
            assert isinstance(held, HeldByOther)
            assert ttl - ran <= held.remaining <= ttl
            await store.advance(ttl - 10 * SECOND)
            before = time()
            assert await store.leadership.renew(term, ttl)
        await store.advance(ttl)
        assert await store.leader() is None

    @law("leadership", 4)
    async def test_a_shorter_renewal_ends_the_lease_sooner(self, store: Store) -> None:
        term = await store.lead(A, 10 * TTL)
        assert await store.leadership.renew(term, TTL)
        await store.advance(TTL)
        assert (await store.lead(B, TTL)).holder == B

    @law("leadership", 4)
    async def test_a_repeated_renewal_extends_nothing_twice(self, store: Store) -> None:
        term = await store.lead(A, TTL)
        assert await store.leadership.renew(term, TTL)
        assert await store.leadership.renew(term, TTL)
        await store.advance(TTL)
        assert await store.leader() is None

    @law("leadership", 5)
    async def test_an_ended_lease_stays_ended(self, store: Store) -> None:
        """A lease that has ended is never revived."""
        expired = await store.lead(A, TTL)
        await store.advance(TTL)
        assert not await store.leadership.renew(expired, TTL)
        assert not await store.leadership.resign(expired)
        assert await store.leader() is None

        resigned = await store.lead(A, TTL)
        assert resigned != expired
        assert await store.leadership.resign(resigned)
        for over in (expired, resigned):
            assert not await store.leadership.renew(over, TTL)
        assert await store.leader() is None

    @law("leadership", 5)
    async def test_a_lease_of_ones_own_that_ended_is_no_way_to_the_old_term(self, store: Store) -> None:
        expired = await store.lead(A, TTL)
        await store.advance(TTL)
        term = await store.lead(A, TTL)
        assert term.token > expired.token
        assert not await store.leadership.renew(expired, TTL)
        assert await store.leads(term)

    @law("leadership", 6)
    async def test_another_term_changes_nothing(self, store: Store) -> None:
        """A renewal or resignation by any other term changes nothing."""
        older = await store.lead(A, TTL)
        assert await store.leadership.resign(older)
        term = await store.lead(A, TTL)
        await store.advance(TTL - 10 * SECOND)

        others = [
            older,
            Term(A, term.token - 1),
            Term(A, term.token + 1),
            Term(B, term.token),
            Term(NodeId("A"), term.token),
            Term(B, term.token + 1),
        ]
        for other in others:
            assert not await store.leadership.renew(other, 10 * TTL), other
            assert not await store.leadership.resign(other), other
            held = await store.leadership.campaign(B, TTL)
            assert isinstance(held, HeldByOther), other
            assert held.remaining <= 10 * SECOND, other
        assert await store.leads(term)

    @law("leadership", 7)
    async def test_a_resignation_ends_the_lease_at_once(self, store: Store) -> None:
        """A resignation ends the lease at once."""
        term = await store.lead(A, TTL)
        assert await store.leadership.resign(term)
        assert not await store.leadership.resign(term)
        assert await store.leader() is None
        successor = await store.lead(B, TTL)
        assert await store.leads(successor)

    @law("leadership", 7)
    async def test_a_resignation_repeated_after_a_change_of_leader_ends_nothing(self, store: Store) -> None:
        term = await store.lead(A, TTL)
        await store.leadership.resign(term)
        successor = await store.lead(B, TTL)
        assert not await store.leadership.resign(term)
        assert await store.leads(successor)

    @law("leadership", 8)
    async def test_a_lease_is_not_longer_by_a_clock_that_is_set_back(self, store: Store) -> None:
        """A lease ends after its length, also if the store's clock is set back meanwhile."""
        term = await store.lead(A, TTL)
        await store.advance(TTL / 2)
        await store.set_back(HOUR)
        assert await store.leads(term)
        held = await store.leadership.campaign(B, TTL)
        assert isinstance(held, HeldByOther)
        assert held.remaining <= TTL / 2 + SLACK
        assert await store.leadership.renew(term, TTL)
        await store.advance(TTL - SLACK)
        assert isinstance(await store.leadership.campaign(B, TTL), HeldByOther)
        await store.advance(2 * SLACK)
        assert not await store.leadership.renew(term, TTL)
        following = await store.lead(B, TTL)
        assert following.token > term.token
        assert await store.leadership.resign(following)
        await store.set_back(HOUR)
        assert await store.leader() is None, "what has ended does not live again"
