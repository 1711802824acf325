"""The scheduler dispatches due slots while its node leads."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from task_manager_core.application.scheduler import LONGEST_REST, READ_FROM_START_EVERY
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import GapFound, SlotsDecided, TermEnded, WriteFenced
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import LeadershipTransition
from task_manager_core.domain.planning import Agenda, SkipReason
from task_manager_core.domain.policy import BatchPolicy, CatchUp, CatchUpMode, NodePolicy, Overlap
from task_manager_core.domain.run import RunState
from task_manager_core.domain.schedule import Schedule
from task_manager_core.ports import Catalogue, Changes, Dispatch
from tests.application.cluster import MINUTE, NOON, POLICY, SECOND, Cluster, Process, Trouble, a_task

BATCHES = BatchPolicy()

KEY = TaskKey("group", "task")
POLL = POLICY.poll_interval.total_seconds()


async def a_leader(
    cluster: Cluster, *schedules: Schedule, overlap: Overlap = Overlap.ALLOW, max_instances: int | None = None
) -> Process:
    process = cluster.process("leader")
    for number, schedule in enumerate(schedules or (Schedule.every(MINUTE),)):
        name = "task" if number == 0 else f"task-{number}"
        process.declares(a_task(name, schedule=schedule, overlap=overlap, max_instances=max_instances))
    return await process.lead()


async def live(cluster: Cluster, key: TaskKey = KEY) -> list[tuple[datetime | None, RunState]]:
    snapshot = await cluster.backend.history.snapshot([key])
    return [(run.slot, run.state) for run in snapshot.tasks[0].live]


async def skipped(cluster: Cluster, key: TaskKey = KEY) -> dict[SkipReason, int]:
    return dict((await cluster.backend.history.snapshot([key])).tasks[0].skipped)


async def test_a_slot_is_dispatched_when_it_is_due_and_not_before(cluster: Cluster) -> None:
    leader = await a_leader(cluster)
    await leader.ensure_leads(after=MINUTE - timedelta(milliseconds=1))
    assert await leader.node.scheduler.tick() == pytest.approx(0.001)
    assert await live(cluster) == []
    cluster.clock.advance(timedelta(milliseconds=1))
    await leader.node.scheduler.tick()
    assert await live(cluster) == [(NOON + MINUTE, RunState.QUEUED)]
    assert leader.events.one(SlotsDecided).decision.dispatch[0].id == RunId.of_slot(KEY, NOON + MINUTE)
    await leader.node.scheduler.tick()
    assert len(await live(cluster)) == 1


async def test_a_follower_dispatches_nothing_and_rests_until_it_is_woken(cluster: Cluster) -> None:
    await a_leader(cluster)
    follower = cluster.process("follower").declares(a_task())
    await follower.node.registrar.tick()
    await follower.node.elector.tick()
    cluster.clock.advance(MINUTE)
    assert await follower.node.scheduler.tick() is None
    assert "agenda" not in follower.link.calls


async def test_a_leader_rests_until_the_next_due_instant_and_not_for_longer_than_it_trusts_its_knowledge(
    cluster: Cluster,
) -> None:
    leader = await a_leader(cluster)
    assert await leader.node.scheduler.tick() == LONGEST_REST.total_seconds()
    await leader.ensure_leads(after=MINUTE - timedelta(milliseconds=30))
    assert await leader.node.scheduler.tick() == pytest.approx(0.03)


async def test_a_long_poll_does_not_make_a_frequent_task_late(cluster: Cluster) -> None:
    """The next due instant includes the slots that the commit has just planned."""
    policy = NodePolicy(leadership=POLICY.leadership, worker=POLICY.worker, poll_interval=5 * SECOND)
    leader = cluster.process("leader", policy).declares(a_task(schedule=Schedule.every(SECOND)))
    await leader.lead()
    cluster.clock.advance(SECOND)
    assert await leader.node.scheduler.tick() == 1.0


async def test_a_scheduler_without_work_asks_seldom(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.at(NOON + SECOND))
    cluster.clock.advance(SECOND)
    assert await leader.node.scheduler.tick() == LONGEST_REST.total_seconds()
    assert await leader.node.scheduler.tick() == LONGEST_REST.total_seconds()


async def test_a_leader_looks_again_after_a_poll_while_a_due_task_is_undecided(cluster: Cluster) -> None:
    """Whether the node does not know the definition, another process has overtaken the decision, or the store cannot
    read the state of the task."""
    leader = await a_leader(cluster)

    async def pause() -> None:
        await cluster.backend.dispatch.pause([KEY])

    await leader.ensure_leads(after=MINUTE)
    leader.link.between("agenda", pause)
    assert await leader.node.scheduler.tick() == POLL
    assert await leader.node.scheduler.tick() == LONGEST_REST.total_seconds()
    await cluster.process("new").declares(a_task(schedule=Schedule.every(2 * MINUTE))).node.registrar.tick()
    await leader.ensure_leads(after=3 * MINUTE)
    assert await leader.node.scheduler.tick() == POLL
    await leader.node.registrar.tick()
    assert await leader.node.scheduler.tick() == LONGEST_REST.total_seconds()


class DispatchWithUnreadableState:
    """The store cannot read the state of one due task."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._dispatch, verb)

    async def agenda(self, *arguments: Any) -> Agenda:
        return replace(await self._dispatch.agenda(*arguments), unreadable=1)


