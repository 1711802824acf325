"""Repairing what processes left behind when they died or changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from task_manager_core.application.reconciler import RECOVERY
from task_manager_core.domain.errors import BackendCorrupt, BackendError, BackendUnavailable
from task_manager_core.domain.events import ClaimReaped, FindingMade, TermEnded, WriteFenced
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import LeadershipTransition
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.policy import BatchPolicy
from task_manager_core.domain.reconciliation import Orphaned, Overdue, Stray
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.ports import History
from tests.application.world import KEY, MINUTE, POLICY, SECOND, Process, Trouble, World, a_task, live, queued, statuses

BATCHES = BatchPolicy()

TTL = POLICY.worker.claim_ttl
INTERVAL = POLICY.reconciliation_interval
PRESENCE = POLICY.presence_ttl


async def retired(world: World) -> bool:
    return (await world.backend.history.snapshot([KEY])).tasks[0].retired


async def looks(leader: Process, *, after: timedelta = INTERVAL) -> None:
    await leader.reign(after=after)
    await leader.node.registrar.tick()
    await leader.node.reconciler.tick()


async def test_who_does_not_lead_repairs_nothing(world: World) -> None:
    process = world.process()
    assert await process.node.reconciler.tick() is None
    assert process.wire.calls == []


async def test_a_dead_workers_run_is_put_back_once_its_claim_is_over(world: World) -> None:
    worker = await queued(world, lambda: None)
    leader = await world.process("leader").lead()
    await worker.backend.queue.claim(worker.id, 1, timedelta(0))
    assert await leader.node.reconciler.tick() == INTERVAL.total_seconds()
    assert [run.state for run in await live(world)] == [RunState.RUNNING]
    await leader.reign(after=TTL)
    await leader.node.reconciler.tick()
    reaped = leader.events.one(ClaimReaped)
    assert (reaped.claim.run.task, reaped.claim.attempt, reaped.claim.worker) == (KEY, 1, worker.id)
    [run] = await live(world)
    assert (run.state, run.attempt, run.failures, run.losses) == (RunState.QUEUED, 2, 0, 1)
    assert await statuses(world) == [AttemptStatus.LOST]


async def test_thousands_of_dead_claims_are_put_back_step_by_step_without_rest(world: World) -> None:
    worker = await queued(world, lambda: None, runs=BATCHES.reaped_claims + 1)
    leader = await world.process("leader").lead()
    await worker.backend.queue.claim(worker.id, BATCHES.reaped_claims + 1, timedelta(0))
    await leader.reign(after=TTL)
    assert await leader.node.reconciler.tick() == 0.0
    assert await leader.node.reconciler.tick() == INTERVAL.total_seconds()
    assert len(leader.events.of(ClaimReaped)) == BATCHES.reaped_claims + 1


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_reaping_without_an_answer_is_repeated_without_a_second_loss(world: World, trouble: Trouble) -> None:
    worker = await queued(world, lambda: None)
    leader = await world.process("leader").lead()
    await worker.backend.queue.claim(worker.id, 1, timedelta(0))
    await leader.reign(after=TTL)
    leader.wire.trouble("reap", trouble)
    with pytest.raises(BackendUnavailable):
        await leader.node.reconciler.tick()
    assert await leader.node.reconciler.tick() == RECOVERY.total_seconds()
    await leader.node.reconciler.tick()
    assert [(run.attempt, run.losses) for run in await live(world)] == [(2, 1)]


async def test_after_an_outage_workers_settle_before_anything_is_reaped(world: World) -> None:
    worker = await queued(world, lambda: None)
    leader = await world.process("leader").lead()
    await worker.node.worker.claim()
    await worker.ended()
    await leader.reign(after=TTL)
    leader.wire.trouble("reap", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await leader.node.reconciler.tick()
    leader.wire.trouble("snapshot", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await leader.node.reconciler.tick()
    leader.wire.calls.clear()
    assert await leader.node.reconciler.tick() == RECOVERY.total_seconds()
    assert "reap" not in leader.wire.calls
    await worker.node.worker.settle()
    await leader.node.reconciler.tick()
    assert (await statuses(world), await live(world)) == ([AttemptStatus.SUCCEEDED], [])


class Spoiled:
    """A history whose next snapshots fail, or name living nodes that cannot be read."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.errors: Sequence[BackendError] = ()
        self.unreadable: frozenset[NodeId] = frozenset()

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._history, verb)

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        if self.errors:
            error, *self.errors = self.errors
            raise error
        return replace(await self._history.snapshot(keys), unreadable=self.unreadable)


