"""A follower deposes a leader that decides nothing about a due slot. The test moves the clock and calls every tick."""

from __future__ import annotations

from datetime import timedelta

import pytest

from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import TermEnded, TermWon, WriteFenced
from task_manager_core.domain.leadership import LeadershipTransition
from task_manager_core.domain.policy import NodePolicy
from task_manager_core.domain.schedule import Schedule
from task_manager_core.ports import DefinitionWrite
from task_manager_core.testing.conformance.factories import next_slot
from tests.application.cluster import NOON, POLICY, SECOND, Cluster, Process, Trouble, a_task

GRACE = POLICY.grace
MILLISECOND = timedelta(milliseconds=1)
A_MOMENT = timedelta(milliseconds=3)
SECONDLY = a_task(schedule=Schedule.every(SECOND))


async def pair(cluster: Cluster) -> tuple[Process, Process]:
    """A leader with a task of every second, and a follower that has looked at it."""
    leader = await cluster.process("leader").declares(SECONDLY).lead()
    follower = cluster.process("follower").declares(SECONDLY)
    await follower.node.registrar.tick()
    assert await follower.node.elector.tick() == 0.0
    await follower.node.elector.tick()
    return leader, follower


async def look(follower: Process, *, after: timedelta, clock: Cluster) -> float | None:
    clock.clock.advance(after)
    return await follower.node.elector.tick()


async def test_a_follower_looks_when_the_grace_of_the_next_slot_is_over(cluster: Cluster) -> None:
    _, follower = await pair(cluster)
    rest = await follower.node.elector.tick()
    assert rest == pytest.approx((SECOND + GRACE).total_seconds(), abs=0.01)


async def test_a_leader_that_decides_nothing_is_deposed_after_the_grace(cluster: Cluster) -> None:
    leader, follower = await pair(cluster)
    old = leader.node.elector.trusted()
    await look(follower, after=SECOND + GRACE - MILLISECOND, clock=cluster)
    assert not follower.node.leads
    await look(follower, after=A_MOMENT, clock=cluster)
    won = follower.events.one(TermWon)
    assert (won.term, won.deposed) == (follower.node.elector.trusted(), old)
    await follower.node.scheduler.tick()
    assert (await cluster.backend.leadership.observe()).first_due == NOON + 2 * SECOND

    cluster.clock.advance(SECOND)
    assert leader.node.leads, "it has not learnt of it"
    await leader.node.scheduler.tick()
    assert leader.events.one(WriteFenced).term == old
    assert leader.events.one(TermEnded).transition is LeadershipTransition.LOST
    await leader.node.elector.tick()
    await leader.node.elector.tick()
    assert not leader.node.leads, "a deposed leader begins with a fresh suspicion"


async def test_a_leader_learns_of_its_deposition_from_the_notification(cluster: Cluster) -> None:
    leader, follower = await pair(cluster)
    await look(follower, after=SECOND + GRACE + A_MOMENT, clock=cluster)
    leader.node.elector.doubt()
    await leader.node.elector.tick()
    assert leader.events.one(TermEnded).transition is LeadershipTransition.LOST


async def test_a_notification_costs_the_leader_one_renewal(cluster: Cluster) -> None:
    leader, _ = await pair(cluster)
    before = leader.link.calls.count("renew")
    leader.node.elector.doubt()
    for _ in range(3):
        await leader.node.elector.tick()
    assert (leader.node.leads, leader.link.calls.count("renew")) == (True, before + 1)


async def test_a_leader_that_decides_every_slot_is_never_deposed(cluster: Cluster) -> None:
    leader, follower = await pair(cluster)
    for _ in range(8):
        await look(follower, after=SECOND / 4, clock=cluster)
        await leader.node.elector.tick()
        await leader.node.scheduler.tick()
    looked = follower.link.calls.count("observe")
    for _ in range(20):
        cluster.clock.advance(SECOND)
        await leader.node.elector.tick()
        await leader.node.scheduler.tick()
        await look(follower, after=GRACE + A_MOMENT, clock=cluster)
    assert leader.node.leads
    assert follower.link.calls.count("observe") == looked + 20
    assert "depose" not in follower.link.calls


