"""Tests of the law about attempts that lose their worker: they are counted apart from failures, until the run ends."""

from __future__ import annotations

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.run import AttemptStatus, Claim, Retried, RunState
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import MINUTE, NOTHING, TTL, key, run, task
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store


class RunQueueLosses(Contract):
    @law("run_queue", 9)
    async def test_a_run_that_kills_its_workers_collects_losses(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        claim = await store.claim_new(run(task()))
        for number in range(1, 5):
            assert (claim.attempt, claim.failures, claim.losses) == (number, 0, number - 1)
            [live] = await store.live(key())
            assert (live.attempt, live.failures, live.losses) == (number, 0, number - 1)
            await store.advance(TTL)
            assert await store.reap(term, TTL) == (claim,)
            assert not await store.extend_one(claim, TTL)
            [claim] = await store.claim(NodeId(f"worker {number}"))
        lines = await store.records(key())
        assert [(line.status, line.attempt) for line in lines] == [
            (AttemptStatus.LOST, number) for number in (4, 3, 2, 1)
        ]

    @law("run_queue", 9)
    async def test_losses_stay_with_a_run_wherever_it_goes(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        claim = await store.claim_new(run(task()))

        async def lose() -> Claim:
            await store.advance(TTL)
            [lost] = await store.reap(term, TTL)
            assert lost == claim
            [again] = await store.claim()
            return again

        claim = await lose()
        assert await store.settle(claim, Retried(MINUTE))
        [live] = await store.live(key())
        assert (live.state, live.failures, live.losses) == (RunState.WAITING, 1, 1)
        await store.advance(MINUTE)
        [claim] = await store.claim()
        claim = await lose()
        for delay in (MINUTE, NOTHING):
            assert await store.release(claim, delay)
            [live] = await store.live(key())
            assert (live.failures, live.losses) == (1, 2)
            await store.advance(delay)
            [claim] = await store.claim()
            assert (claim.failures, claim.losses) == (1, 2)
        assert await store.settle(claim, Retried(MINUTE))
        assert await store.queue.promote([key()]) == 1
        [claim] = await store.claim()
        await store.queue.cancel([(key(), claim.run.id)])
        [live] = await store.live(key())
        assert (live.attempt, live.failures, live.losses, live.cancelling) == (claim.attempt, 2, 2, True)
        assert claim.losses == 2
