"""Synchronous functions that have passed their timeout, and hold places of their worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.domain.events import RunOverran, RunSettled
from task_manager_core.domain.run import Retried
from tests.application.cluster import KEY, POLICY, Cluster, Process, a_task
from tests.waiting import wait_until_async

TIMEOUT = timedelta(milliseconds=20)


@pytest.fixture(name="gate")
def an_open_end() -> Iterator[threading.Event]:
    """The functions wait for it."""
    gate = threading.Event()
    yield gate
    gate.set()


async def started(cluster: Cluster, gate: threading.Event, runs: int) -> Process:
    """A process that executes runs whose function has passed its timeout."""
    process = cluster.process().declares(a_task(timeout=TIMEOUT), gate.wait)
    await process.node.registrar.tick()
    for number in range(runs):
        await process.node.control.trigger([KEY], f"{number}")
    await process.node.worker.claim()
    await wait_until_async(lambda: len(process.events.of(RunOverran)) == runs, "all of them have passed their timeout")
    return process


async def test_each_of_them_is_reported_and_holds_a_place(cluster: Cluster, gate: threading.Event) -> None:
    process = await started(cluster, gate, 2)
    first, second = process.events.of(RunOverran)
    assert (first.held, second.held, second.places) == (1, 2, POLICY.worker.concurrency)
    assert process.node.worker.overruns.claims == (first.claim, second.claim)
    assert process.node.worker.overruns.hold_every_place
    assert await process.node.worker.claim() is None, "no place is free"


async def test_a_function_that_returns_late_has_failed_and_gives_its_place_back(
    cluster: Cluster, gate: threading.Event
) -> None:
    process = await started(cluster, gate, 1)
    cluster.clock.advance(2 * TIMEOUT)
    gate.set()
    await process.ended()
    assert process.node.worker.overruns.claims == ()
    assert not process.node.worker.overruns.hold_every_place
    await process.node.worker.settle()
    assert isinstance(process.events.one(RunSettled).settlement.outcome, Retried)


async def test_other_processes_can_explain_it(cluster: Cluster, gate: threading.Event) -> None:
    process, other = await started(cluster, gate, 1), cluster.process("other")
    await process.node.registrar.tick()
    await process.node.control.trigger([KEY], "later")
    await other.node.registrar.tick()
    texts = [reason.text for reason in (await other.node.control.explain(KEY)).reasons]
    assert any("its function has passed the timeout in a thread" in text for text in texts)
    assert any("places held by functions that have passed their timeouts: 1" in text for text in texts)
    gate.set()
    await process.ended()
    await process.node.registrar.tick()
    await other.node.registrar.tick()
    texts = [reason.text for reason in (await other.node.control.explain(KEY)).reasons]
    assert not any("passed" in text for text in texts)


async def test_a_function_that_returns_in_time_is_not_among_them(cluster: Cluster) -> None:
    process = cluster.process().declares(replace(a_task(), timeout=timedelta(minutes=1)), lambda: None)
    await process.node.registrar.tick()
    await process.node.control.trigger([KEY], "request")
    await process.work()
    assert process.events.of(RunOverran) == []


async def test_the_function_learns_of_its_timeout(cluster: Cluster) -> None:
    def until_told(context: RunContext) -> None:
        assert context.cancelled.wait(10)

    process = cluster.process().declares(a_task(timeout=TIMEOUT), until_told)
    await process.node.registrar.tick()
    await process.node.control.trigger([KEY], "request")
    await process.node.worker.claim()
    await process.ended()
    assert len(process.events.of(RunOverran)) == 1