async def test_a_leader_looks_again_after_a_poll_while_the_state_of_a_due_task_is_unreadable(cluster: Cluster) -> None:
    backend = replace(cluster.backend, dispatch=DispatchWithUnreadableState(cluster.backend.dispatch))
    leader = await a_leader(Cluster(backend, cluster.store, cluster.clock))
    assert await leader.node.scheduler.tick() == POLL


async def test_a_deposed_leader_dispatches_nothing_and_knows_it_is_deposed(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND))
    term = leader.node.elector.trusted()
    assert term is not None
    await cluster.backend.leadership.resign(term)
    await cluster.backend.leadership.campaign(NodeId("usurper"), MINUTE)
    cluster.clock.advance(SECOND)
    assert leader.node.leads
    await leader.node.scheduler.tick()
    assert leader.events.one(WriteFenced).operation == "commit"
    assert leader.events.one(TermEnded).transition is LeadershipTransition.LOST
    assert await live(cluster) == []
    assert await leader.node.scheduler.tick() is None


async def test_trust_is_checked_again_before_every_commit(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND))
    cluster.clock.advance(SECOND)

    async def suspended() -> None:
        cluster.clock.advance(MINUTE)

    leader.link.between("agenda", suspended)
    await leader.node.scheduler.tick()
    assert "commit" not in leader.link.calls
    assert leader.events.one(TermEnded).transition is LeadershipTransition.EXPIRED


async def test_a_commit_whose_reply_was_lost_has_no_second_effect(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND))
    cluster.clock.advance(SECOND)
    leader.link.trouble("commit", Trouble.LOST_REPLY)
    with pytest.raises(BackendUnavailable):
        await leader.node.scheduler.tick()
    await leader.node.scheduler.tick()
    assert await live(cluster) == [(NOON + SECOND, RunState.QUEUED)]


async def test_an_outdated_decision_is_made_again(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND))
    cluster.clock.advance(SECOND)

    async def pause() -> None:
        await cluster.backend.dispatch.pause([KEY])

    leader.link.between("agenda", pause)
    await leader.node.scheduler.tick()
    assert (await live(cluster), leader.events.of(SlotsDecided)) == ([], [])
    await leader.node.scheduler.tick()
    assert await skipped(cluster) == {SkipReason.PAUSED: 1}


async def test_a_resumed_task_does_not_dispatch_the_slots_of_its_pause(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND))
    await leader.node.control.pause([KEY])
    cluster.clock.advance(3 * SECOND)
    await leader.node.control.resume([KEY])
    cluster.clock.advance(SECOND)
    await leader.node.scheduler.tick()
    assert await live(cluster) == [(NOON + 4 * SECOND, RunState.QUEUED)]
    assert await skipped(cluster) == {SkipReason.PAUSED: 3}


