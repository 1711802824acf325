"""A task remembers its last success and its cursor: read when asked for, written by an accepted success only."""

from __future__ import annotations

import asyncio
import math

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.application.remembering import LARGEST_CURSOR
from task_manager_core.domain.memory import LastSuccess, TaskMemory
from tests.application.cluster import KEY, MINUTE, NOON, SECOND, Cluster, Process, a_task


async def run_once(process: Process, request: str) -> None:
    await process.node.control.trigger([KEY], request)
    await process.work()


async def test_a_task_goes_on_where_its_last_success_ended(cluster: Cluster) -> None:
    seen: list[tuple[object, object]] = []

    async def call(context: RunContext, fails: bool = False) -> None:
        seen.append((await context.previous(), await context.cursor.get(int)))
        context.cursor.set(len(seen))
        assert await context.cursor.get(int) == len(seen)
        if fails:
            raise ValueError("after the cursor was set")

    process = cluster.process().declares(a_task(), call)
    await process.node.registrar.tick()
    await run_once(process, "first")
    cluster.clock.advance(MINUTE)
    await process.node.control.trigger([KEY], "fails", {"fails": True})
    await process.work()
    cluster.clock.advance(MINUTE)
    await run_once(process, "third")
    first = LastSuccess(slot=None, at=NOON)
    assert seen[:3] == [(None, None), (first, 1), (first, 1)]


async def test_a_success_whose_claim_is_lost_writes_nothing(cluster: Cluster) -> None:
    async def call(context: RunContext) -> None:
        context.cursor.set("mine")

    process = cluster.process().declares(a_task(), call)
    await process.node.registrar.tick()
    await process.node.control.trigger([KEY], "once")
    await process.node.worker.claim()
    await process.ended()
    cluster.clock.advance(MINUTE)
    other = await cluster.process().lead()
    term = other.node.elector.trusted()
    assert term is not None
    assert await cluster.backend.queue.reap(term, SECOND, 10)
    await process.node.worker.settle()
    assert await cluster.backend.history.memory(KEY) == TaskMemory()


async def test_a_thread_waits_for_the_store(cluster: Cluster) -> None:
    seen: list[object] = []

    def call(context: RunContext) -> None:
        seen.append((context.previous().wait(), context.cursor.get(dict).wait()))
        context.cursor.set({"page": 2})

    process = cluster.process().declares(a_task(), call)
    await process.node.registrar.tick()
    for request in ("first", "second"):
        await run_once(process, request)
    assert seen == [(None, None), (LastSuccess(slot=None, at=NOON), {"page": 2})]


async def test_a_function_without_a_context_is_not_remembered(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task())
    await process.node.registrar.tick()
    await run_once(process, "once")
    assert await cluster.backend.history.memory(KEY) == TaskMemory()


async def test_a_wait_in_the_event_loop_is_refused(cluster: Cluster) -> None:
    errors: list[RuntimeError] = []

    async def call(context: RunContext) -> None:
        try:
            context.previous().wait()
        except RuntimeError as error:
            errors.append(error)

    process = cluster.process().declares(a_task(), call)
    await process.node.registrar.tick()
    await run_once(process, "once")
    assert ["await it" in str(error) for error in errors] == [True]


def test_a_cursor_is_small_json() -> None:
    context = RunContext.for_test(cursor="x")
    for value in (math.nan, {1, 2}, "\ud800", "x" * (LARGEST_CURSOR - 1)):
        with pytest.raises(ValueError, match="cursor must"):
            context.cursor.set(value)
    context.cursor.set("x" * (LARGEST_CURSOR - 2))
    with pytest.raises(TypeError, match="not a int"):
        context.cursor.get(int).wait()


def test_a_context_for_a_test_has_a_memory() -> None:
    previous = LastSuccess(slot=None, at=NOON)
    context = RunContext.for_test(previous=previous, cursor=[1])

    async def read() -> list[object]:
        return [await context.previous(), await context.cursor.get(list)]

    assert asyncio.run(read()) == [previous, [1]]
    assert context.previous().wait() == previous
    assert RunContext.for_test().previous().wait() is None
    assert RunContext.for_test().cursor.get(str).wait() is None
