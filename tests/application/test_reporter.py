"""What an attempt reports reaches the store with the next heartbeat, within bounds, and only under its claim."""

from __future__ import annotations

import asyncio
import logging
import math
import threading

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.identity import RunId
from task_manager_core.domain.progress import LONGEST_TEXT, MOST_LINES, Progress
from tests.application.cluster import KEY, Cluster, Process, a_task
from tests.waiting import wait_until_async

RUN = a_task().run_of_request("once", 1).id


async def triggered(cluster: Cluster, call: object) -> Process:
    process = cluster.process().declares(a_task(), call)  # type: ignore[arg-type]  # a function of a test
    await process.node.registrar.tick()
    await process.node.control.trigger([KEY], "once")
    await process.node.worker.claim()
    return process


async def shown(cluster: Cluster, run: RunId = RUN) -> Progress | None:
    (progress,) = await cluster.backend.history.progress([(KEY, run)])
    return progress


async def test_progress_is_shown_with_the_next_heartbeat_and_ends_with_the_attempt(cluster: Cluster) -> None:
    told, door = asyncio.Event(), asyncio.Event()

    async def call(context: RunContext) -> None:
        context.progress(1, 4, "first")
        context.log("begun")
        told.set()
        await door.wait()

    process = await triggered(cluster, call)
    await told.wait()
    assert await shown(cluster) is None
    await process.node.worker.beat()
    progress = Progress(done=1.0, total=4.0, text="first", lines=("begun",))
    assert await shown(cluster) == progress
    ((live, reported),), count = await process.node.control.live_runs(KEY, 10)
    assert (live.run, reported, count) == (RUN, progress, 1)
    door.set()
    await process.ended()
    await process.node.worker.settle()
    assert await shown(cluster) is None
    assert await process.node.control.live_runs(KEY, 10) == ((), 0)


async def test_a_thread_reports_too(cluster: Cluster) -> None:
    told, door = threading.Event(), threading.Event()

    def call(context: RunContext) -> None:
        context.progress(text="in a thread")
        told.set()
        door.wait(20)

    process = await triggered(cluster, call)
    await wait_until_async(told.is_set, "it has reported")
    await process.node.worker.beat()
    assert await shown(cluster) == Progress(text="in a thread")
    door.set()
    await process.ended()


async def test_a_store_that_refuses_a_report_costs_no_heartbeat(cluster: Cluster) -> None:
    door = asyncio.Event()

    async def call(context: RunContext) -> None:
        context.progress(1)
        await door.wait()

    process = await triggered(cluster, call)
    await asyncio.sleep(0)

    async def refuse(*_: object) -> frozenset[object]:
        raise BackendUnavailable("full")

    process.backend.queue.report = refuse  # type: ignore[method-assign,assignment]  # only this verb fails
    assert await process.node.worker.beat() is not None
    door.set()
    await process.work()


def test_what_is_kept_is_bounded_and_text(caplog: pytest.LogCaptureFixture) -> None:
    context = RunContext.for_test()
    assert context.reported() is None
    with caplog.at_level(logging.INFO):
        for number in range(3 * MOST_LINES):
            context.log(f"{number} " + "x" * 1000)
    assert caplog.records[0].funcName == "test_what_is_kept_is_bounded_and_text"
    context.progress(text="\ud800" + "y" * 1000)
    progress = context.reported()
    assert progress is not None
    assert [line[:3] for line in progress.lines] == [f"{number} " for number in range(2 * MOST_LINES, 3 * MOST_LINES)]
    assert {len(line) for line in (*progress.lines, progress.text or "")} == {LONGEST_TEXT}
    assert (progress.text or "")[:2] == "?y"
    for endless in (math.nan, math.inf):
        with pytest.raises(ValueError, match="total must be a finite number"):
            context.progress(1, endless)
