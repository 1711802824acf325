"""Tests of the laws of leadership about a leader that decides nothing although a task is due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Fenced, HeldByOther, LeaderSign, Term
from task_manager_core.domain.run import Retried
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    LEADER,
    MINUTE,
    NOTHING,
    SECOND,
    TTL,
    WORKER,
    decision,
    key,
    presence,
    run,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import SLACK, Store, near

B = NodeId("b")
C = NodeId("c")


async def given(store: Store) -> tuple[Term, LeaderSign]:
    """A leader that does nothing about a due task, and what another node sees of it."""
    await store.define(task(), await store.slot(-MINUTE))
    return await store.lead(ttl=TTL), await store.leadership.observe()


async def refused(store: Store, seen: LeaderSign, candidate: NodeId = B) -> HeldByOther:
    """The answer to a candidate that must not be granted a term."""
    answer = await store.leadership.depose(candidate, 10 * TTL, seen)
    assert isinstance(answer, HeldByOther), f"{candidate} was granted {answer}"
    return answer


async def deposes(store: Store, seen: LeaderSign) -> bool:
    """True if the candidate is granted a term. It then resigns."""
    answer = await store.leadership.depose(B, TTL, seen)
    return isinstance(answer, Term) and await store.leadership.resign(answer)


class Deposition(Contract):
    @law("leadership", 9)
    async def test_a_leader_that_decides_nothing_is_deposed(self, store: Store) -> None:
        """A deposition grants a term at once and ends the live term, if a task is due and the live term and its
        progress are the ones that the candidate saw."""
        old, seen = await given(store)
        assert await store.leadership.renew(old, TTL), "a renewal is no sign of life"
        await store.advance(TTL / 2)
        term = await store.leadership.depose(B, TTL, seen)

        assert isinstance(term, Term)
        assert term.holder == B
        assert term.token > old.token
        assert await store.term() == term
        assert not await store.leadership.renew(old, 10 * TTL)
        assert not await store.leadership.resign(old)
        assert await store.dispatch.commit(old, ()) == Fenced()
        held = await store.leadership.campaign(LEADER, TTL)
        assert isinstance(held, HeldByOther)
        assert held.holder == B
        assert TTL - SLACK < held.remaining <= TTL
        assert await store.leadership.renew(term, TTL)
        await store.advance(TTL)
        assert await store.leader() is None

    @law("leadership", 9)
    async def test_tokens_increase_when_leaders_are_deposed_faster_than_the_clock(self, store: Store) -> None:
        term, seen = await given(store)
        tokens = [term.token]
        for number in range(50):
            deposed = await store.leadership.depose(NodeId(f"node {number % 3}"), TTL, seen)
            assert isinstance(deposed, Term)
            tokens.append(deposed.token)
            seen = await store.leadership.observe()
        assert tokens == sorted(set(tokens))

    @law("leadership", 9)
    async def test_of_many_candidates_that_saw_the_same_one_deposes(self, store: Store) -> None:
        _, seen = await given(store)
        candidates = [NodeId(f"candidate {number}") for number in range(20)]
        answers = await asyncio.gather(*(store.leadership.depose(node, TTL, seen) for node in candidates))
        [term] = [answer for answer in answers if isinstance(answer, Term)]
        assert {answer.holder for answer in answers} == {term.holder}
        assert await store.term() == term

    @law("leadership", 10)
    async def test_deposing_again_is_harmless(self, store: Store) -> None:
        _, seen = await given(store)
        term = await store.leadership.depose(B, TTL, seen)
        await store.advance(TTL - 10 * SECOND)
        for what in (seen, await store.leadership.observe()):
            assert await store.leadership.depose(B, 10 * TTL, what) == term
        await store.advance(10 * SECOND)
        assert await store.leader() is None

    @law("leadership", 10)
    @pytest.mark.parametrize("sign", ["commit", "agenda"])
    async def test_a_deposition_that_came_too_late_is_a_campaign(self, store: Store, sign: str) -> None:
        """Any other deposition is answered like a campaign."""
        term, seen = await given(store)
        if sign == "commit":
            assert await store.dispatch.commit(term, ()) == ()
        else:
            assert (await store.dispatch.agenda(10, term=term)).due
        held = await refused(store, seen)
        assert held.holder == LEADER
        assert TTL - SLACK < held.remaining <= TTL
        assert await store.term() == term

        await store.advance(TTL)
        following = await store.leadership.depose(B, TTL, seen)
        assert isinstance(following, Term)
        assert following.token > term.token
        assert await store.term() == following

    @law("leadership", 10)
    async def test_no_leader_is_deposed_while_nothing_is_due(self, store: Store) -> None:
        term = await store.lead(ttl=TTL)
        await refused(store, await store.leadership.observe())
        of, slot = task(), await store.slot(HOUR)
        version = await store.define(of, slot)
        await refused(store, await store.leadership.observe())
        await store.advance(2 * HOUR)
        term = await store.lead(ttl=TTL)
        assert await store.commit_one(term, decision(of, version, slot, skips=[skipped(slot)], then=slot + 3 * HOUR))
        await refused(store, await store.leadership.observe())
        await store.define(task("due"), slot)
        assert await store.catalogue.retire(term, [key("due")]) == frozenset({key("due")})
        await refused(store, await store.leadership.observe())
        assert await store.term() == term

    @law("leadership", 10)
    async def test_only_the_term_that_was_seen_is_deposed(self, store: Store) -> None:
        old, seen = await given(store)
        others = [Term(LEADER, old.token - 1), Term(LEADER, old.token + 1), Term(C, old.token), None]
        for other in others:
            unlike = replace(seen, term=other)
            await refused(store, unlike)
        assert await store.leadership.resign(old)
        term = await store.lead(ttl=TTL)
        unlike = replace(seen, progress=(await store.leadership.observe()).progress)
        await refused(store, unlike)
        await refused(store, seen)
        assert await store.term() == term

    @law("leadership", 10)
    async def test_a_deposition_without_a_leader_grants_a_term(self, store: Store) -> None:
        answer = await store.leadership.depose(B, TTL, await store.leadership.observe())
        assert isinstance(answer, Term)
        assert await store.term() == answer

    @law("leadership", 11)
    async def test_decisions_and_readings_are_progress(self, store: Store) -> None:
        """The progress of the live term advances with each of its commits, and with each of its readings of the agenda
        while a task is due."""
        of, slot = task(), await store.slot(-MINUTE)
        version, term = await store.define(of, slot), await store.lead(ttl=TTL)
        overtaken = decision(of, version, slot + SECOND, then=slot + HOUR)
        signs: list[Callable[[], Awaitable[object]]] = [
            lambda: store.dispatch.agenda(10, term=term),
            lambda: store.dispatch.agenda(0, term=term),
            lambda: store.dispatch.agenda(10, 1, term=term),
            lambda: store.dispatch.agenda(10, term=term),
            lambda: store.dispatch.commit(term, ()),
            lambda: store.dispatch.commit(term, [overtaken]),
            lambda: store.dispatch.commit(
                term, [decision(of, version, slot, skips=[skipped(slot)], then=slot + SECOND)]
            ),
        ]
        for number, sign in enumerate(signs):
            seen = await store.leadership.observe()
            await sign()
            assert (await store.leadership.observe()).progress != seen.progress, number
            await refused(store, seen)
        assert await store.term() == term

    @law("leadership", 12)
    async def test_nothing_else_is_progress(self, store: Store) -> None:
        """Nothing else advances the progress of a term."""
        older = await store.lead(B, TTL)
        assert await store.leadership.resign(older)
        term, _ = await given(store)
        claim = await store.claim_new(run(task()))
        others: list[Callable[[], Awaitable[object]]] = [
            lambda: store.leadership.renew(term, TTL),
            lambda: store.leadership.campaign(LEADER, TTL),
            lambda: store.leadership.campaign(C, TTL),
            store.leadership.observe,
            lambda: store.dispatch.agenda(10),
            lambda: store.dispatch.agenda(10, term=older),
            lambda: store.dispatch.agenda(10, term=Term(LEADER, term.token + 1)),
            lambda: store.dispatch.commit(older, ()),
            lambda: store.catalogue.retire(term, [key("other")]),
            lambda: store.dispatch.pause([key()]),
            lambda: store.dispatch.resume([key()]),
            lambda: store.queue.extend([claim], TTL),
            lambda: store.queue.settle([]),
            lambda: store.release(claim, NOTHING),
            lambda: store.queue.reap(term, TTL, 10),
            lambda: store.queue.promote([key()]),
            lambda: store.membership.announce(presence(LEADER.value), TTL),
            store.history.snapshot,
        ]
        seen = await store.leadership.observe()
        for number, other in enumerate(others):
            await other()
            sign = await store.leadership.observe()
            assert (sign.term, sign.progress) == (seen.term, seen.progress), number
        assert await deposes(store, seen)

    @law("leadership", 12)
    async def test_a_reading_that_finds_nothing_is_no_progress(self, store: Store) -> None:
        # A leader that read the agenda just before a slot was due may have died since.
        await store.define(task(), await store.slot(HOUR))
        term = await store.lead(ttl=2 * HOUR)
        seen = await store.leadership.observe()
        assert (await store.dispatch.agenda(10, term=term)).due == ()
        assert (await store.dispatch.agenda(10, 1, term=term)).due == ()
        await store.advance(HOUR)
        assert await deposes(store, seen)

    @law("leadership", 13)
    async def test_an_observation(self, store: Store) -> None:
        """An observation shows the live term with the rest of its lease, its progress and the earliest due instant of
        the tasks that are not retired, and changes nothing."""
        sign = await store.leadership.observe()
        assert (sign.term, sign.remaining, sign.first_due) == (None, NOTHING, None)
        assert near(sign.now, await store.now())

        term, slot = await store.lead(ttl=TTL), await store.slot()
        await store.define(task("later"), slot + 2 * HOUR)
        await store.define(task("unplanned"))
        await store.define(task("soon"), slot + HOUR)
        sign = await store.leadership.observe()
        assert (sign.term, sign.first_due) == (term, slot + HOUR)
        assert TTL - SLACK < sign.remaining <= TTL
        for name, due in (("overdue", slot - MINUTE), ("before", slot - HOUR)):
            await store.define(task(name), due)
            assert (await store.leadership.observe()).first_due == due
        await store.dispatch.pause([key("before")])
        assert (await store.leadership.observe()).first_due == slot - HOUR, "a paused slot is decided about, too"
        assert await store.catalogue.retire(term, [key("before")])
        assert (await store.leadership.observe()).first_due == slot - MINUTE

        claim = await store.claim_new(run(task("soon")), WORKER)
        await store.settle(claim, Retried(HOUR))
        before = await store.state()
        for _ in range(3):
            sign = await store.leadership.observe()
        assert await store.state() == before
        await store.advance(TTL)
        assert (await store.leadership.observe()).term is None
        assert await store.leader() is None
