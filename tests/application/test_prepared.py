"""The leader prepares its decisions about a burst before its instant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from task_manager_core.application.prepared import LEAD, TIMER
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import SlotsDecided
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.policy import BatchPolicy, NodePolicy, Overlap
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from tests.application.cluster import MINUTE, NOON, POLICY, SECOND, Cluster, Process, Trouble, a_task

BATCH, TASKS = 4, 30
BURST = NodePolicy(
    leadership=POLICY.leadership,
    worker=POLICY.worker,
    batches=BatchPolicy(tasks_per_commit=BATCH),
    poll_interval=POLICY.poll_interval,
)
LATER = timedelta(seconds=TIMER)
FIRST = TaskKey("group", "task-0")


def burst_task(number: int, overlap: Overlap = Overlap.ALLOW) -> TaskDefinition:
    return a_task(f"task-{number}", schedule=Schedule.every(MINUTE), overlap=overlap)


async def before_a_burst(cluster: Cluster, tasks: int = TASKS, overlap: Overlap = Overlap.ALLOW) -> Process:
    """A leader that has prepared a burst, one second before its instant."""
    leader = cluster.process("leader", BURST)
    for number in range(tasks):
        leader.declares(burst_task(number, overlap))
    await leader.lead()
    await leader.ensure_leads(after=MINUTE - LEAD - SECOND)
    await leader.node.scheduler.tick()
    await leader.ensure_leads(after=LEAD)
    await leader.node.scheduler.tick()
    leader.link.calls.clear()
    return leader


async def dispatched(cluster: Cluster) -> int:
    return sum(len(view.live) for view in (await cluster.backend.history.snapshot()).tasks)


async def tick_at_the_burst(cluster: Cluster, leader: Process) -> None:
    await leader.ensure_leads(after=SECOND + LATER)
    leader.link.calls.clear()
    await leader.node.scheduler.tick()


async def test_a_burst_is_prepared_before_its_instant_and_committed_without_reading_it(cluster: Cluster) -> None:
    leader = await before_a_burst(cluster)
    await tick_at_the_burst(cluster, leader)
    assert leader.link.calls == ["commit"] * -(-TASKS // BATCH) + ["agenda"]
    assert await dispatched(cluster) == TASKS
    assert {event.decision.slot for event in leader.events.of(SlotsDecided)} == {NOON + MINUTE}


async def test_nothing_is_committed_before_the_instant(cluster: Cluster) -> None:
    leader = await before_a_burst(cluster)
    await leader.ensure_leads(after=SECOND - timedelta(milliseconds=1))
    await leader.node.scheduler.tick()
    assert "commit" not in leader.link.calls
    assert await dispatched(cluster) == 0


async def test_the_decisions_outlive_a_tick_that_comes_too_early(cluster: Cluster) -> None:
    leader = await before_a_burst(cluster)
    await leader.node.scheduler.tick()
    await tick_at_the_burst(cluster, leader)
    assert leader.link.calls[0] == "commit"
    assert await dispatched(cluster) == TASKS


async def test_a_few_tasks_are_not_prepared(cluster: Cluster) -> None:
    leader = await before_a_burst(cluster, tasks=BATCH)
    await tick_at_the_burst(cluster, leader)
    assert leader.link.calls[:2] == ["agenda", "commit"]
    assert await dispatched(cluster) == BATCH


async def _pause(cluster: Cluster) -> None:
    await cluster.backend.dispatch.pause([FIRST])


async def _remove(cluster: Cluster) -> None:
    await cluster.backend.catalogue.remove([FIRST])


@pytest.mark.parametrize("change", [_pause, _remove])
async def test_the_store_refuses_a_prepared_decision_if_its_task_has_changed(
    cluster: Cluster, change: Callable[[Cluster], Awaitable[None]]
) -> None:
    leader = await before_a_burst(cluster)
    await change(cluster)
    await tick_at_the_burst(cluster, leader)
    assert await dispatched(cluster) == TASKS - 1


async def test_a_task_that_was_paused_while_the_leader_prepared_and_resumed_then_runs(cluster: Cluster) -> None:
    leader = cluster.process("leader", BURST)
    for number in range(TASKS):
        leader.declares(burst_task(number))
    await leader.lead()
    await cluster.backend.dispatch.pause([FIRST])
    await leader.ensure_leads(after=MINUTE - SECOND)
    await leader.node.scheduler.tick()
    await cluster.backend.dispatch.resume([FIRST])
    await tick_at_the_burst(cluster, leader)
    await leader.node.scheduler.tick()
    assert await dispatched(cluster) == TASKS
    views = (await cluster.backend.history.snapshot([FIRST])).tasks
    assert SkipReason.PAUSED not in views[0].skipped


async def test_an_exclusive_task_that_runs_is_decided_at_the_instant(cluster: Cluster) -> None:
    leader = cluster.process("leader", BURST)
    for number in range(TASKS):
        leader.declares(burst_task(number, Overlap.SKIP))
    await leader.lead()
    await leader.node.control.trigger([FIRST], "by hand")
    await leader.ensure_leads(after=MINUTE - SECOND)
    await leader.node.scheduler.tick()
    await tick_at_the_burst(cluster, leader)
    await leader.node.scheduler.tick()
    assert await dispatched(cluster) == TASKS
    assert dict((await cluster.backend.history.snapshot([FIRST])).tasks[0].skipped) == {SkipReason.OVERLAP: 1}


async def test_decisions_of_an_older_catalogue_are_made_again(cluster: Cluster) -> None:
    leader = await before_a_burst(cluster)
    leader.declares(a_task("another", schedule=Schedule.every(2 * MINUTE)))
    await leader.node.registrar.tick()
    await tick_at_the_burst(cluster, leader)
    assert leader.link.calls[:2] == ["anticipate", "agenda"]
    while await leader.node.scheduler.tick() == 0.0:
        pass
    assert await dispatched(cluster) == TASKS


async def test_decisions_that_come_late_are_made_again(cluster: Cluster) -> None:
    leader = await before_a_burst(cluster)
    await leader.ensure_leads(after=2 * SECOND)
    leader.link.calls.clear()
    await leader.node.scheduler.tick()
    assert leader.link.calls[:2] == ["anticipate", "agenda"]


async def test_a_failed_commit_of_a_burst_is_an_error_and_loses_no_slot(cluster: Cluster) -> None:
    leader = await before_a_burst(cluster)
    leader.link.trouble("commit", Trouble.LOST_REPLY, Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await tick_at_the_burst(cluster, leader)
    while await leader.node.scheduler.tick() == 0.0:
        pass
    assert await dispatched(cluster) == TASKS


async def test_a_node_that_lost_its_term_commits_no_prepared_decision(cluster: Cluster) -> None:
    leader = await before_a_burst(cluster)
    await leader.node.elector.resign()
    cluster.clock.advance(SECOND + LATER)
    assert await leader.node.scheduler.tick() is None
    await leader.ensure_leads()
    leader.link.calls.clear()
    await leader.node.scheduler.tick()
    assert leader.link.calls[0] == "agenda"
