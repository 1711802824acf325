"""Tests of the law about runs that are enqueued with a delay."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import AttemptStatus, Retried, RunState
from task_manager_core.ports import REQUEST_MEMORY, Cancelling, Enqueued
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import HOUR, MINUTE, ODD, SECOND, key, run, task
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store


async def delayed(store: Store, name: str, delay: timedelta, of: str = "task") -> None:
    """Enqueue a run with a delay."""
    assert await store.queue.enqueue([run(task(of), name)], "", REQUEST_MEMORY, delay) == (Enqueued.WAITING,)


class RunQueueDelays(Contract):
    @law("run_queue", 19)
    async def test_a_delayed_run_is_claimed_from_its_instant_on(self, store: Store) -> None:
        """A run that is enqueued with a delay waits: it can be claimed from its instant on, as its first attempt, and
        no promotion makes it claimable before."""
        await store.define(task())
        await delayed(store, "later", HOUR)
        [live] = await store.live(key())
        assert (live.state, live.attempt, live.failures, live.retrying) == (RunState.WAITING, 1, 0, False)
        assert await store.enqueue(run(task(), "later")) == (Enqueued.DUPLICATE,)
        await store.settle(await store.claim_new(run(task(), "retried")), Retried(2 * HOUR))
        assert await store.queue.promote([key()]) == 1
        assert [claim.run for claim in await store.claim()] == [run(task(), "retried")]
        await store.advance(HOUR - SECOND)
        early = await store.claim()
        assert early == ()
        await store.advance(SECOND)
        [claim] = await store.claim()
        assert (claim.run, claim.attempt, claim.failures) == (run(task(), "later"), 1, 0)
        assert await store.settle(claim)

    @law("run_queue", 19)
    @pytest.mark.parametrize("delay", [ODD, HOUR + ODD], ids=str)
    async def test_the_delay_of_a_request_is_kept_to_the_millisecond(self, store: Store, delay: timedelta) -> None:
        await store.define(task())
        before = await store.now()
        await delayed(store, "later", delay)
        after = await store.now()
        for live in await store.live(key()):
            assert live.due_at is None or before + delay <= live.due_at <= after + delay
        early = await store.claim()
        assert early == () or await store.now() >= before + delay
        await store.advance(delay)
        [claim] = early or await store.claim()
        assert claim.run == run(task(), "later")

    @law("run_queue", 19)
    async def test_a_delayed_run_that_was_started_is_promoted_like_every_other_one(self, store: Store) -> None:
        await store.define(task())
        await delayed(store, "later", MINUTE)
        await store.advance(MINUTE)
        [claim] = await store.claim()
        assert await store.settle(claim, Retried(HOUR))
        assert await store.queue.promote([key()]) == 1
        [claim] = await store.claim()
        assert (claim.attempt, claim.failures) == (2, 1)

    @law("run_queue", 19)
    async def test_delayed_runs_are_claimed_in_the_order_of_their_instants_and_by_priority(self, store: Store) -> None:
        high = task("high", priority=Priority.HIGH)
        await store.define(task())
        await store.define(high)
        for number in (2, 1):
            await delayed(store, f"{number}", number * MINUTE)
        answer = await store.queue.enqueue([run(high, "high")], "", REQUEST_MEMORY, 3 * MINUTE)
        assert answer == (Enqueued.WAITING,)
        await store.advance(HOUR)
        assert [claim.run for claim in await store.claim()] == [
            run(high, "high"),
            run(task(), "1"),
            run(task(), "2"),
        ]

    @law("run_queue", 11)
    async def test_a_delayed_run_is_cancelled_at_once(self, store: Store) -> None:
        await store.define(task())
        await delayed(store, "later", HOUR)
        assert await store.queue.cancel([(key(), run(task(), "later").id)]) == (Cancelling.CANCELLED,)
        assert [line.status for line in await store.records(key())] == [AttemptStatus.CANCELLED]
        await store.advance(HOUR)
        assert await store.claim() == ()

    @law("run_queue", 19)
    async def test_a_delayed_run_goes_with_its_task(self, store: Store) -> None:
        await store.define(task())
        await delayed(store, "later", HOUR)
        await store.catalogue.remove([key()])
        await store.define(task())
        await store.advance(HOUR)
        assert await store.claim() == ()
        await delayed(store, "later", HOUR)
        await store.advance(HOUR)
        assert len(await store.claim()) == 1

    @law("run_queue", 19)
    async def test_a_waiting_worker_gets_the_delayed_run_whose_instant_comes(self, store: Store) -> None:
        await store.define(task())
        waiting = asyncio.ensure_future(store.queue.claim(NodeId("other"), 10, HOUR))
        await store.let_waiters_listen()
        delay = timedelta(milliseconds=20)
        await delayed(store, "later", delay)
        await store.advance(delay)
        [claim] = await store.soon(waiting)
        assert (claim.run, claim.attempt) == (run(task(), "later"), 1)
