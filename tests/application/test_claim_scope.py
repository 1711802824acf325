"""What a worker claims: its queues, and the tasks that its code knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from task_manager_core.application.claim_scope import EXPIRY_INTERVAL
from task_manager_core.domain.duties import Duties, Role
from task_manager_core.domain.events import RunReleased
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.scope import EVERYTHING, MOST_EXCLUDED
from tests.application.cluster import SECOND, Cluster, a_task, live, queued, statuses

EXECUTE = Duties(roles=frozenset({Role.EXECUTE}))
NEITHER = Duties(roles=frozenset())


async def test_a_worker_claims_the_runs_of_its_queues(cluster: Cluster) -> None:
    heavy = replace(a_task(), queue="heavy")
    new = await queued(cluster, lambda: None, heavy)
    other = cluster.process("other", duties=Duties(queues=frozenset({"default"}))).declares(heavy)
    await other.node.registrar.tick()
    await other.work()
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]
    await new.work()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


async def test_a_worker_leaves_the_runs_that_its_code_does_not_know(cluster: Cluster) -> None:
    new = await queued(cluster, lambda: None)
    old = cluster.process("old").knows("other")
    await old.node.registrar.tick()
    await old.work()
    assert old.events.of(RunReleased) == []
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]
    await new.work()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


async def test_a_process_that_knows_no_function_claims_nothing(cluster: Cluster) -> None:
    await queued(cluster, lambda: None)
    bare = cluster.process("bare")
    assert await bare.node.worker.claim() is None
    assert "claim" not in bare.link.calls


async def test_a_function_that_is_declared_later_is_claimed_at_once(cluster: Cluster) -> None:
    await queued(cluster, lambda: None)
    late = cluster.process("late").knows("other")
    await late.node.registrar.tick()
    await late.work()
    late.declares(a_task())
    await late.work()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


async def test_a_process_that_declares_a_task_claims_runs_of_its_earlier_function(cluster: Cluster) -> None:
    """Another release has renamed the function. The runs that were queued before have the earlier name."""
    old = await queued(cluster, lambda: None, a_task(function="before"))
    new = cluster.process("new").declares(a_task(function="after"))
    await new.node.registrar.tick()
    await old.node.registrar.tick()
    await old.work()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


async def test_a_late_run_that_no_process_knows_still_expires(cluster: Cluster) -> None:
    """Its task has a start deadline. Else such runs would pile up."""
    urgent = a_task(schedule=Schedule.every(SECOND), start_deadline=SECOND)
    scheduling = await cluster.process("leader").declares(urgent).lead()
    old = cluster.process("old").knows("other")
    await old.node.registrar.tick()
    await old.work()
    cluster.clock.advance(SECOND)
    await scheduling.node.scheduler.tick()
    cluster.clock.advance(2 * SECOND)
    await old.work()
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]
    cluster.clock.advance(EXPIRY_INTERVAL)
    await old.work()
    assert await statuses(cluster) == [AttemptStatus.EXPIRED]
    assert old.events.of(RunReleased) == []


async def test_a_worker_excludes_a_bounded_number_of_tasks(cluster: Cluster) -> None:
    """It excludes those that it read last, and one that it meets nevertheless from then on."""
    many = cluster.process("many")
    for number in range(MOST_EXCLUDED + 50):
        many.declares(a_task(f"{number:03}"))
    await many.node.registrar.tick()
    old = cluster.process("old").knows("other")
    await old.node.registrar.tick()
    assert len(old.node.claim_scope.current().without) == MOST_EXCLUDED
    met = next(key for key in many.declarations.declared if key not in old.node.claim_scope.current().without)
    await many.node.control.trigger([met], "one")
    await old.work()
    assert len(old.events.of(RunReleased)) >= 1
    scope = old.node.claim_scope.current()
    assert met in scope.without
    assert len(scope.without) == MOST_EXCLUDED


@pytest.mark.parametrize("duties", [NEITHER, EXECUTE])
async def test_the_scope_of_a_process_without_unknown_tasks(cluster: Cluster, duties: Duties) -> None:
    process = cluster.process(duties=duties).declares(a_task())
    await process.node.registrar.tick()
    assert process.node.claim_scope.current() == EVERYTHING
    await process.node.control.current(TaskKey("group", "task"))