async def test_an_exclusive_task_holds_one_slot_and_runs_it_when_its_run_ends(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND), overlap=Overlap.BUFFER_ONE)
    for _ in range(3):
        cluster.clock.advance(SECOND)
        await leader.node.scheduler.tick()
    assert await live(cluster) == [(NOON + SECOND, RunState.QUEUED), (NOON + 2 * SECOND, RunState.HELD)]
    assert await skipped(cluster) == {SkipReason.OVERLAP: 1}
    await leader.work()
    assert await live(cluster) == [(NOON + 2 * SECOND, RunState.QUEUED)]


async def test_a_task_with_a_limit_runs_so_many_at_a_time_and_skips_the_other_slots(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND), max_instances=2)
    for _ in range(4):
        cluster.clock.advance(SECOND)
        await leader.node.scheduler.tick()
    assert await live(cluster) == [(NOON + SECOND, RunState.QUEUED), (NOON + 2 * SECOND, RunState.QUEUED)]
    assert await skipped(cluster) == {SkipReason.OVERLAP: 2}
    await leader.work()
    cluster.clock.advance(SECOND)
    await leader.node.scheduler.tick()
    assert await live(cluster) == [(NOON + 5 * SECOND, RunState.QUEUED)]


async def test_a_request_between_reading_and_committing_takes_the_last_place(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND), max_instances=2)
    cluster.clock.advance(SECOND)
    await leader.node.scheduler.tick()
    cluster.clock.advance(SECOND)
    control = leader.node.control
    leader.link.between("agenda", lambda: control.requested_runs.queue(control.definition(KEY), "request"))
    await leader.node.scheduler.tick()
    await leader.node.scheduler.tick()
    assert len(await live(cluster)) == 2
    assert await skipped(cluster) == {SkipReason.OVERLAP: 1}


async def test_a_run_that_ends_between_reading_and_committing_does_not_leave_a_slot_held_for_nothing(
    cluster: Cluster,
) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND), overlap=Overlap.BUFFER_ONE)
    cluster.clock.advance(SECOND)
    await leader.node.scheduler.tick()
    cluster.clock.advance(SECOND)
    leader.link.between("agenda", leader.work)
    await leader.node.scheduler.tick()
    await leader.node.scheduler.tick()
    assert await live(cluster) == [(NOON + 2 * SECOND, RunState.QUEUED)]


# --- many tasks, many slots ------------------------------------------------------------------------------------------


async def test_hundreds_of_due_tasks_are_dispatched_without_rest(cluster: Cluster) -> None:
    leader = await a_leader(cluster, *[Schedule.every(MINUTE)] * 250)
    await leader.ensure_leads(after=MINUTE)
    assert [await leader.node.scheduler.tick() for _ in range(3)] == [0.0, 0.0, LONGEST_REST.total_seconds()]
    assert len(leader.events.of(SlotsDecided)) == 250


async def test_tasks_of_an_unknown_version_do_not_starve_the_others(cluster: Cluster) -> None:
    """A leader that cannot read the new definitions still dispatches the tasks that it knows."""
    leader = await a_leader(cluster, Schedule.every(SECOND))
    asked: list[str] = []
    leader.node.scheduler.on_unknown = lambda: asked.append("registrar")
    other = cluster.process("other")
    for number in range(BATCHES.tasks_per_commit + 20):
        other.declares(a_task(f"a-{number}", schedule=Schedule.at(NOON + timedelta(milliseconds=500))))
    await other.node.registrar.tick()
    cluster.clock.advance(SECOND)
    await leader.node.scheduler.tick()
    await leader.node.scheduler.tick()
    assert await live(cluster) == [(NOON + SECOND, RunState.QUEUED)]
    assert asked
    await leader.node.registrar.tick()
    assert await leader.node.scheduler.tick() == 0.0
    await leader.node.scheduler.tick()
    assert len(leader.events.of(SlotsDecided)) == BATCHES.tasks_per_commit + 21


