"""One process from its start to its end.

The tour: a process declares a task, leads, dispatches a due slot, executes its run and settles it. The other files of
this folder test each service alone. Here the loops run in real time, and the test moves the clock of the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from task_manager_core.application import node as node_module
from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.events import (
    RunReleased,
    RunSettled,
    RunStarted,
    SlotsDecided,
    TermEnded,
    TermWon,
    ValueSetAside,
)
from task_manager_core.domain.events import TickFailed as Failed
from task_manager_core.domain.leadership import LeadershipTransition
from task_manager_core.domain.policy import RetryPolicy
from task_manager_core.domain.run import AttemptStatus, RunState
from task_manager_core.domain.schedule import Schedule
from tests.application.cluster import (
    KEY,
    NOON,
    POLICY,
    SECOND,
    SOON,
    Cluster,
    Process,
    Steps,
    Trouble,
    a_task,
    live,
    queued,
    started,
    statuses,
)
from tests.waiting import wait_until_async

SECONDLY = a_task(schedule=Schedule.every(SECOND))
IMPATIENT = replace(POLICY, shutdown_timeout=timedelta(0))


@asynccontextmanager
async def alive(*processes: Process) -> AsyncGenerator[None]:
    """These processes run until the end of the block, unless the test stops them before."""
    for process in processes:
        process.node.start()
    try:
        for process in processes:
            async with asyncio.timeout(SOON.total_seconds()):
                await process.node.ready.wait()
        await wait_until_async(lambda: any(process.node.leads for process in processes), "one process leads")
        yield
    finally:
        for process in processes:
            process.link.away = False
            await process.node.stop()


async def test_the_tour(cluster: Cluster) -> None:
    """The test calls every tick; no loop runs."""
    seen: list[str] = []
    process = cluster.process().declares(SECONDLY, lambda: seen.append("ran"))
    node = process.node
    await node.registrar.tick()  # writes the task, and plans its first slot
    await node.elector.tick()  # wins the term
    cluster.clock.advance(SECOND)
    await node.scheduler.tick()  # dispatches the slot that has fallen due
    await node.worker.claim()  # takes the run, and starts it
    await process.ended()
    await node.worker.settle()  # writes the outcome
    assert (seen, await statuses(cluster)) == (["ran"], [AttemptStatus.SUCCEEDED])
    (won, decided, run, settled) = [event for event in process.events.events if "Catalogue" not in type(event).__name__]
    assert isinstance(won, TermWon)
    assert isinstance(decided, SlotsDecided)
    assert isinstance(run, RunStarted)
    assert isinstance(settled, RunSettled)
    assert settled.settlement.claim.run.slot == NOON + SECOND


# --- running ----------------------------------------------------------------------------------------------------------


async def test_the_loops_of_a_node_do_the_same_without_the_test(cluster: Cluster) -> None:
    process = cluster.process().declares(SECONDLY)
    async with alive(process):
        assert process.node.alive
        for count in (1, 2):
            cluster.clock.advance(SECOND)
            await wait_until_async(lambda: process.events.of(RunSettled)[count - 1 :], f"{count} runs")  # noqa: B023
    assert not process.node.alive
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED] * 2


async def test_of_several_nodes_one_leads_and_all_work(cluster: Cluster) -> None:
    steps = Steps()
    processes = [cluster.process(name).declares(SECONDLY, steps) for name in "abc"]
    async with alive(*processes):
        assert sum(process.node.leads for process in processes) == 1
        cluster.clock.advance(SECOND)
        await processes[0].node.control.trigger([KEY], "one")
        await processes[0].node.control.trigger([KEY], "two")
        await wait_until_async(lambda: steps.began == 3, "three runs")
        steps.door.set()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED] * 3


async def test_the_follower_takes_over_as_soon_as_the_leader_has_resigned(cluster: Cluster) -> None:
    """The notifier ends its wait of several seconds."""
    processes = [cluster.process(name).declares(SECONDLY) for name in ("first", "second")]
    async with alive(*processes):
        leader, follower = sorted(processes, key=lambda process: not process.node.leads)
        await leader.node.stop()
        assert leader.events.one(TermEnded).transition is LeadershipTransition.RESIGNED
        await wait_until_async(lambda: follower.node.leads, "the follower leads", timeout=2.0)
        cluster.clock.advance(SECOND)
        await wait_until_async(lambda: follower.events.of(RunSettled), "its first run")


async def test_a_node_learns_the_task_of_another_node_and_a_cancel_reaches_the_worker_at_once(cluster: Cluster) -> None:
    steps = Steps()
    api, worker = cluster.process("api").knows("report", steps), cluster.process("worker").knows("report", steps)
    api.node.worker.accepting = False
    async with alive(api, worker):
        await api.node.control.add(a_task(dynamic=True, function="report", schedule=Schedule.every(timedelta(hours=1))))
        await wait_until_async(lambda: worker.node.definitions.get(KEY), "the worker knows the task", timeout=2.0)
        await api.node.control.trigger([KEY], "r")
        await wait_until_async(lambda: worker.events.of(RunStarted), "the run has started")
        await api.node.control.cancel([(KEY, worker.events.one(RunStarted).claim.run.id)])
        await wait_until_async(lambda: worker.events.of(RunSettled), "the run is cancelled", timeout=2.0)
    assert await statuses(cluster) == [AttemptStatus.CANCELLED]


async def test_a_leader_that_meets_an_unknown_version_learns_it_without_waiting_for_its_next_poll(
    cluster: Cluster,
) -> None:
    patient = replace(POLICY, refresh_interval=timedelta(hours=1))
    leader = cluster.process("leader", patient).declares(SECONDLY)
    leader.link.hold("wait")
    async with alive(leader):
        await cluster.process("new").declares(replace(SECONDLY, timeout=SECOND)).node.registrar.tick()
        cluster.clock.advance(SECOND)
        await wait_until_async(lambda: leader.events.of(SlotsDecided), "the slot is dispatched")


async def test_a_leader_that_rests_dispatches_a_task_that_another_node_adds_when_it_is_due(cluster: Cluster) -> None:
    """The change wakes the scheduler. By itself it would rest for longer than this test lasts."""
    leader = cluster.process("leader")
    async with alive(leader):
        await wait_until_async(lambda: leader.link.calls.count("agenda") == 1, "the leader rests")
        await cluster.process("new").declares(SECONDLY).node.registrar.tick()
        await wait_until_async(lambda: leader.link.calls.count("agenda") == 2, "it reads the agenda", timeout=2.0)
        cluster.clock.advance(SECOND)
        await wait_until_async(lambda: leader.events.of(SlotsDecided), "the slot is dispatched", timeout=2.0)


async def test_a_leader_that_rests_looks_at_once_when_a_service_has_reached_the_store_again(cluster: Cluster) -> None:
    """A failover may have lost the last decisions. By itself the scheduler would rest for longer than this test
    lasts."""
    leader = cluster.process("leader")
    async with alive(leader):
        await wait_until_async(lambda: leader.link.calls.count("agenda") == 1, "the leader rests")
        leader.link.trouble("load", Trouble.LOST_REQUEST)
        await wait_until_async(lambda: leader.link.calls.count("agenda") == 2, "it reads the agenda", timeout=2.0)


async def test_a_wait_for_the_notifier_that_ends_without_a_notification_loads_no_definitions(cluster: Cluster) -> None:
    """A longer `refresh_interval` would have no effect otherwise."""
    patient = replace(POLICY, refresh_interval=timedelta(hours=1), notifier_wait=timedelta(milliseconds=1))
    process = cluster.process("patient", patient)

    async def in_vain() -> None:
        cluster.clock.advance(2 * patient.notifier_wait)  # a sum of milliseconds as floats may be too short

    async with alive(process):
        await wait_until_async(process.node.ready.is_set, "the first reading")
        for _ in range(5_000):  # more waits than end before the test does
            process.link.between("wait", in_vain)
        await _more_waits(process, 20)  # until then the start of the node may notify it
        loads = process.link.calls.count("load")
        await _more_waits(process, 30)
        assert process.link.calls.count("load") == loads
        await cluster.process("new").declares(SECONDLY).node.registrar.tick()
        await wait_until_async(lambda: process.node.definitions.get(KEY), "the definition is known")


async def _more_waits(process: Process, count: int) -> None:
    waits = process.link.calls.count("wait")
    await wait_until_async(lambda: process.link.calls.count("wait") >= waits + count, "the waits")


async def test_a_node_survives_an_outage_of_its_store(cluster: Cluster) -> None:
    process = cluster.process().declares(SECONDLY)
    async with alive(process):
        process.link.away = True
        cluster.clock.advance(SECOND)
        await wait_until_async(
            lambda: {failed.service for failed in process.events.of(Failed)} >= {"scheduler", "claims"}, "the outage"
        )
        process.link.away = False
        await wait_until_async(lambda: process.events.of(RunSettled), "the run")
        assert process.node.alive


# --- leaving ---------------------------------------------------------------------------------------------------------


async def test_a_node_that_stops_resigns_then_claims_no_more_then_lets_tasks_end_then_departs(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps())
    async with alive(process):
        await wait_until_async(lambda: steps.began == 1, "the run has started")
        process.link.calls.clear()
        stopping = asyncio.ensure_future(process.node.stop())
        await wait_until_async(lambda: "resign" in process.link.calls, "the resignation")
        resigned = process.link.calls.index("resign")
        await process.node.control.trigger([KEY], "too late for this process")
        assert not {"commit", "reap", "campaign"} & set(process.link.calls[resigned:])
        assert not stopping.done()
        steps.door.set()
        await stopping
        assert process.link.calls[-1] == "depart"
    assert (steps.began, steps.interrupted, await statuses(cluster)) == (1, 0, [AttemptStatus.SUCCEEDED])
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]
    assert (await cluster.backend.history.snapshot()).nodes == ()


async def test_a_node_that_leaves_resigns_and_claims_no_more_and_keeps_its_attempts_until_it_is_stopped(
    cluster: Cluster,
) -> None:
    process = await queued(cluster, steps := Steps())
    async with alive(process):
        await wait_until_async(lambda: steps.began == 1, "the run has started")
        for _ in range(2):
            process.node.leave()
        await wait_until_async(lambda: process.events.of(TermEnded), "the resignation")
        assert (process.node.leaving, process.node.leads) == (True, False)
        process.link.calls.clear()
        await process.node.control.trigger([KEY], "too late for this process")
        for _ in range(2):
            # Without the first heartbeat the claim would have expired before the second.
            cluster.clock.advance(POLICY.worker.claim_ttl / 2)
            await process.node.worker.beat()
        assert not {"commit", "reap", "campaign", "renew"} & set(process.link.calls)
        steps.door.set()
        await wait_until_async(lambda: process.events.of(RunSettled), "it is settled before the stop")
        await process.node.stop()
        assert process.link.calls[-1] == "depart"
    assert (steps.began, steps.interrupted, await statuses(cluster)) == (1, 0, [AttemptStatus.SUCCEEDED])
    assert [run.state for run in await live(cluster)] == [RunState.QUEUED]


async def test_a_node_that_leaves_before_it_starts_begins_nothing(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps())
    process.link.calls.clear()
    process.node.leave()
    process.node.start()
    async with asyncio.timeout(SOON.total_seconds()):
        await process.node.ready.wait()
        await process.node.stop()
    assert not {"campaign", "agenda", "reap", "claim"} & set(process.link.calls)
    assert steps.began == 0


async def test_runs_that_execute_after_the_timeout_are_released_and_lose_no_retry(cluster: Cluster) -> None:
    steps = Steps()
    process = await queued(cluster, steps, a_task(retry=RetryPolicy(max_retries=0)), policy=IMPATIENT)
    async with alive(process):
        await wait_until_async(lambda: steps.began == 1, "the run has started")
        await process.node.stop()
        assert process.events.one(RunReleased).reason == "shutting down"
        assert [(run.state, run.attempt, run.failures) for run in await live(cluster)] == [(RunState.QUEUED, 2, 0)]
    other = cluster.process("other").declares(a_task())
    await other.work()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


async def test_a_forced_stop_releases_runs_like_an_ordinary_stop(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps())
    async with alive(process):
        await wait_until_async(lambda: steps.began == 1, "the run has started")
        stopping = asyncio.ensure_future(process.node.stop())
        await wait_until_async(lambda: "resign" in process.link.calls, "the resignation")
        process.node.force_stop()
        async with asyncio.timeout(SOON.total_seconds()):
            await stopping
    assert [(run.state, run.failures) for run in await live(cluster)] == [(RunState.QUEUED, 0)]


async def test_a_store_that_is_away_does_not_keep_a_process_from_ending(cluster: Cluster) -> None:
    process = await queued(cluster, steps := Steps(), policy=IMPATIENT)
    await process.lead()
    await started(process)
    process.link.away = True
    async with asyncio.timeout(SOON.total_seconds()):
        await process.node.stop()
    assert [failed.service for failed in process.events.of(Failed)] == ["resign", "release", "depart"]
    assert (steps.interrupted, process.node.leads) == (1, False)


async def test_a_store_that_never_answers_is_not_waited_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("STOP_STEP_SECONDS", "COURTESY_SECONDS"):
        monkeypatch.setattr(node_module, bound, 0.05)
    process = await queued(cluster, lambda: None)
    await process.lead()
    await process.node.worker.claim()
    await process.ended()
    process.link.hold("resign", "settle", "depart")
    async with asyncio.timeout(SOON.total_seconds()):
        await process.node.stop()
    failed = process.events.of(Failed)
    assert [one.service for one in failed] == ["resign", "flush", "depart"]
    assert {type(one.error) for one in failed} == {TimeoutError}


async def test_a_loop_that_waits_for_the_store_is_cancelled_at_a_stop(cluster: Cluster) -> None:
    process = cluster.process().declares(SECONDLY)
    async with alive(process):
        process.link.hold("wait", "claim")
        calls: Callable[[], int] = lambda: process.link.calls.count("claim")  # noqa: E731 - asked twice
        seen = calls()
        await wait_until_async(lambda: calls() > seen, "a claim that hangs")
        async with asyncio.timeout(SOON.total_seconds()):
            await process.node.stop()
        assert not process.node.alive


async def test_a_node_that_never_started_can_be_stopped(cluster: Cluster) -> None:
    process = cluster.process()
    assert not process.node.alive
    await process.node.stop()
    assert process.link.calls == ["depart"]


async def test_values_that_the_store_set_aside_are_reported_even_while_a_pass_fails(cluster: Cluster) -> None:
    errors = [[BackendCorrupt("a presence", "junk")], [BackendCorrupt("a run", "junk")]]
    backend = replace(cluster.backend, unreadable=lambda: errors.pop(0) if errors else ())
    process = Cluster(backend, cluster.store, cluster.clock).process()
    process.link.trouble("announce", Trouble.LOST_REQUEST)
    async with alive(process):
        await wait_until_async(lambda: len(process.events.of(ValueSetAside)) == 2, "both are reported")
    assert [event.error.where for event in process.events.of(ValueSetAside)] == ["a presence", "a run"]
