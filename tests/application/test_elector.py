"""An elector asks for a term and keeps it. The test moves the clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from task_manager_core.application.elector import Elector
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import TermEnded, TermWon, WriteFenced
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, LeadershipTransition, Term
from task_manager_core.testing import Recorder
from tests.application.cluster import POLICY, SECOND, Cluster, Link, Trouble

LEASE = POLICY.leadership.lease
HEARTBEAT = POLICY.leadership.heartbeat


class Candidate:
    """One elector without a node, with a link of its own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.link = Link()
        self.events = Recorder()
        self.elector = Elector(
            node=NodeId(name),
            leadership=self.link.through(cluster.backend.leadership),
            policy=POLICY,
            clock=cluster.clock,
            observer=self.events,
        )

    async def later(self, delta: timedelta) -> float | None:
        self.cluster.clock.advance(delta)
        return await self.elector.tick()

    @property
    def transitions(self) -> list[LeadershipTransition]:
        return [ended.transition for ended in self.events.of(TermEnded)]


@pytest.fixture
def a(cluster: Cluster) -> Candidate:
    return Candidate(cluster, "a")


@pytest.fixture
def b(cluster: Cluster) -> Candidate:
    return Candidate(cluster, "b")


async def holder(cluster: Cluster) -> Term | None:
    return (await cluster.backend.history.snapshot()).term


async def test_the_first_candidate_leads_and_the_other_waits_for_its_lease(a: Candidate, b: Candidate) -> None:
    won: list[str] = []
    a.elector.on_won = lambda: won.append("a")
    assert await a.elector.tick() == 0.0
    assert a.elector.trusted() == a.events.one(TermWon).term
    assert won == ["a"]
    assert await b.elector.tick() == 0.0
    assert await b.elector.tick() == 5.0  # the lease of 9 s is longer than the retry interval
    assert await b.later(6 * SECOND) == 3.0
    assert b.elector.trusted() is None


async def test_a_leader_rests_until_its_heartbeat_and_renews(a: Candidate, cluster: Cluster) -> None:
    await a.elector.tick()
    assert await a.elector.tick() == HEARTBEAT.total_seconds()
    for _ in range(10):
        await a.later(HEARTBEAT)
    assert a.link.calls == ["campaign"] + ["renew"] * 10
    assert await holder(cluster) == a.elector.trusted()
    assert len(a.events.events) == 1


