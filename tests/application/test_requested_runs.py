"""What the store shows of a run that code has asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from task_manager_core.application.newest_lines import LINES_READ
from task_manager_core.application.requested_runs import RunOptions
from task_manager_core.domain.errors import RunNotFound, TaskNotFound
from task_manager_core.domain.identity import RunId
from task_manager_core.domain.policy import Priority, RetryPolicy
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.domain.schedule import Schedule
from tests.application.cluster import KEY, MINUTE, SECOND, Cluster, a_task, live

ON_REQUEST = Schedule(rules=())
PATIENT = RetryPolicy(initial=MINUTE, maximum=MINUTE)


def failing() -> None:
    raise ValueError


async def test_a_run_is_followed_from_the_queue_to_its_end(cluster: Cluster) -> None:
    process = await cluster.process().declares(a_task(schedule=ON_REQUEST)).lead()
    control = process.node.control
    run = await control.requested_runs.queue(control.definition(KEY), "r")
    assert (await control.requested_runs.status(KEY, run)).state is RunState.QUEUED
    await process.work()
    ended = await control.requested_runs.status(KEY, run)
    assert ended.state is RunState.SUCCEEDED
    assert ended.record is not None
    assert ended.record.run == run
    with pytest.raises(RunNotFound):
        await control.requested_runs.status(KEY, RunId("another"))


async def test_a_run_that_was_cancelled_while_it_waited_for_its_retry_is_cancelled(cluster: Cluster) -> None:
    process = await cluster.process().declares(a_task(schedule=ON_REQUEST, retry=PATIENT), failing).lead()
    control = process.node.control
    run = await control.requested_runs.queue(control.definition(KEY), "r")
    await process.work()
    assert (await control.requested_runs.status(KEY, run)).state is RunState.WAITING
    await control.cancel([(KEY, run)])
    assert (await control.requested_runs.status(KEY, run)).state is RunState.CANCELLED


async def test_an_end_is_found_behind_newer_lines(cluster: Cluster) -> None:
    process = await cluster.process().declares(a_task(schedule=ON_REQUEST)).lead()
    control = process.node.control
    first = await control.requested_runs.queue(control.definition(KEY), "first")
    await process.work()
    for number in range(LINES_READ[0] + 5):
        run = await control.requested_runs.queue(control.definition(KEY), str(number))
        await control.cancel([(KEY, run)])
    process.link.calls.clear()
    assert (await control.requested_runs.status(KEY, first)).state is RunState.SUCCEEDED
    assert process.link.calls == ["snapshot", "read", "read"]


async def test_options_are_of_one_run_and_ask_the_store_for_its_time_only_if_they_need_it(cluster: Cluster) -> None:
    process = await cluster.process().declares(a_task(schedule=ON_REQUEST)).lead()
    control = process.node.control
    process.link.calls.clear()
    plain = await control.requested_runs.queue(
        control.definition(KEY), "plain", options=RunOptions(priority=Priority.HIGH)
    )
    assert process.link.calls == ["enqueue"]
    expired = await control.requested_runs.queue(
        control.definition(KEY), "late", options=RunOptions(expires=5 * SECOND)
    )
    cluster.clock.advance(6 * SECOND)
    await process.work()
    assert (await control.requested_runs.status(KEY, expired)).state is RunState.EXPIRED
    assert (await control.requested_runs.status(KEY, plain)).state is RunState.SUCCEEDED
    assert {line.status for line in await control.history(KEY, 9)} == {AttemptStatus.SUCCEEDED, AttemptStatus.EXPIRED}


async def test_a_request_ends_no_backoff(cluster: Cluster) -> None:
    process = await cluster.process().declares(a_task(schedule=ON_REQUEST, retry=PATIENT), failing).lead()
    control = process.node.control
    first = await control.requested_runs.queue(control.definition(KEY), "r")
    await process.work()
    await control.requested_runs.queue(control.definition(KEY), "s")
    states = {run.run: run.state for run in await live(cluster)}
    assert states[first] is RunState.WAITING


async def test_a_task_that_was_removed_meanwhile_is_not_found(cluster: Cluster) -> None:
    process = await cluster.process().knows("report").lead()
    control = process.node.control
    stored = await control.add(replace(a_task(schedule=ON_REQUEST, dynamic=True), function="report"))
    await control.remove(KEY)
    with pytest.raises(TaskNotFound):
        await control.requested_runs.queue(stored, "r")
