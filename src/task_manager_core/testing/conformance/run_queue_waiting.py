"""Tests of the laws about waiting workers in situations where a store easily breaks them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.run import Retried
from task_manager_core.ports import Cancelling
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    MINUTE,
    TTL,
    WORKER,
    decision,
    exclusive,
    key,
    run,
    runs,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.run_queue import OTHER
from task_manager_core.testing.conformance.store import Store


class RunQueueWaiting(Contract):
    @law("run_queue", 3)
    async def test_a_waiting_worker_gets_a_new_run(self, store: Store) -> None:
        await store.define(task())
        waiting = asyncio.ensure_future(store.queue.claim(WORKER, 10, HOUR))
        await store.let_waiters_listen()
        await store.enqueue(run(task()))
        [claim] = await store.soon(waiting)
        assert claim.run == run(task())

    @law("run_queue", 3)
    async def test_a_waiting_worker_gets_the_run_that_is_dispatched(self, store: Store) -> None:
        of, slot, term = task(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        waiting = asyncio.ensure_future(store.queue.claim(WORKER, 10, HOUR))
        await store.let_waiters_listen()
        dispatched = of.run_of_slot(slot, version)
        assert await store.commit_one(term, decision(of, version, slot, dispatch=[dispatched], then=slot + HOUR))
        [claim] = await store.soon(waiting)
        assert claim.run == dispatched

    @law("run_queue", 3)
    @pytest.mark.parametrize("back", ["released", "reaped"])
    async def test_a_waiting_worker_gets_a_run_that_is_queued_again(self, store: Store, back: str) -> None:
        term = await store.lead()
        await store.define(task())
        first = await store.claim_new(run(task()))
        await store.advance(TTL)
        waiting = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR))
        await store.let_waiters_listen()
        assert await store.release(first) if back == "released" else await store.reap(term, TTL) == (first,)
        [claim] = await store.soon(waiting)
        assert claim.run == run(task())

    @law("run_queue", 3)
    async def test_as_many_waiting_workers_are_woken_as_runs_come(self, store: Store) -> None:
        await store.define(task())
        workers = [NodeId(f"worker {number}") for number in range(4)]
        waiting = [asyncio.ensure_future(store.queue.claim(worker, 1, HOUR)) for worker in workers]
        await store.let_waiters_listen()
        queued = runs(task(), len(workers))
        await store.enqueue(*queued)
        claimed = await store.soon(asyncio.gather(*waiting))
        assert {claim.run for claims in claimed for claim in claims} == set(queued)

    @law("run_queue", 3)
    async def test_a_worker_that_stops_waiting_consumes_no_notification(self, store: Store) -> None:
        await store.define(task())
        leaving = asyncio.ensure_future(store.queue.claim(WORKER, 1, HOUR))
        await store.let_waiters_listen()
        staying = asyncio.ensure_future(store.queue.claim(OTHER, 1, HOUR))
        await store.let_waiters_listen()
        leaving.cancel()
        await store.enqueue(run(task()))
        await asyncio.wait([leaving])
        [live] = await store.live(key())
        if live.worker == WORKER:  # a server answered before it noticed that the worker waits no more
            staying.cancel()
            await asyncio.wait([staying])
            return
        [claim] = await store.soon(staying)
        assert claim.run == run(task())

    @law("run_queue", 7)
    async def test_a_worker_that_waits_already_gets_the_run_whose_instant_comes(self, store: Store) -> None:
        await store.define(task())
        delay = timedelta(milliseconds=300)
        await store.settle(await store.claim_new(run(task(), "retried")), Retried(delay))
        waiting = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR))
        await store.let_waiters_listen()
        await store.advance(delay)
        [again] = await store.soon(waiting)
        assert (again.run, again.attempt) == (run(task(), "retried"), 2)

    @law("run_queue", 3)
    @pytest.mark.parametrize("ends", ["settled", "cancelled"])
    async def test_a_waiting_worker_gets_the_held_run_that_is_freed(self, store: Store, ends: str) -> None:
        of = exclusive()
        await store.define(of)
        first = await store.claim_new(run(of, "first"))
        await store.enqueue(run(of, "second"))
        if ends == "cancelled":
            await store.release(first, DAY)
        waiting = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR))
        await store.let_waiters_listen()
        if ends == "settled":
            assert await store.settle(first)
        else:
            assert await store.queue.cancel([(of.key, first.run.id)]) == (Cancelling.CANCELLED,)
        [claim] = await store.soon(waiting)
        assert claim.run == run(of, "second")

    @law("run_queue", 7)
    async def test_a_waiting_worker_gets_the_run_whose_instant_comes(self, store: Store) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        waiting = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR))
        await store.let_waiters_listen()
        delay = timedelta(milliseconds=20)
        assert await store.settle(claim, Retried(delay))
        await store.advance(delay)
        [again] = await store.soon(waiting)
        assert (again.run, again.attempt) == (run(task()), 2)

    @law("run_queue", 12)
    async def test_a_waiting_worker_gets_the_run_that_is_promoted(self, store: Store) -> None:
        await store.define(task())
        await store.settle(await store.claim_new(run(task())), Retried(HOUR))
        waiting = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR))
        await store.let_waiters_listen()
        assert await store.queue.promote([key()]) == 1
        [claim] = await store.soon(waiting)
        assert claim.attempt == 2