def spoiled(world: World) -> tuple[World, Spoiled]:
    history = Spoiled(world.backend.history)
    backend = replace(world.backend, history=history)
    return World(backend, world.store, world.clock), history


async def test_what_a_look_cannot_read_postpones_no_reaping(world: World) -> None:
    seen, history = spoiled(world)
    worker = await queued(world, lambda: None)
    leader = await seen.process("leader").lead()
    await worker.backend.queue.claim(worker.id, 1, timedelta(0))
    await leader.reign(after=TTL)
    history.errors = 3 * [BackendCorrupt("a view", "junk")]
    for _ in range(3):
        with pytest.raises(BackendCorrupt):
            await leader.node.reconciler.tick()
    assert leader.wire.calls.count("reap") == 3
    assert [(run.state, run.losses) for run in await live(world)] == [(RunState.QUEUED, 1)]


@pytest.mark.parametrize("error", [BackendCorrupt("a view", "junk"), BackendUnavailable("away")])
async def test_a_look_that_failed_is_repeated(world: World, error: BackendError) -> None:
    """The first look of a term is at all tasks, whenever it succeeds."""
    seen, history = spoiled(world)
    worker = await queued(world, lambda: None)
    leader = await seen.process("leader").lead()
    await worker.backend.queue.claim(NodeId("ghost"), 1, timedelta(0))
    frame = leader.wire.calls.count("snapshot")
    leader.wire.between("snapshot", fails_next(history, error))
    with pytest.raises(BackendError):
        await leader.node.reconciler.tick()
    assert leader.wire.calls.count("snapshot") == frame + 2
    await leader.node.reconciler.tick()
    assert [type(made.finding) for made in leader.events.of(FindingMade)] == [Orphaned]


def fails_next(history: Spoiled, error: BackendError) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        history.errors = [error]

    return fail


async def test_a_living_node_that_cannot_be_read_keeps_its_tasks_and_its_claims(world: World) -> None:
    """A newer release may say of itself what this one does not understand."""
    seen, history = spoiled(world)
    newer = await queued(world, lambda: None)
    await newer.node.registrar.tick()
    leader = await seen.process("leader").lead()
    await newer.backend.queue.claim(newer.id, 1, timedelta(0))
    await newer.backend.membership.depart(newer.id)
    history.unreadable = frozenset({newer.id})
    await leader.node.reconciler.tick()
    for _ in range(3):
        await looks(leader)
    assert not [made for made in leader.events.of(FindingMade) if not isinstance(made.finding, Overdue)]
    assert not await retired(world)
    history.unreadable = frozenset()
    for _ in range(3):
        await looks(leader)
    assert await retired(world)


async def test_a_deposed_leader_reaps_nothing(world: World) -> None:
    leader = await world.process("leader").lead()
    term = leader.node.elector.trusted()
    assert term is not None
    await world.backend.leadership.resign(term)
    assert await leader.node.reconciler.tick() is None
    assert (leader.events.one(WriteFenced).operation, leader.events.one(TermEnded).transition) == (
        "reap",
        LeadershipTransition.LOST,
    )


# --- strays ----------------------------------------------------------------------------------------------------------


async def test_a_task_that_no_living_process_declares_for_long_is_retired(world: World) -> None:
    old = world.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await world.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await looks(leader)
    assert not await retired(world)
    await looks(leader)
    assert await retired(world)
    strays = [made.finding for made in leader.events.of(FindingMade) if isinstance(made.finding, Stray)]
    assert strays == [Stray(key=KEY)]
    leader.events.clear()
    await looks(leader)
    assert leader.events.of(FindingMade) == []


async def test_a_stray_is_one_for_no_longer_because_the_clock_was_set_back(world: World) -> None:
    old = world.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await world.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await looks(leader)
    world.clock.set_wall(world.clock.now() - timedelta(days=1))
    await looks(leader)
    await looks(leader)
    assert await retired(world)


