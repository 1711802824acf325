"""The reconciler repairs the state that dead or changed processes have left in the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from task_manager_core.application.definitions import Definitions
from task_manager_core.application.reconciler import RECOVERY
from task_manager_core.domain.errors import BackendCorrupt, BackendError, BackendUnavailable
from task_manager_core.domain.events import ClaimReaped, FindingMade, TermEnded, WriteFenced
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import LeadershipTransition
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.policy import BatchPolicy
from task_manager_core.domain.reconciliation import Orphaned, Overdue, Stray
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import VersionedDefinition
from task_manager_core.ports import Changes, History
from tests.application.cluster import (
    KEY,
    MINUTE,
    NOON,
    POLICY,
    SECOND,
    Cluster,
    Process,
    Trouble,
    a_task,
    live,
    queued,
    statuses,
)

BATCHES = BatchPolicy()

TTL = POLICY.worker.claim_ttl
INTERVAL = POLICY.reconciliation_interval
PRESENCE = POLICY.presence_ttl


async def retired(cluster: Cluster) -> bool:
    return (await cluster.backend.history.snapshot([KEY])).tasks[0].retired


async def reconcile(leader: Process, *, after: timedelta = INTERVAL) -> None:
    await leader.ensure_leads(after=after)
    await leader.node.registrar.tick()
    await leader.node.reconciler.tick()


async def test_a_follower_repairs_nothing(cluster: Cluster) -> None:
    process = cluster.process()
    assert await process.node.reconciler.tick() is None
    assert process.link.calls == []


async def test_the_run_of_a_dead_worker_is_queued_again_when_its_claim_has_expired(cluster: Cluster) -> None:
    worker = await queued(cluster, lambda: None)
    leader = await cluster.process("leader").lead()
    await worker.backend.queue.claim(worker.id, 1, timedelta(0))
    assert await leader.node.reconciler.tick() == INTERVAL.total_seconds()
    assert [run.state for run in await live(cluster)] == [RunState.RUNNING]
    await leader.ensure_leads(after=TTL)
    await leader.node.reconciler.tick()
    reaped = leader.events.one(ClaimReaped)
    assert (reaped.claim.run.task, reaped.claim.attempt, reaped.claim.worker) == (KEY, 1, worker.id)
    [run] = await live(cluster)
    assert (run.state, run.attempt, run.failures, run.losses) == (RunState.QUEUED, 2, 0, 1)
    assert await statuses(cluster) == [AttemptStatus.LOST]


async def test_thousands_of_expired_claims_are_reaped_in_batches_without_rest(cluster: Cluster) -> None:
    worker = await queued(cluster, lambda: None, runs=BATCHES.reaped_claims + 1)
    leader = await cluster.process("leader").lead()
    await worker.backend.queue.claim(worker.id, BATCHES.reaped_claims + 1, timedelta(0))
    await leader.ensure_leads(after=TTL)
    assert await leader.node.reconciler.tick() == 0.0
    assert await leader.node.reconciler.tick() == INTERVAL.total_seconds()
    assert len(leader.events.of(ClaimReaped)) == BATCHES.reaped_claims + 1


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_reaping_without_an_answer_is_repeated_without_a_second_loss(
    cluster: Cluster, trouble: Trouble
) -> None:
    worker = await queued(cluster, lambda: None)
    leader = await cluster.process("leader").lead()
    await worker.backend.queue.claim(worker.id, 1, timedelta(0))
    await leader.ensure_leads(after=TTL)
    leader.link.trouble("reap", trouble)
    with pytest.raises(BackendUnavailable):
        await leader.node.reconciler.tick()
    assert await leader.node.reconciler.tick() == RECOVERY.total_seconds()
    await leader.node.reconciler.tick()
    assert [(run.attempt, run.losses) for run in await live(cluster)] == [(2, 1)]


async def test_after_an_outage_workers_settle_before_anything_is_reaped(cluster: Cluster) -> None:
    worker = await queued(cluster, lambda: None)
    leader = await cluster.process("leader").lead()
    await worker.node.worker.claim()
    await worker.ended()
    await leader.ensure_leads(after=TTL)
    leader.link.trouble("reap", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await leader.node.reconciler.tick()
    leader.link.trouble("snapshot", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await leader.node.reconciler.tick()
    leader.link.calls.clear()
    assert await leader.node.reconciler.tick() == RECOVERY.total_seconds()
    assert "reap" not in leader.link.calls
    await worker.node.worker.settle()
    await leader.node.reconciler.tick()
    assert (await statuses(cluster), await live(cluster)) == ([AttemptStatus.SUCCEEDED], [])


class FaultyHistory:
    """A history whose next snapshots fail, or contain living nodes that cannot be read."""

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


def with_faulty_history(cluster: Cluster) -> tuple[Cluster, FaultyHistory]:
    history = FaultyHistory(cluster.backend.history)
    backend = replace(cluster.backend, history=history)
    return Cluster(backend, cluster.store, cluster.clock), history


async def test_an_unreadable_snapshot_does_not_postpone_reaping(cluster: Cluster) -> None:
    faulty, history = with_faulty_history(cluster)
    worker = await queued(cluster, lambda: None)
    leader = await faulty.process("leader").lead()
    await worker.backend.queue.claim(worker.id, 1, timedelta(0))
    await leader.ensure_leads(after=TTL)
    history.errors = 3 * [BackendCorrupt("a view", "junk")]
    for _ in range(3):
        with pytest.raises(BackendCorrupt):
            await leader.node.reconciler.tick()
    assert leader.link.calls.count("reap") == 3
    assert [(run.state, run.losses) for run in await live(cluster)] == [(RunState.QUEUED, 1)]


@pytest.mark.parametrize("error", [BackendCorrupt("a view", "junk"), BackendUnavailable("away")])
async def test_a_snapshot_that_failed_is_repeated(cluster: Cluster, error: BackendError) -> None:
    """The first successful snapshot of a term contains all tasks."""
    faulty, history = with_faulty_history(cluster)
    worker = await queued(cluster, lambda: None)
    leader = await faulty.process("leader").lead()
    await worker.backend.queue.claim(NodeId("ghost"), 1, timedelta(0))
    frame = leader.link.calls.count("snapshot")
    leader.link.between("snapshot", fail_next(history, error))
    with pytest.raises(BackendError):
        await leader.node.reconciler.tick()
    assert leader.link.calls.count("snapshot") == frame + 2
    await leader.node.reconciler.tick()
    assert [type(made.finding) for made in leader.events.of(FindingMade)] == [Orphaned]


def fail_next(history: FaultyHistory, error: BackendError) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        history.errors = [error]

    return fail


async def test_a_living_node_that_cannot_be_read_keeps_its_tasks_and_its_claims(cluster: Cluster) -> None:
    """The presence of a newer release may hold values that this release does not understand."""
    faulty, history = with_faulty_history(cluster)
    newer = await queued(cluster, lambda: None)
    await newer.node.registrar.tick()
    leader = await faulty.process("leader").lead()
    await newer.backend.queue.claim(newer.id, 1, timedelta(0))
    await newer.backend.membership.depart(newer.id)
    history.unreadable = frozenset({newer.id})
    await leader.node.reconciler.tick()
    for _ in range(3):
        await reconcile(leader)
    assert not [made for made in leader.events.of(FindingMade) if not isinstance(made.finding, Overdue)]
    assert not await retired(cluster)
    history.unreadable = frozenset()
    for _ in range(3):
        await reconcile(leader)
    assert await retired(cluster)


async def test_a_deposed_leader_reaps_nothing(cluster: Cluster) -> None:
    leader = await cluster.process("leader").lead()
    term = leader.node.elector.trusted()
    assert term is not None
    await cluster.backend.leadership.resign(term)
    assert await leader.node.reconciler.tick() is None
    assert (leader.events.one(WriteFenced).operation, leader.events.one(TermEnded).transition) == (
        "reap",
        LeadershipTransition.LOST,
    )


# --- strays ----------------------------------------------------------------------------------------------------------


async def test_a_task_that_no_living_process_has_declared_for_long_is_retired(cluster: Cluster) -> None:
    old = cluster.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await cluster.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await reconcile(leader)
    assert not await retired(cluster)
    await reconcile(leader)
    assert await retired(cluster)
    strays = [made.finding for made in leader.events.of(FindingMade) if isinstance(made.finding, Stray)]
    assert strays == [Stray(key=KEY)]
    leader.events.clear()
    await reconcile(leader)
    assert leader.events.of(FindingMade) == []


async def test_a_clock_that_is_set_back_does_not_delay_the_retirement_of_a_stray(cluster: Cluster) -> None:
    old = cluster.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await cluster.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await reconcile(leader)
    cluster.clock.set_wall(cluster.clock.now() - timedelta(days=1))
    await reconcile(leader)
    await reconcile(leader)
    assert await retired(cluster)


async def test_a_task_that_one_of_many_versions_declares_is_no_stray(cluster: Cluster) -> None:
    leader = await cluster.process("leader").lead()
    other = cluster.process("other").declares(a_task())
    for _ in range(4):
        await leader.ensure_leads(after=INTERVAL)
        await other.node.registrar.tick()
        await leader.node.reconciler.tick()
    assert not await retired(cluster)


async def test_after_an_outage_of_the_store_a_late_announcement_costs_no_task(cluster: Cluster) -> None:
    leader = await cluster.process("leader").lead()
    other = cluster.process("other").declares(a_task())
    await other.node.registrar.tick()
    await reconcile(leader, after=MINUTE)
    await reconcile(leader, after=PRESENCE - SECOND)
    strays = [made for made in leader.events.of(FindingMade) if isinstance(made.finding, Stray)]
    assert (strays, await retired(cluster)) == ([], False)
    await other.node.registrar.tick()
    await reconcile(leader, after=SECOND)
    assert not await retired(cluster)


async def test_a_new_term_checks_a_stray_of_an_earlier_term_twice_again(cluster: Cluster) -> None:
    old = cluster.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await cluster.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await reconcile(leader)
    await leader.node.elector.resign()
    await reconcile(leader)
    assert not await retired(cluster)
    await reconcile(leader, after=PRESENCE)
    assert await retired(cluster)


async def test_a_leader_that_loses_its_term_during_the_snapshot_retires_nothing(cluster: Cluster) -> None:
    old = cluster.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await cluster.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await reconcile(leader, after=MINUTE)
    await leader.ensure_leads(after=PRESENCE)
    term = leader.node.elector.trusted()
    assert term is not None

    async def depose() -> None:
        await cluster.backend.leadership.resign(term)

    leader.link.between("snapshot", depose)
    await leader.node.reconciler.tick()
    assert leader.events.one(WriteFenced).operation == "retire"
    assert not await retired(cluster)


async def test_a_leader_whose_trust_ends_during_the_snapshot_retires_nothing(cluster: Cluster) -> None:
    old = cluster.process("old").declares(a_task())
    await old.node.registrar.tick()
    leader = await cluster.process("leader").lead()
    await old.backend.membership.depart(old.id)
    await reconcile(leader, after=MINUTE)

    async def suspended() -> None:
        cluster.clock.advance(MINUTE)

    leader.link.between("snapshot", suspended)
    leader.link.calls.clear()
    await leader.node.reconciler.tick()
    assert "retire" not in leader.link.calls


# --- findings --------------------------------------------------------------------------------------------------------


async def test_an_orphan_and_an_overdue_slot_are_only_reported(cluster: Cluster) -> None:
    worker = await queued(cluster, lambda: None)
    leader = await cluster.process("leader").lead()
    ghost = NodeId("ghost")
    await worker.backend.queue.claim(ghost, 1, timedelta(0))
    cluster.clock.advance(8 * SECOND)
    await worker.node.registrar.tick()
    await leader.node.reconciler.tick()
    (orphan,) = [made.finding for made in leader.events.of(FindingMade)]
    assert isinstance(orphan, Orphaned)
    assert orphan.worker == ghost
    leader.events.clear()
    await leader.ensure_leads(after=MINUTE)
    await worker.node.registrar.tick()
    await leader.node.reconciler.tick()
    (overdue,) = [made.finding for made in leader.events.of(FindingMade) if isinstance(made.finding, Overdue)]
    assert (overdue.key, overdue.late) == (KEY, 8 * SECOND)


# --- costs -----------------------------------------------------------------------------------------------------------


async def test_a_pass_without_findings_reads_no_task(cluster: Cluster) -> None:
    """The cost of an idle pass must not grow with the number of tasks."""
    leader = await cluster.process("leader").declares(a_task()).lead()
    await leader.node.reconciler.tick()
    leader.link.calls.clear()
    await leader.node.reconciler.tick()
    assert leader.link.calls == ["reap", "snapshot", "agenda"]


async def test_the_orphans_of_a_node_that_has_departed_are_reported_until_they_are_reaped(cluster: Cluster) -> None:
    worker = await queued(cluster, lambda: None)
    leader = await cluster.process("leader").lead()
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


# --- tasks that are over ---------------------------------------------------------------------------------------------


async def known(cluster: Cluster) -> set[str]:
    return {view.key.name for view in (await cluster.backend.history.snapshot()).tasks}


async def test_a_one_off_task_is_removed_when_its_runs_have_ended_and_its_time_is_over(cluster: Cluster) -> None:
    kept = POLICY.keep_ended_tasks
    assert kept is not None
    leader = await cluster.process("leader").knows("report").lead()
    once = Schedule.at(cluster.clock.now() + MINUTE)
    for name, schedule in (("once", once), ("hourly", Schedule.every(timedelta(hours=1)))):
        await leader.node.control.add(a_task(name, schedule=schedule, dynamic=True, function="report"))
    await leader.node.control.add(a_task("patient", schedule=Schedule(rules=()), dynamic=True, function="report"))
    await reconcile(leader, after=MINUTE)
    await leader.node.scheduler.tick()
    await reconcile(leader)
    await reconcile(leader, after=kept)
    assert await known(cluster) == {"once", "hourly", "patient"}  # Its run waits in the queue.
    await leader.work()
    await reconcile(leader)
    assert await known(cluster) == {"once", "hourly", "patient"}
    await reconcile(leader, after=kept)
    assert await known(cluster) == {"hourly", "patient"}
    await leader.node.registrar.tick()
    assert leader.node.definitions.some_over(cluster.clock.now(), 10) == []


def test_only_the_present_instant_of_a_one_off_task_counts_however_often_it_moved() -> None:
    definitions, moves = Definitions(), 1000
    for move in range(1, moves + 1):
        once = a_task("once", schedule=Schedule.at(NOON + move * MINUTE), dynamic=True, function="report")
        stored = VersionedDefinition(definition=once, version=move)
        definitions.apply(
            Changes(version=move, incarnation=1, complete=False, changed=(stored,), retired=frozenset(), total=1)
        )
    assert len(vars(definitions)["_instants"]) < moves / 2
    assert definitions.some_over(NOON + moves * MINUTE - timedelta(milliseconds=1), 10) == []
    assert [one.version for one in definitions.some_over(NOON + moves * MINUTE, 10)] == [moves]


async def test_without_a_limit_one_off_tasks_stay(cluster: Cluster) -> None:
    policy = replace(POLICY, keep_ended_tasks=None)
    leader = await cluster.process("leader", policy).knows("report").lead()
    once = Schedule.at(cluster.clock.now() + MINUTE)
    await leader.node.control.add(a_task("once", schedule=once, dynamic=True, function="report"))
    await reconcile(leader, after=MINUTE)
    await leader.node.scheduler.tick()
    await leader.work()
    for _ in range(3):
        await reconcile(leader, after=timedelta(days=1))
    assert await known(cluster) == {"once"}


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_removal_without_an_answer_is_repeated(cluster: Cluster, trouble: Trouble) -> None:
    kept = POLICY.keep_ended_tasks
    assert kept is not None
    leader = await cluster.process("leader").knows("report").lead()
    once = Schedule.at(cluster.clock.now() + MINUTE)
    await leader.node.control.add(a_task("once", schedule=once, dynamic=True, function="report"))
    await reconcile(leader, after=MINUTE)
    await leader.node.scheduler.tick()
    await leader.work()
    await reconcile(leader)
    leader.link.trouble("remove_ended", trouble)
    with pytest.raises(BackendUnavailable):
        await reconcile(leader, after=kept)
    leader.link.calls.clear()
    for _ in range(2):  # The first pass after an outage only looks.
        await reconcile(leader)
    assert leader.link.calls.count("remove_ended") == 1
    assert await known(cluster) == set()
