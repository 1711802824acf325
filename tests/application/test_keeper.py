"""The keeper: a thread that extends the claims of a process while a function blocks its event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from task_manager_core.application.keeper import Keeper, KeeperThread
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import LoopBlocked, LoopResumed, TickFailed
from task_manager_core.domain.policy import BlockPolicy, NodePolicy, Retention, WorkerPolicy
from task_manager_core.ports import Backend, Capabilities, Clock
from task_manager_memory import MemoryStore
from tests.application.cluster import KEY, Cluster, Process, a_task
from tests.waiting import wait_until_async

HEARTBEAT = timedelta(seconds=0.2)
TTL = 3 * HEARTBEAT
BLOCKED = 0.9
"""Seconds, longer than a claim lives."""

NEVER = timedelta(0)


class RealClock(Clock):
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@asynccontextmanager
async def watched(
    function: Callable[..., object], warning: timedelta = NEVER, limit: timedelta = timedelta(minutes=1)
) -> AsyncGenerator[Process]:
    """A process whose keeper watches this event loop. It has claimed a run of the function and not executed it yet."""
    policy = NodePolicy(
        worker=WorkerPolicy(heartbeat=HEARTBEAT, wait=timedelta(milliseconds=1)),
        blocking=BlockPolicy(warning=warning, limit=limit),
    )
    async with MemoryStore().open(clock=RealClock(), retention=Retention()) as backend:
        process = Process("watched", backend, RealClock(), policy).declares(a_task(), function)
        await process.node.registrar.tick()
        await process.node.control.trigger([KEY], "request")
        thread = KeeperThread(process.node.keeper)
        thread.start()
        try:
            yield process
        finally:
            await thread.stop()


async def claim_of(process: Process) -> bool:
    """Claim and execute the run. The answer: does the claim live when the function has ended?"""
    await process.node.worker.claim()
    [claim] = process.node.worker.claims()
    await process.ended()
    return not (await process.backend.queue.extend([claim], TTL)).lost


async def blocks() -> None:
    time.sleep(BLOCKED)  # noqa: ASYNC251 - this is what the tests are about


async def begins_a_task_that_blocks() -> None:
    await asyncio.gather(blocks())


BLOCKERS = [blocks, *([begins_a_task_that_blocks] if sys.version_info >= (3, 12) else [])]
"""Python 3.11 does not show which attempt has begun a task."""


async def test_a_function_that_blocks_the_loop_keeps_its_claim() -> None:
    async with watched(blocks) as process:
        assert await claim_of(process)


async def test_without_the_keeper_the_claim_is_lost() -> None:
    async with watched(blocks, limit=NEVER) as process:
        assert not await claim_of(process)


async def test_a_loop_that_stands_for_longer_than_the_limit_loses_its_claims() -> None:
    async with watched(blocks, limit=timedelta(seconds=0.1)) as process:
        assert not await claim_of(process)
        assert [event.abandoned for event in process.events.of(LoopBlocked)] == [True]


async def test_nothing_is_sent_while_the_loop_runs() -> None:
    async def waits() -> None:
        await asyncio.sleep(BLOCKED)

    async with watched(waits) as process:
        await process.node.worker.claim()
        calls = list(process.link.calls)
        await process.ended()
        assert process.link.calls == calls


@pytest.mark.parametrize("function", BLOCKERS)
async def test_a_block_is_reported_with_its_run_and_its_line(function: Callable[..., object]) -> None:
    async with watched(function, warning=timedelta(seconds=0.2)) as process:
        await claim_of(process)
        reported = process.events.of(LoopBlocked)
        assert len(reported) >= 2, "a block is reported again whenever its time has doubled"
        for event in reported:
            assert event.claim is not None
            assert event.claim.run.task == KEY
            assert event.line.endswith("in blocks")
            assert event.line.startswith(f"{__file__}:")
            assert "time.sleep(BLOCKED)" in event.stack
        await wait_until_async(lambda: process.events.of(LoopResumed), "the end of the block is reported")
        [resumed] = process.events.of(LoopResumed)
        assert (resumed.claim, resumed.line) == (reported[0].claim, reported[0].line)
        assert resumed.stood >= reported[-1].stood
        assert process.node.keeper.last_block is resumed


async def test_code_that_is_no_task_is_reported_without_a_run() -> None:
    async with watched(blocks, warning=timedelta(seconds=0.1)) as process:
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - as above
        await wait_until_async(lambda: process.events.of(LoopResumed), "the block is reported")
        [event, *_] = process.events.of(LoopBlocked)
        assert event.claim is None
        assert event.line.endswith(test_code_that_is_no_task_is_reported_without_a_run.__name__)


async def test_a_durable_store_is_opened_once_more_and_the_process_stays_present() -> None:
    opened: list[Backend] = []
    async with watched(blocks, limit=NEVER) as process:
        backend = replace(process.backend, capabilities=Capabilities(durable=True))

        @asynccontextmanager
        async def reopen() -> AsyncGenerator[Backend]:
            opened.append(backend)
            yield backend

        keeper = Keeper(
            node=process.id,
            worker=process.node.worker,
            backend=backend,
            reopen=reopen,
            presence=lambda: process.node.registrar.announced,
            policy=NodePolicy(worker=WorkerPolicy(heartbeat=HEARTBEAT)),
            clock=RealClock(),
            observer=process.events,
        )
        thread = KeeperThread(keeper)
        thread.start()
        await process.node.worker.claim()
        before = list(process.link.calls)
        await process.ended()
        assert len(opened) == 1
        kept = process.link.calls[len(before) :]
        assert kept[:2] == ["extend", "announce"]
        assert set(kept) == {"extend", "announce"}
        await thread.stop()


async def test_a_store_that_is_away_is_reported_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    async with watched(blocks) as process:
        await process.node.worker.claim()
        queue = process.node.keeper._queue
        assert queue is not None
        extend = queue.extend

        async def once_away(claims: list[object], ttl: timedelta) -> object:
            asked.append(time.monotonic())
            if len(asked) == 1:
                raise BackendUnavailable("away")
            return await extend(claims, ttl)  # type: ignore[arg-type]

        monkeypatch.setattr(process.node.keeper, "_queue", type("Queue", (), {"extend": staticmethod(once_away)}))
        [claim] = process.node.worker.claims()
        await process.ended()
        assert not (await process.backend.queue.extend([claim], TTL)).lost
        assert [event.service for event in process.events.of(TickFailed)] == ["keeper"]


async def test_a_process_that_stood_still_as_a_whole_is_not_reported(cluster: Cluster) -> None:
    """Neither its loop nor its keeper went on: no function is to blame."""
    process = cluster.process(policy=NodePolicy(blocking=BlockPolicy(warning=timedelta(seconds=2))))
    keeper = process.node.keeper
    keeper.attach()
    keeper._forget()
    assert keeper._ask()
    for seconds, reported in ((60, 0), (1, 0), (1, 1)):
        cluster.clock.advance(timedelta(seconds=seconds))
        await keeper._look()
        assert len(process.events.of(LoopBlocked)) == reported


async def test_the_thread_ends_with_the_stop() -> None:
    def keepers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "task-manager keeper"]

    async with watched(blocks):
        assert len(keepers()) == 1
    await wait_until_async(lambda: not keepers(), "the thread has ended")


def test_the_thread_ends_with_an_event_loop_that_was_closed() -> None:
    threads: list[KeeperThread] = []

    async def forgets_to_stop() -> None:
        async with MemoryStore().open(clock=RealClock(), retention=Retention()) as backend:
            policy = NodePolicy(worker=WorkerPolicy(heartbeat=timedelta(seconds=0.03)))
            threads.append(KeeperThread(Process("forgotten", backend, RealClock(), policy).node.keeper))
            threads[0].start()

    asyncio.run(forgets_to_stop())
    threads[0]._ended.result(10)