async def test_a_leader_that_cannot_decide_is_not_deposed_while_it_looks(cluster: Cluster) -> None:
    """The leader does not know a task that another process has just written."""
    leader, follower = await pair(cluster)
    write = DefinitionWrite(definition=a_task("new"), expected=0, replan=True, next_slot=next_slot(NOON))
    assert isinstance((await cluster.backend.catalogue.put([write]))[0], int)
    for _ in range(20):
        rest = await leader.node.scheduler.tick()
        assert rest is not None
        assert rest <= GRACE.total_seconds() / 2
        await leader.node.elector.tick()
        await look(follower, after=timedelta(seconds=rest), clock=cluster)
    assert (await cluster.backend.leadership.observe()).first_due == NOON, "it is undecided"
    assert leader.node.leads
    assert "depose" not in follower.link.calls


async def test_a_renewal_does_not_save_a_leader_whose_scheduler_hangs(cluster: Cluster) -> None:
    leader, follower = await pair(cluster)
    cluster.clock.advance(SECOND)
    for _ in range(10):
        leader.node.elector.doubt()
        await leader.node.elector.tick()
        await look(follower, after=GRACE / 8, clock=cluster)
    assert follower.node.leads


async def test_of_two_followers_one_deposes(cluster: Cluster) -> None:
    _, follower = await pair(cluster)
    other = cluster.process("other")
    for _ in range(2):
        await other.node.elector.tick()
    await look(follower, after=SECOND + GRACE + A_MOMENT, clock=cluster)
    await other.node.elector.tick()
    await other.node.elector.tick()
    assert (follower.node.leads, other.node.leads) == (True, False)


async def test_a_follower_whose_request_failed_begins_a_new_suspicion(cluster: Cluster) -> None:
    _, follower = await pair(cluster)
    follower.link.trouble("observe", Trouble.LOST_REQUEST)
    cluster.clock.advance(SECOND + GRACE)
    with pytest.raises(BackendUnavailable):
        await follower.node.elector.tick()
    await look(follower, after=A_MOMENT, clock=cluster)
    await look(follower, after=GRACE - MILLISECOND, clock=cluster)
    assert not follower.node.leads
    await look(follower, after=A_MOMENT, clock=cluster)
    assert follower.node.leads


async def test_a_follower_that_lost_any_request_accuses_no_leader(cluster: Cluster) -> None:
    _, follower = await pair(cluster)
    cluster.clock.advance(SECOND)
    follower.node.elector.drop_suspicion()
    await look(follower, after=GRACE + A_MOMENT, clock=cluster)
    assert not follower.node.leads


async def test_a_clock_that_is_set_forward_accuses_no_leader(cluster: Cluster) -> None:
    leader, follower = await pair(cluster)
    cluster.clock.set_wall(cluster.clock.now() + timedelta(hours=1))
    await follower.node.elector.tick()
    assert not follower.node.leads
    await leader.node.scheduler.tick()
    await look(follower, after=GRACE + A_MOMENT, clock=cluster)
    assert leader.node.leads
    assert "depose" not in follower.link.calls


async def test_a_slow_store_accuses_no_leader(cluster: Cluster) -> None:
    """The answer takes as long as a grace. It may take as long for the leader, and twice."""
    _, follower = await pair(cluster)
    cluster.clock.advance(SECOND)

    async def slow() -> None:
        cluster.clock.advance(GRACE)

    for _ in range(2):
        follower.link.between("observe", slow)
        await follower.node.elector.tick()
    assert "depose" not in follower.link.calls


async def test_a_lost_reply_to_a_deposition_is_no_second_one(cluster: Cluster) -> None:
    _, follower = await pair(cluster)
    follower.link.trouble("depose", Trouble.LOST_REPLY)
    cluster.clock.advance(SECOND + GRACE + A_MOMENT)
    with pytest.raises(BackendUnavailable):
        await follower.node.elector.tick()
    granted = (await cluster.backend.leadership.observe()).term
    await look(follower, after=SECOND, clock=cluster)
    assert follower.node.elector.trusted() == granted


async def test_a_follower_asks_for_nothing_while_nothing_is_planned(cluster: Cluster) -> None:
    await cluster.process("leader").lead()
    follower = cluster.process("follower")
    await follower.node.elector.tick()
    assert await follower.node.elector.tick() == POLICY.leadership.retry_interval.total_seconds()


async def test_the_configured_grace_counts(cluster: Cluster) -> None:
    policy = NodePolicy(leadership=POLICY.leadership, worker=POLICY.worker, deposition_grace=5 * SECOND)
    await cluster.process("leader").declares(SECONDLY).lead()
    follower = cluster.process("follower", policy)
    for _ in range(2):
        await follower.node.elector.tick()
    await look(follower, after=SECOND + 4 * SECOND, clock=cluster)
    assert not follower.node.leads
    await look(follower, after=SECOND + A_MOMENT, clock=cluster)
    assert follower.node.leads
