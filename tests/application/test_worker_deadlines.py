"""A run that is claimed too late is not executed. A run that has started once goes on, whatever the time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.application.function import AnyFunction
from task_manager_core.application.requested_runs import RunOptions
from task_manager_core.domain.events import RunReleased, RunSettled, RunStarted
from task_manager_core.domain.policy import Overlap
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.domain.task import TaskDefinition
from tests.application.cluster import KEY, MINUTE, SECOND, Cluster, Process, a_task, live, queued, statuses

URGENT = a_task(start_deadline=SECOND)


async def dispatched(cluster: Cluster, call: AnyFunction, task: TaskDefinition = URGENT) -> Process:
    """A process that has dispatched a slot of the task, on time, and executed nothing."""
    process = await cluster.process().declares(task, call).lead()
    await process.ensure_leads(after=MINUTE)
    assert (await process.node.scheduler.tick()) is not None
    (run,) = await live(cluster)
    assert (run.state, run.slot) == (RunState.QUEUED, cluster.clock.now())
    return process


@pytest.mark.parametrize(
    ("late", "executed"), [(SECOND, True), (SECOND + timedelta(milliseconds=1), False), (5 * SECOND, False)]
)
async def test_a_run_that_is_claimed_after_its_start_deadline_ends_as_expired_and_is_not_executed(
    cluster: Cluster, late: timedelta, executed: bool
) -> None:
    """A busy worker causes this: the scheduler dispatches the slot on time, and its run waits for the worker."""
    calls: list[int] = []
    process = await dispatched(cluster, lambda: calls.append(1))
    cluster.clock.advance(late)
    await process.work()
    (record,) = await cluster.backend.history.read(KEY, 10)
    assert (calls, record.status) == (([1], AttemptStatus.SUCCEEDED) if executed else ([], AttemptStatus.EXPIRED))
    assert (record.attempt, record.started_at, record.failure) == (1, cluster.clock.now(), None)
    assert len(process.events.of(RunStarted)) == executed
    assert process.events.one(RunSettled).settlement.record() == record
    assert (await live(cluster), process.node.worker.running) == ([], 0)


async def test_a_run_that_started_in_time_is_tried_again_after_its_start_deadline(cluster: Cluster) -> None:
    attempts: list[int] = []

    async def call(context: RunContext) -> None:
        attempts.append(context.attempt)
        if context.attempt == 1:
            raise ConnectionError("away")

    process = await dispatched(cluster, call)
    await process.work()
    cluster.clock.advance(MINUTE / 2)
    await process.work()
    assert attempts == [1, 2]
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED, AttemptStatus.RETRIED]


async def test_a_run_that_lost_its_worker_is_executed_after_its_start_deadline(cluster: Cluster) -> None:
    calls: list[int] = []
    process = await dispatched(cluster, lambda: calls.append(1))
    doomed = cluster.process("doomed")
    await doomed.backend.queue.claim(doomed.id, 1, timedelta(0))
    await process.ensure_leads(after=10 * SECOND)
    await process.node.reconciler.tick()
    await process.work()
    assert calls == [1]


async def test_a_run_that_was_released_before_its_start_is_checked_again(cluster: Cluster) -> None:
    process = await dispatched(cluster, lambda: None)
    await cluster.process("older").knows("other").node.worker.claim()
    cluster.clock.advance(2 * SECOND)
    await process.work()
    assert await statuses(cluster) == [AttemptStatus.EXPIRED]


async def test_a_worker_that_does_not_know_the_function_lets_a_late_run_expire_too(cluster: Cluster) -> None:
    await dispatched(cluster, lambda: None)
    cluster.clock.advance(2 * SECOND)
    other = cluster.process("other").knows("other")
    await other.work()
    assert other.events.of(RunReleased) == []
    assert await statuses(cluster) == [AttemptStatus.EXPIRED]


async def test_a_request_has_no_start_deadline(cluster: Cluster) -> None:
    calls: list[int] = []
    process = await queued(cluster, lambda: calls.append(1), URGENT)
    cluster.clock.advance(MINUTE / 2)
    await process.work()
    assert calls == [1]


@pytest.mark.parametrize("late", [SECOND, SECOND + timedelta(milliseconds=1)])
async def test_a_run_that_has_waited_for_longer_than_its_task_allows_expires_also_if_it_was_requested(
    cluster: Cluster, late: timedelta
) -> None:
    """A slot, a trigger, and a request of code: their waits count from the same instant here."""
    calls: list[int] = []
    process = await dispatched(cluster, lambda: calls.append(1), a_task(expires=SECOND))
    control = process.node.control
    await control.trigger([KEY], "trigger")
    await control.requested_runs.queue(control.definition(KEY), "request")
    cluster.clock.advance(late)
    for _ in range(2):  # A worker claims as many runs as it has places.
        await process.work()
    executed = 0 if late > SECOND else 3
    assert len(calls) == executed
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED if executed else AttemptStatus.EXPIRED] * 3


async def test_an_expiry_skips_no_slot_a_late_leader_dispatches_it_and_its_run_expires(cluster: Cluster) -> None:
    calls: list[int] = []
    process = await cluster.process().declares(a_task(expires=SECOND), lambda: calls.append(1)).lead()
    await process.ensure_leads(after=MINUTE + 2 * SECOND)
    await process.node.scheduler.tick()
    await process.work()
    assert (calls, await statuses(cluster)) == ([], [AttemptStatus.EXPIRED])
    assert (await cluster.backend.history.skips(KEY, 9)) == ()


async def test_a_request_has_its_own_expiry_or_that_of_its_task_counted_after_its_delay(cluster: Cluster) -> None:
    calls: list[int] = []
    process = await dispatched(cluster, lambda: calls.append(1), a_task(expires=SECOND))
    await process.work()
    control = process.node.control
    for request, options in (
        ("own", RunOptions(expires=MINUTE / 3)),
        ("in time", RunOptions(start=10 * SECOND)),
        ("late", RunOptions(start=5 * SECOND)),
    ):
        await control.requested_runs.queue(control.definition(KEY), request, options=options)
    cluster.clock.advance(11 * SECOND)
    for _ in range(2):
        await process.work()
    assert sorted(one.value for one in await statuses(cluster)) == ["expired", "succeeded", "succeeded", "succeeded"]
    assert len(calls) == 3


async def test_a_held_run_that_is_queued_too_late_expires_and_the_next_held_run_follows(cluster: Cluster) -> None:
    calls: list[int] = []
    task = a_task(start_deadline=SECOND, overlap=Overlap.BUFFER_ONE)
    process = await dispatched(cluster, lambda: calls.append(1), task)
    await process.ensure_leads(after=MINUTE)
    await process.node.scheduler.tick()
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED, RunState.HELD]
    for _ in range(2):
        cluster.clock.advance(2 * SECOND)
        await process.work()
    assert (calls, await live(cluster)) == ([], [])
    assert await statuses(cluster) == [AttemptStatus.EXPIRED] * 2