async def test_one_failed_heartbeat_is_not_a_lost_term(a: Candidate) -> None:
    await a.elector.tick()
    a.link.trouble("renew", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await a.later(HEARTBEAT)
    assert a.elector.trusted() is not None
    await a.later(SECOND)
    assert a.transitions == []


async def test_a_pause_longer_than_trust_forgets_the_term_before_any_request(a: Candidate) -> None:
    await a.elector.tick()
    a.cluster.clock.advance(LEASE)
    assert a.elector.trusted() is None
    assert a.transitions == [LeadershipTransition.EXPIRED]
    await a.elector.tick()
    assert a.link.calls[:2] == ["campaign", "campaign"]


async def test_an_elector_that_was_suspended_ends_its_term_by_itself(a: Candidate) -> None:
    await a.elector.tick()
    assert await a.later(LEASE) == 0.0
    assert (a.transitions, a.link.calls) == ([LeadershipTransition.EXPIRED], ["campaign"])


async def test_trust_ends_before_the_store_can_grant_a_term_to_another_node(a: Candidate, b: Candidate) -> None:
    await a.elector.tick()
    for _ in range(int(LEASE / SECOND)):
        assert (a.elector.trusted() is None) or isinstance(
            await a.cluster.backend.leadership.campaign(NodeId("b"), LEASE), HeldByOther
        )
        a.cluster.clock.advance(SECOND)
    assert a.elector.trusted() is None
    await b.elector.tick()
    assert b.elector.trusted() is not None


async def test_a_renewal_that_the_store_refuses_ends_the_term(a: Candidate, cluster: Cluster) -> None:
    await a.elector.tick()
    term = a.elector.trusted()
    assert term is not None
    await cluster.backend.leadership.resign(term)
    await a.later(HEARTBEAT)
    assert (a.elector.trusted(), a.transitions) == (None, [LeadershipTransition.LOST])


async def test_a_fenced_write_ends_the_term_at_once_and_a_fenced_old_term_does_not(a: Candidate) -> None:
    await a.elector.tick()
    term = a.elector.trusted()
    assert term is not None
    a.elector.fenced(Term(NodeId("a"), term.token - 1), "commit")
    assert a.elector.trusted() == term
    a.elector.fenced(term, "commit")
    assert (a.elector.trusted(), a.transitions) == (None, [LeadershipTransition.LOST])
    assert [fenced.operation for fenced in a.events.of(WriteFenced)] == ["commit", "commit"]


async def test_equal_tokens_of_two_holders_are_two_terms(a: Candidate) -> None:
    await a.elector.tick()
    term = a.elector.trusted()
    assert term is not None
    a.elector.fenced(Term(NodeId("b"), term.token), "commit")
    assert a.elector.trusted() == term


async def test_another_node_leads_as_soon_as_the_leader_has_resigned(a: Candidate, b: Candidate) -> None:
    await a.elector.tick()
    await a.elector.resign()
    assert (a.elector.trusted(), a.transitions) == (None, [LeadershipTransition.RESIGNED])
    await b.elector.tick()
    assert b.elector.trusted() is not None
    await a.elector.resign()
    assert (a.link.calls.count("resign"), a.link.calls.count("campaign")) == (1, 1)


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_candidate_that_got_no_answer_to_its_campaign_can_resign(
    a: Candidate, b: Candidate, trouble: Trouble
) -> None:
    a.link.trouble("campaign", trouble)
    with pytest.raises(BackendUnavailable):
        await a.elector.tick()
    await a.elector.resign()
    await b.elector.tick()
    assert (a.elector.trusted(), b.elector.trusted() is not None) == (None, True)


async def test_a_term_ends_locally_even_if_the_resignation_does_not_reach_the_store(a: Candidate) -> None:
    await a.elector.tick()
    a.link.away = True
    with pytest.raises(BackendUnavailable):
        await a.elector.resign()
    assert a.elector.trusted() is None


# --- replies that come late ------------------------------------------------------------------------------------------


async def test_a_grant_that_arrives_after_its_trust_has_ended_is_ignored(a: Candidate) -> None:
    async def slow() -> None:
        a.cluster.clock.advance(LEASE)

    a.link.between("campaign", slow)
    assert await a.elector.tick() == 0.0
    assert (a.elector.trusted(), a.events.events) == (None, [])


async def test_a_renewal_that_arrives_after_its_trust_has_ended_ends_the_term(a: Candidate) -> None:
    async def slow() -> None:
        a.cluster.clock.advance(LEASE)

    await a.elector.tick()
    a.link.between("renew", slow)
    await a.later(HEARTBEAT)
    assert (a.elector.trusted(), a.transitions) == (None, [LeadershipTransition.EXPIRED])


@pytest.mark.parametrize("how", ["expired", "fenced"])
async def test_a_term_that_ended_during_its_renewal_is_not_restored_by_the_reply(a: Candidate, how: str) -> None:
    """The store renews the term. Before the reply arrives, the scheduler finds that the trust is over, or
    that the store refuses the term."""

    async def hang() -> None:
        if how == "expired":
            a.cluster.clock.advance(2 * SECOND)
            assert a.elector.trusted() is None
        else:
            term = a.elector.trusted()
            assert term is not None
            a.elector.fenced(term, "commit")

    await a.elector.tick()
    a.link.between("renew", hang)
    assert await a.later(7 * SECOND) == 0.0
    assert a.elector.trusted() is None
    assert len(a.events.of(TermWon)) == 1


async def test_a_lease_that_began_before_a_lost_reply_is_renewed_before_it_is_trusted(
    a: Candidate, b: Candidate, cluster: Cluster
) -> None:
    """A second campaign returns the same term, but only the rest of its lease is left. Trust for a whole lease would be
    too long."""
    a.link.trouble("campaign", Trouble.LOST_REPLY)
    with pytest.raises(BackendUnavailable):
        await a.elector.tick()
    await a.later(8 * SECOND)
    assert a.elector.trusted() is not None
    cluster.clock.advance(2 * SECOND)
    assert a.elector.trusted() is not None
    await b.elector.tick()
    assert b.elector.trusted() is None


async def test_a_lease_that_ends_between_the_answer_and_its_renewal_is_no_term(a: Candidate) -> None:
    async def slow() -> None:
        a.cluster.clock.advance(2 * SECOND)

    a.link.trouble("campaign", Trouble.LOST_REPLY)
    with pytest.raises(BackendUnavailable):
        await a.elector.tick()
    a.link.between("campaign", slow)
    assert await a.later(8 * SECOND) == 0.0
    assert (a.elector.trusted(), a.events.events) == (None, [])
    await a.elector.tick()
    assert a.elector.trusted() == a.events.one(TermWon).term


async def test_a_grant_after_the_answer_that_another_node_leads_is_a_new_term(
    a: Candidate, b: Candidate, cluster: Cluster
) -> None:
    await b.elector.tick()
    a.link.trouble("campaign", Trouble.LOST_REPLY)
    with pytest.raises(BackendUnavailable):
        await a.elector.tick()
    await a.elector.tick()
    await b.elector.resign()
    await a.elector.tick()
    assert a.elector.trusted() == await holder(cluster)
    assert a.link.calls == ["campaign", "campaign", "observe", "campaign"]


async def test_of_many_candidates_that_ask_at_once_one_leads(cluster: Cluster) -> None:
    candidates = [Candidate(cluster, f"n{number}") for number in range(20)]
    await asyncio.gather(*(candidate.elector.tick() for candidate in candidates))
    assert sum(candidate.elector.trusted() is not None for candidate in candidates) == 1
