"""A worker that leaves claims no more, waits for its attempts, and releases the others. No run loses a retry."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NoReturn

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.domain.events import ClaimLost, RunReleased, RunStarted
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.ports import Cancelling
from tests.application.cluster import KEY, SOON, Cluster, Process, Steps, live, queued, reap, started, statuses

NOW = timedelta(0)


async def left(process: Process, *, grace: float = 1.0) -> None:
    process.node.worker.accepting = False
    await process.node.worker.release_running(grace)


@pytest.mark.parametrize("steps", [Steps, lambda: Steps(swallow=True), lambda: Steps(error=ValueError("oh"))])
async def test_runs_that_execute_are_released_at_once_and_have_not_failed(
    cluster: Cluster, steps: Callable[[], Steps]
) -> None:
    process = await queued(cluster, call := steps())
    await started(process)
    await left(process)
    assert (call.interrupted, process.node.worker.running) == (1, 0)
    assert [(run.state, run.attempt, run.failures) for run in await live(cluster)] == [(RunState.QUEUED, 2, 0)]
    assert process.events.one(RunReleased).reason == "shutting down"
    assert await process.node.worker.settle() is None


async def test_a_run_that_the_closing_event_loop_interrupts_is_released_and_has_not_failed(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps())
    before = asyncio.all_tasks()
    await started(process)
    process.node.worker.accepting = False
    (attempt,) = asyncio.all_tasks() - before
    attempt.cancel()
    await asyncio.wait({attempt})
    await asyncio.sleep(0)
    await process.node.worker.release_running()
    assert (steps.interrupted, process.node.worker.running) == (1, 0)
    assert [(run.state, run.attempt, run.failures) for run in await live(cluster)] == [(RunState.QUEUED, 2, 0)]


async def test_a_thread_that_checks_its_context_ends_within_the_grace(cluster: Cluster) -> None:
    ended = threading.Event()

    def call(context: RunContext) -> None:
        assert context.cancelled.wait(10)
        ended.set()

    process = await queued(cluster, call)
    await started(process)
    await left(process, grace=SOON.total_seconds())
    assert ended.is_set()
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]


async def test_the_run_of_a_stuck_thread_is_released_after_the_grace_and_its_later_end_changes_nothing(
    cluster: Cluster,
) -> None:
    door, ended = threading.Event(), threading.Event()

    def call() -> None:
        assert door.wait(10)
        ended.set()

    process = await queued(cluster, call)
    before = asyncio.all_tasks()
    await started(process)
    (attempt,) = asyncio.all_tasks() - before
    await left(process, grace=0.01)
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]
    door.set()
    await asyncio.wait({attempt})
    assert ended.is_set()
    assert await process.node.worker.settle() is None
    assert await statuses(cluster) == []


async def test_a_thread_that_ends_by_itself_within_the_grace_has_its_own_outcome(cluster: Cluster) -> None:
    """The function does not check its context. It has finished its work, so another attempt would only repeat it."""
    door = threading.Event()
    process = await queued(cluster, lambda: door.wait(10) and None)
    await started(process)
    leaving = asyncio.ensure_future(left(process, grace=SOON.total_seconds()))
    await asyncio.sleep(0)
    door.set()
    await leaving
    await process.node.worker.flush()
    assert (await statuses(cluster), await live(cluster)) == ([AttemptStatus.SUCCEEDED], [])


async def test_a_cancelled_run_whose_thread_is_stuck_is_not_executed_again(cluster: Cluster) -> None:
    door = threading.Event()
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    process = await queued(cluster, lambda: door.wait(10) and None)
    before = asyncio.all_tasks()
    await started(process)
    (attempt,) = asyncio.all_tasks() - before
    run = process.events.one(RunStarted).claim.run.id
    assert await process.node.control.cancel([(KEY, run)]) == (Cancelling.REQUESTED,)
    await process.node.worker.beat()
    await left(process, grace=0.01)
    assert (await statuses(cluster), await live(cluster)) == ([AttemptStatus.CANCELLED], [])
    door.set()
    await asyncio.wait({attempt})
    await asyncio.sleep(0)
    assert (await process.node.worker.settle(), unhandled) == (None, [])


async def test_a_worker_that_leaves_claims_nothing_and_releases_the_runs_of_a_late_reply(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps())

    async def leave() -> None:
        process.node.worker.accepting = False

    process.link.between("claim", leave)
    await process.node.worker.claim()
    assert (steps.began, process.events.one(RunReleased).reason) == (0, "shutting down")
    assert [(run.state, run.attempt) for run in await live(cluster)] == [(RunState.QUEUED, 1)]
    process.link.calls.clear()
    assert await process.node.worker.claim() is None
    assert process.link.calls == []


async def test_a_run_that_was_reaped_before_its_release_is_a_lost_claim(cluster: Cluster) -> None:
    process = await queued(cluster, Steps())
    await started(process)
    await reap(cluster)
    await left(process)
    assert (process.events.of(RunReleased), len(process.events.of(ClaimLost))) == ([], 1)


async def test_the_last_settlements_are_written(cluster: Cluster) -> None:
    process = await queued(cluster, lambda: None, runs=2)
    await process.node.worker.claim()
    await process.ended()
    await process.node.worker.flush()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED] * 2


async def drained(process: Process, force_stop: asyncio.Event, timeout: timedelta) -> asyncio.Task[None]:
    draining = asyncio.ensure_future(process.node.worker.drain(force_stop, timeout))
    await asyncio.sleep(0)
    return draining


async def test_draining_waits_for_the_last_attempt_and_no_longer(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps(), runs=2)
    await started(process)
    draining = await drained(process, asyncio.Event(), SOON)
    assert not draining.done()
    steps.door.set()
    await draining
    assert process.node.worker.running == 0
    await process.node.worker.drain(asyncio.Event(), SOON)


@pytest.mark.parametrize("timeout", [SOON, NOW])
async def test_draining_ends_when_a_stop_is_forced_or_with_its_time(cluster: Cluster, timeout: timedelta) -> None:
    process = await queued(cluster, steps := Steps())
    await started(process)
    force_stop = asyncio.Event()
    draining = await drained(process, force_stop, timeout)
    if timeout:
        force_stop.set()
    await draining
    assert process.node.worker.running == 1
    steps.door.set()
    await process.ended()


async def test_a_task_that_fails_during_the_drain_is_settled_as_usual(cluster: Cluster) -> None:
    door = asyncio.Event()

    async def call() -> NoReturn:
        await door.wait()
        raise ValueError("late")

    process = await queued(cluster, call)
    await started(process)
    waiting: Awaitable[None] = await drained(process, asyncio.Event(), SOON)
    door.set()
    await waiting
    await left(process)
    await process.node.worker.flush()
    assert await statuses(cluster) == [AttemptStatus.RETRIED]
    assert process.events.of(RunReleased) == []