async def test_a_task_that_one_of_many_versions_declares_is_no_stray(world: World) -> None:
    leader = await world.process("leader").lead()
    other = world.process("other").declares(a_task())
    for _ in range(4):
        await leader.reign(after=INTERVAL)
        await other.node.registrar.tick()
        await leader.node.reconciler.tick()
    assert not await retired(world)


async def test_after_an_outage_of_the_store_nobody_loses_tasks_for_announcing_himself_late(world: World) -> None:
    leader = await world.process("leader").lead()
    other = world.process("other").declares(a_task())
    await other.node.registrar.tick()
    await looks(leader, after=MINUTE)
    await looks(leader, after=PRESENCE - SECOND)
    strays = [made for made in leader.events.of(FindingMade) if isinstance(made.finding, Stray)]
    assert (strays, await retired(world)) == ([], False)
    await other.node.registrar.tick()
    await looks(leader, after=SECOND)
    assert not await retired(world)


async def test_a_stray_of_an_earlier_reign_is_looked_at_twice_again(world: World) -> None:
    old = world.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await world.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await looks(leader)
    await leader.node.elector.resign()
    await looks(leader)
    assert not await retired(world)
    await looks(leader, after=PRESENCE)
    assert await retired(world)


async def test_a_leader_deposed_during_its_look_retires_nothing(world: World) -> None:
    old = world.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await world.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await looks(leader, after=MINUTE)
    await leader.reign(after=PRESENCE)
    term = leader.node.elector.trusted()
    assert term is not None

    async def depose() -> None:
        await world.backend.leadership.resign(term)

    leader.wire.between("snapshot", depose)
    await leader.node.reconciler.tick()
    assert leader.events.one(WriteFenced).operation == "retire"
    assert not await retired(world)


async def test_trust_that_ends_during_the_look_retires_nothing(world: World) -> None:
    old = world.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await world.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await looks(leader, after=MINUTE)

    async def suspended() -> None:
        world.clock.advance(MINUTE)

    leader.wire.between("snapshot", suspended)
    leader.wire.calls.clear()
    await leader.node.reconciler.tick()
    assert "retire" not in leader.wire.calls


# --- what is only reported -------------------------------------------------------------------------------------------


async def test_an_orphan_and_an_overdue_slot_are_reported_and_left_to_those_who_mend_them(world: World) -> None:
    worker = await queued(world, lambda: None)
    leader = await world.process("leader").lead()
    ghost = NodeId("ghost")
    await worker.backend.queue.claim(ghost, 1, timedelta(0))
    world.clock.advance(8 * SECOND)
    await worker.node.registrar.tick()
    await leader.node.reconciler.tick()
    (orphan,) = [made.finding for made in leader.events.of(FindingMade)]
    assert isinstance(orphan, Orphaned)
    assert orphan.worker == ghost
    leader.events.clear()
    await leader.reign(after=MINUTE)
    await worker.node.registrar.tick()
    await leader.node.reconciler.tick()
    (overdue,) = [made.finding for made in leader.events.of(FindingMade) if isinstance(made.finding, Overdue)]
    assert (overdue.key, overdue.late) == (KEY, 8 * SECOND)


# --- what a look costs -----------------------------------------------------------------------------------------------


async def test_while_all_is_well_a_look_reads_no_task(world: World) -> None:
    """The cost of idleness must not grow with the number of tasks."""
    leader = await world.process("leader").declares(a_task()).lead()
    await leader.node.reconciler.tick()
    leader.wire.calls.clear()
    await leader.node.reconciler.tick()
    assert leader.wire.calls == ["reap", "snapshot", "agenda"]


async def test_when_a_node_has_gone_its_orphans_are_looked_for_until_they_are_over(world: World) -> None:
    worker = await queued(world, lambda: None)
    leader = await world.process("leader").lead()
    await leader.node.reconciler.tick()
    await worker.backend.queue.claim(worker.id, 1, timedelta(0))
    await leader.node.reconciler.tick()
    assert [made for made in leader.events.of(FindingMade) if isinstance(made.finding, Orphaned)] == []
    await worker.backend.membership.depart(worker.id)
    for _ in range(2):
        leader.events.clear()
        await leader.node.reconciler.tick()
        orphans = [made.finding for made in leader.events.of(FindingMade) if isinstance(made.finding, Orphaned)]
        assert [(orphan.key, orphan.worker) for orphan in orphans] == [(KEY, worker.id)]
