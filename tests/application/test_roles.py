"""Processes with some of the duties: which services run, and which runs they claim."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from task_manager_core.domain.duties import Duties, Role
from task_manager_core.domain.events import RunSettled
from task_manager_core.domain.run import AttemptStatus
from task_manager_core.domain.schedule import Schedule
from tests.application.cluster import KEY, SECOND, SOON, Cluster, Process, Steps, a_task, queued, statuses
from tests.waiting import wait_until_async

SECONDLY = a_task(schedule=Schedule.every(SECOND))
SCHEDULE = Duties(roles=frozenset({Role.SCHEDULE}))
EXECUTE = Duties(roles=frozenset({Role.EXECUTE}))
NEITHER = Duties(roles=frozenset())
LEADING = {"campaign", "observe", "depose", "renew", "reap", "commit"}
WORKING = {"claim", "extend", "settle", "release"}


async def started(*processes: Process) -> None:
    for process in processes:
        process.node.start()
        async with asyncio.timeout(SOON.total_seconds()):
            await process.node.ready.wait()


# --- roles ------------------------------------------------------------------------------------------------------------


async def test_a_web_process_schedules_and_a_worker_executes(cluster: Cluster) -> None:
    web = cluster.process("web", duties=SCHEDULE).declares(SECONDLY)
    worker = cluster.process("worker", duties=EXECUTE).declares(SECONDLY)
    await started(web, worker)
    await wait_until_async(lambda: web.node.leads, "the web process leads")
    cluster.clock.advance(SECOND)
    await wait_until_async(lambda: worker.events.of(RunSettled), "the worker executes")
    assert (web.node.alive, worker.node.alive, worker.node.leads) == (True, True, False)
    assert not WORKING & set(web.link.calls)
    assert not LEADING & set(worker.link.calls)
    for process in (web, worker):
        await process.node.stop()
        assert not process.node.alive
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]


async def test_a_process_with_neither_role_still_triggers_and_explains(cluster: Cluster) -> None:
    process = cluster.process("web", duties=NEITHER).declares(SECONDLY)
    await started(process)
    [triggered] = await process.node.control.trigger([KEY], "one")
    assert triggered.key == KEY
    texts = [reason.text for reason in (await process.node.control.explain(KEY)).reasons]
    assert "no living process has the role schedule, so no process leads: nothing is scheduled" in texts
    assert "no living process has the role execute: runs stay queued" in texts
    assert process.node.alive
    await process.node.stop()
    assert not (LEADING | WORKING) & set(process.link.calls)


async def test_a_process_without_execute_hands_over_what_it_leads(cluster: Cluster) -> None:
    first, second = (cluster.process(name, duties=SCHEDULE).declares(SECONDLY) for name in ("first", "second"))
    await started(first)
    await wait_until_async(lambda: first.node.leads, "the first one leads")
    await started(second)
    assert await first.node.drain(SECOND) == ()
    await wait_until_async(lambda: second.node.leads, "the second one leads")
    for process in (first, second):
        await process.node.stop()


# --- draining ---------------------------------------------------------------------------------------------------------


async def test_a_drain_waits_for_running_runs_and_their_outcomes(cluster: Cluster) -> None:
    steps = Steps()
    process = await queued(cluster, steps)
    await started(process)
    await wait_until_async(lambda: steps.began, "the run executes")
    [left] = await process.node.drain(timedelta(milliseconds=10))
    assert left.run.task == KEY
    assert process.node.leaving
    draining = asyncio.ensure_future(process.node.drain(SOON))
    steps.door.set()
    assert await draining == ()
    assert await statuses(cluster) == [AttemptStatus.SUCCEEDED]
    await process.node.stop()
