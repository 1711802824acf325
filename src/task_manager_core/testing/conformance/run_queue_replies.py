"""Tests of the law about lost replies in situations where a store easily breaks it."""

from __future__ import annotations

import asyncio

import pytest

from task_manager_core.domain.run import (
    Retried,
)
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    MINUTE,
    NOTHING,
    TTL,
    WORKER,
    run,
    runs,
    settlement,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.run_queue import OTHER
from task_manager_core.testing.conformance.store import Store


class RunQueueReplies(Contract):
    @law("run_queue", 14)
    async def test_a_worker_that_stops_waiting_loses_no_run(self, store: Store) -> None:
        await store.define(task())
        for number in range(5):
            waiting = asyncio.ensure_future(store.queue.claim(WORKER, 1, HOUR))
            await store.let_waiters_listen()
            waiting.cancel()
            await store.enqueue(run(task(), f"{number}"))
            await asyncio.wait([waiting])
            [claim] = await store.queue.claim(WORKER, 10, NOTHING, known=())
            assert claim.run == run(task(), f"{number}")
            assert await store.settle(claim)

    @law("run_queue", 14)
    async def test_a_claim_that_is_returned_again_is_the_same(self, store: Store) -> None:
        await store.define(task())
        await store.enqueue(*runs(task(), 5))
        claims = await store.claim()
        assert set(await store.queue.claim(WORKER, 10, NOTHING, known=())) == set(claims)
        assert set(await store.queue.claim(WORKER, 10, NOTHING, known=claims[:2])) == set(claims[2:])
        assert len(await store.queue.claim(WORKER, 2, NOTHING, known=())) == 2
        assert await store.queue.settle([settlement(claim) for claim in claims]) == frozenset()

    @law("run_queue", 14)
    @pytest.mark.parametrize("back", ["released", "retried", "reaped"])
    async def test_a_worker_that_knows_an_older_claim_of_the_run_gets_the_new_one(
        self, store: Store, back: str
    ) -> None:
        term = await store.lead()
        await store.define(task())
        older = await store.claim_new(run(task()))
        if back == "released":
            assert await store.release(older)
        elif back == "retried":
            assert await store.settle(older, Retried(NOTHING))
        else:
            await store.advance(TTL)
            assert await store.reap(term, TTL) == (older,)
        lost = await store.claim(WORKER)
        assert [claim.run for claim in lost] == [older.run]
        assert await store.queue.claim(WORKER, 10, NOTHING, known=[older]) == lost
        assert await store.queue.claim(WORKER, 10, NOTHING, known=[older, *lost]) == ()
        assert await store.settle(lost[0])

    @law("run_queue", 14)
    async def test_a_worker_that_knows_too_much_gets_only_what_is_new(self, store: Store) -> None:
        await store.define(task())
        over = await store.claim_new(run(task(), "over"))
        await store.settle(over)
        await store.enqueue(run(task(), "new"))
        [claim] = await store.queue.claim(WORKER, 10, NOTHING, known=[over])
        assert claim.run == run(task(), "new")

    @law("run_queue", 14)
    async def test_claims_that_are_over_are_not_returned_again(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        await store.settle(await store.claim_new(run(task(), "settled")))
        await store.settle(await store.claim_new(run(task(), "retried")), Retried(HOUR))
        await store.release(await store.claim_new(run(task(), "released")), HOUR)
        await store.claim_new(run(task(), "reaped"))
        await store.advance(MINUTE)
        assert len(await store.reap(term, TTL)) == 1
        assert len(await store.claim(OTHER)) == 1
        assert await store.queue.claim(WORKER, 10, NOTHING, known=()) == ()
