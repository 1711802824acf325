"""A worker keeps its claims alive while their attempts execute. Claims can be lost, cancelled and recovered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import ClaimLost, RunReleased, RunSettled, RunStarted
from task_manager_core.domain.identity import NodeId, RunId
from task_manager_core.domain.policy import BatchPolicy, LeadershipPolicy, NodePolicy, Retention, WorkerPolicy
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.ports import Cancelling, DefinitionWrite
from task_manager_core.testing import ManualClock
from task_manager_memory import MemoryStore
from tests.application.cluster import (
    KEY,
    POLICY,
    Cluster,
    Process,
    Steps,
    Trouble,
    a_task,
    live,
    queued,
    reap,
    started,
    statuses,
)
from tests.waiting import wait_until_async

BATCHES = BatchPolicy()

# --- heartbeats ------------------------------------------------------------------------------------------------------


async def test_one_beat_keeps_every_claim_alive(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps(), runs=2)
    await started(process)
    process.link.calls.clear()
    for _ in range(4):
        cluster.clock.advance(POLICY.worker.heartbeat)
        assert await process.node.worker.beat() == 3.0
    assert process.link.calls == ["extend"] * 4
    steps.door.set()
    await process.ended()
    await process.node.worker.settle()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED] * 2
    process.link.calls.clear()
    await process.node.worker.beat()
    assert process.link.calls == []


async def test_a_finished_attempt_keeps_its_claim_until_it_is_settled(cluster: Cluster) -> None:
    process = await queued(cluster, lambda: None)
    await process.node.worker.claim()
    await process.ended()
    for _ in range(4):
        cluster.clock.advance(POLICY.worker.heartbeat)
        await process.node.worker.beat()
    await process.node.worker.settle()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


@pytest.mark.parametrize("steps", [Steps, lambda: Steps(swallow=True), lambda: Steps(error=ValueError("oh"))])
async def test_an_attempt_whose_claim_is_lost_is_interrupted_and_writes_nothing(
    cluster: Cluster, steps: Callable[[], Steps]
) -> None:
    process = await queued(cluster, call := steps())
    await started(process)
    await reap(cluster)
    await process.node.worker.beat()
    await process.ended()
    assert (call.interrupted, process.events.one(ClaimLost).claim.attempt) == (1, 1)
    assert await process.node.worker.settle() is None
    assert await statuses(cluster) == [AttemptStatus.LOST]
    assert [(run.state, run.attempt, run.losses) for run in await live(cluster)] == [(RunState.QUEUED, 2, 1)]


async def test_an_outcome_without_a_claim_changes_nothing(cluster: Cluster) -> None:
    process = await queued(cluster, lambda: None)
    await process.node.worker.claim()
    await process.ended()
    await reap(cluster)
    await process.node.worker.settle()
    assert process.events.one(ClaimLost).claim.attempt == 1
    assert process.events.of(RunSettled) == []
    assert await statuses(cluster) == [AttemptStatus.LOST]


async def test_a_run_that_is_claimed_again_while_its_lost_attempt_executes_is_another_attempt(cluster: Cluster) -> None:
    """The worker missed its heartbeats, and the leader reaped the run. The same worker claims the run before it notices
    the loss, and learns of the loss from the new claim."""
    process = await queued(cluster, steps := Steps())
    await started(process)
    await reap(cluster)
    await started(process)
    assert steps.began == 2
    await wait_until_async(lambda: process.node.worker.running == 1, "the lost attempt has ended")
    assert (steps.interrupted, process.events.one(ClaimLost).claim.attempt) == (1, 1)
    steps.door.set()
    await process.ended()
    await process.node.worker.settle()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED, AttemptStatus.LOST]


# --- cancelling ------------------------------------------------------------------------------------------------------


async def cancel(process: Process) -> Cancelling:
    run = process.events.of(RunStarted)[-1].claim.run.id
    (answer,) = await process.node.control.cancel([(KEY, run)])
    return answer


@pytest.mark.parametrize("steps", [Steps, lambda: Steps(swallow=True), lambda: Steps(error=ValueError("oh"))])
async def test_a_cancelled_run_ends_as_cancelled_whatever_its_task_does(
    cluster: Cluster, steps: Callable[[], Steps]
) -> None:
    """A task that raises its own error when it is interrupted must not be retried for ever."""
    process = await queued(cluster, steps())
    await started(process)
    assert await cancel(process) is Cancelling.REQUESTED
    await process.node.worker.beat()
    await process.ended()
    await process.node.worker.settle()
    assert (await statuses(cluster), await live(cluster)) == ([AttemptStatus.CANCELLED], [])


async def test_a_cancelled_thread_ends_cancelled_when_it_returns(cluster: Cluster) -> None:
    def call(context: RunContext) -> None:
        assert context.cancelled.wait(10)

    process = await queued(cluster, call)
    await started(process)
    await cancel(process)
    await process.node.worker.beat()
    await process.ended()
    await process.node.worker.settle()
    assert await statuses(cluster) == [AttemptStatus.CANCELLED]


async def test_a_task_that_ended_before_it_was_cancelled_has_its_own_outcome(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps())
    await started(process)
    await cancel(process)
    steps.door.set()
    process.link.between("extend", lambda: asyncio.sleep(0))
    await process.node.worker.beat()
    await process.ended()
    await process.node.worker.settle()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


async def test_a_queued_run_is_cancelled_without_a_worker(cluster: Cluster) -> None:
    process = await queued(cluster, lambda: None)
    run = (await live(cluster))[0].run
    assert await process.node.control.cancel([(KEY, run), (KEY, RunId("no"))]) == (
        Cancelling.CANCELLED,
        Cancelling.NOT_LIVE,
    )
    await process.work()
    assert await statuses(cluster) == [AttemptStatus.CANCELLED]


# --- a store that does not answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_settlement_is_repeated_without_a_second_effect_and_without_a_lost_claim(
    cluster: Cluster, trouble: Trouble
) -> None:
    process = await queued(cluster, lambda: None, runs=2)
    await process.node.worker.claim()
    await process.ended()
    process.link.trouble("settle", trouble, trouble)
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await process.node.worker.settle()
    assert await process.node.worker.settle() == 0.0
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED] * 2
    assert (len(process.events.of(RunSettled)), process.events.of(ClaimLost)) == (2, [])
    assert await process.node.worker.settle() is None


async def test_a_settlement_that_was_interrupted_by_the_stop_is_no_lost_claim_when_repeated(cluster: Cluster) -> None:
    process = await queued(cluster, lambda: None)
    await process.node.worker.claim()
    await process.ended()
    process.link.between("settle", asyncio.Event().wait)
    settling = asyncio.ensure_future(process.node.worker.settle())
    await asyncio.sleep(0)
    assert await live(cluster) == []
    settling.cancel()
    await asyncio.wait({settling})
    await process.node.worker.flush()
    assert process.events.one(RunSettled).settlement.claim.attempt == 1
    assert process.events.of(ClaimLost) == []


async def test_claims_whose_reply_was_lost_are_asked_for_and_executed(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps(), runs=2)
    process.link.trouble("claim", Trouble.LOST_REPLY)
    with pytest.raises(BackendUnavailable):
        await process.node.worker.claim()
    assert process.node.worker.running == 0
    await started(process)
    assert (steps.began, process.node.worker.running) == (2, 2)
    steps.door.set()
    await process.ended()
    await process.node.worker.settle()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED] * 2


async def test_a_recovered_claim_that_the_worker_knows_is_not_started_again(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps())
    await started(process)
    process.link.trouble("claim", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await process.node.worker.claim()
    await started(process)
    assert steps.began == 1
    steps.door.set()
    await process.ended()


async def test_a_claim_that_expired_is_not_started_when_it_is_given_again(cluster: Cluster) -> None:
    """Another worker may start the run at any moment, and this worker may already have interrupted its lost attempt."""
    process = await queued(cluster, steps := Steps())
    await started(process)
    process.link.trouble("claim", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await process.node.worker.claim()
    cluster.clock.advance(POLICY.worker.claim_ttl)
    await process.node.worker.beat()
    await wait_until_async(lambda: process.node.worker.running == 0, "the lost attempt has ended")
    await process.node.worker.claim()
    assert (steps.began, process.node.worker.running) == (1, 0)
    assert [run.attempt for run in await live(cluster)] == [1]


@pytest.mark.parametrize("executes", [True, False])
async def test_a_claim_that_a_store_gives_again_after_it_was_set_back_is_not_started_again(
    cluster: Cluster, executes: bool
) -> None:
    process = await queued(cluster, steps := Steps())
    await started(process)
    before = cluster.store.copy_state()
    if not executes:
        steps.door.set()
        await process.ended()
    cluster.store.restore_state(before)
    process.link.trouble("claim", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await process.node.worker.claim()
    await process.node.worker.claim()
    assert (steps.began, process.node.worker.running) == (1, int(executes))
    steps.door.set()
    await process.ended()
    await process.node.worker.settle()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]
    assert not await live(cluster)


@pytest.mark.parametrize("executes", [True, False])
async def test_a_run_whose_claim_a_store_has_lost_is_started_again_with_another_token(
    cluster: Cluster, executes: bool
) -> None:
    process = await queued(cluster, steps := Steps())
    before = cluster.store.copy_state()
    await started(process)
    if not executes:
        steps.door.set()
        await process.ended()
    cluster.store.restore_state(before)
    await process.node.worker.claim()
    await wait_until_async(lambda: steps.began == 2, "the new attempt has begun")
    steps.door.set()
    await process.ended()
    await process.node.worker.settle()
    tokens = [event.claim.token for event in process.events.of(RunStarted)]
    assert tokens == sorted(set(tokens))
    assert (len(tokens), steps.interrupted) == (2, int(executes))
    assert process.events.one(ClaimLost).claim.token == tokens[0]
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]
    assert not await live(cluster)


async def test_a_run_that_could_not_be_released_is_released_with_the_next_claim(cluster: Cluster) -> None:
    await queued(cluster, lambda: None)
    other = cluster.process("other").knows("other")
    other.link.trouble("release", Trouble.LOST_REQUEST)
    with pytest.raises(BackendUnavailable):
        await other.node.worker.claim()
    assert [run.state for run in await live(cluster)] == [RunState.RUNNING]
    await other.node.worker.claim()
    assert [run.state for run in await live(cluster)] == [RunState.WAITING]
    assert len(other.events.of(RunReleased)) == 1


async def test_a_worker_that_cannot_settle_stops_claiming_before_it_fills_its_memory(cluster: Cluster) -> None:
    worker = WorkerPolicy(concurrency=2 * BATCHES.settlements + 1, wait=timedelta(milliseconds=1))
    policy = NodePolicy(leadership=LeadershipPolicy(), worker=worker)

    async def call() -> None:
        """Ends at once."""

    process = await queued(cluster, call, runs=2 * BATCHES.settlements + 1, policy=policy)
    for _ in range(2):  # It claims for half of its places at a time.
        await process.node.worker.claim()
        await process.ended()
    assert await process.node.worker.claim() is None
    await process.node.worker.settle()
    assert await process.node.worker.claim() == 0.0
    await process.node.worker.flush()
    assert len(process.events.of(RunSettled)) == 2 * BATCHES.settlements + 1


# --- the store in memory, with a clock that advances at each reading ------------------------------------------------


class PassingClock(ManualClock):
    """Each reading takes a millisecond."""

    def now(self) -> datetime:
        self.advance(timedelta(milliseconds=1))
        return super().now()

    def monotonic(self) -> float:
        self.advance(timedelta(milliseconds=1))
        return super().monotonic()


@pytest.mark.parametrize("pause", range(1, 12))
async def test_a_run_that_falls_due_while_a_claim_begins_to_wait_does_not_wait_with_it(pause: int) -> None:
    worker = NodeId("worker")
    async with MemoryStore().open(clock=PassingClock(), retention=Retention()) as store:
        await store.catalogue.put([DefinitionWrite(definition=a_task(), expected=0, replan=True)])
        await store.queue.enqueue([a_task().run_of_request("r", 1)])
        claims = await store.queue.claim(worker, 1, timedelta(0))
        await store.queue.release(claims, timedelta(milliseconds=pause), started=False)
        async with asyncio.timeout(5):
            assert len(await store.queue.claim(worker, 1, timedelta(hours=1))) == 1