class PartlyUnreadableCatalogue:
    """A catalogue that a newer release has written to. The reader understands only one of the definitions."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._catalogue, verb)

    async def load(self, since: int) -> Changes | None:
        changes = await self._catalogue.load(since)
        if changes is None:
            return None
        read = tuple(one for one in changes.changed if one.definition.key == KEY)
        return replace(changes, changed=read, unreadable=changes.keys - {KEY})


async def test_many_due_tasks_that_cannot_be_read_neither_enlarge_a_pass_nor_delay_the_others(
    cluster: Cluster,
) -> None:
    writer, early = cluster.process("writer"), Schedule.at(NOON + timedelta(milliseconds=500))
    many = 5 * BATCHES.tasks_per_commit + 20
    for number in range(many):
        writer.declares(a_task(f"a-{number}", schedule=early))
    await writer.node.registrar.tick()
    older = Cluster(
        replace(cluster.backend, catalogue=PartlyUnreadableCatalogue(cluster.backend.catalogue)),
        cluster.store,
        cluster.clock,
    )
    leader = await older.process("leader").declares(a_task(schedule=Schedule.every(SECOND))).lead()
    asked: list[str] = []
    leader.node.scheduler.on_unknown = lambda: asked.append("registrar")
    cluster.clock.advance(SECOND)

    rests = [await leader.node.scheduler.tick() for _ in range(7)]
    assert rests[:5] == [0.0] * 5
    assert (rests[5] or 0) > 0
    assert await live(cluster) == [(NOON + SECOND, RunState.QUEUED)]
    for _ in range(3):  # The leader finds the next slots at once, behind the tasks that it cannot read.
        leader.link.calls.clear()
        await leader.ensure_leads(after=SECOND)
        assert (await leader.node.scheduler.tick() or 0) > 0
        assert leader.link.calls.count("agenda") == 1
    assert len(leader.events.of(SlotsDecided)) == 4
    assert asked == []

    # If a skipped task becomes readable, the leader finds it within READ_FROM_START_EVERY.
    await leader.ensure_leads(after=READ_FROM_START_EVERY)
    leader.link.calls.clear()
    ticks = [await leader.node.scheduler.tick() for _ in range(6)]
    assert ticks[:5] == [0.0] * 5
    assert leader.link.calls.count("agenda") == 7


async def test_the_slots_of_a_long_outage_are_decided_in_batches_without_rest(cluster: Cluster) -> None:
    leader = await a_leader(cluster, Schedule.every(SECOND))
    await leader.ensure_leads(after=timedelta(seconds=2500))
    rests = [await leader.node.scheduler.tick() for _ in range(3)]
    assert rests == [0.001, 0.001, 1.0]
    assert await live(cluster) == [(NOON + timedelta(seconds=second), RunState.QUEUED) for second in (2498, 2499, 2500)]
    assert await skipped(cluster) == {SkipReason.CATCH_UP: 2497}


async def test_a_long_outage_of_many_tasks_is_committed_in_small_parts(cluster: Cluster) -> None:
    leader = await a_leader(cluster, *[Schedule.every(SECOND)] * 5)
    await leader.ensure_leads(after=timedelta(seconds=600))
    leader.link.calls.clear()
    await leader.node.scheduler.tick()
    assert leader.link.calls == ["agenda", "commit", "commit", "commit"]


async def test_a_gap_in_scheduling_is_reported_once_with_the_number_of_its_slots(cluster: Cluster) -> None:
    leader = cluster.process("leader")
    everything = CatchUp(mode=CatchUpMode.ALL, limit=2)
    leader.declares(a_task(schedule=Schedule.every(SECOND), catch_up=everything))
    await leader.lead()
    await leader.ensure_leads(after=10 * SECOND)
    await leader.node.scheduler.tick()
    gap = leader.events.one(GapFound)
    assert (gap.since, gap.until, gap.tasks) == (NOON + SECOND, NOON + 10 * SECOND, 1)
    assert (gap.dispatched, gap.skipped) == (5, 5)
    cluster.clock.advance(SECOND)
    await leader.node.scheduler.tick()
    assert len(leader.events.of(GapFound)) == 1
