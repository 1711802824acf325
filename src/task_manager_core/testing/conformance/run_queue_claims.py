"""Tests of the laws about claims and their ends in situations where a store easily breaks them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from task_manager_core.domain.identity import NodeId, RunId
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.run import (
    AttemptStatus,
    Cancelled,
    Exhausted,
    Expired,
    Outcome,
    Retried,
    RunState,
    Succeeded,
)
from task_manager_core.ports import REQUEST_MEMORY, Cancelling, Extension
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    LEADER,
    NOTHING,
    SECOND,
    TTL,
    WORKER,
    exclusive,
    key,
    run,
    runs,
    settlement,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.run_queue import OTHER
from task_manager_core.testing.conformance.store import Store


class RunQueueClaims(Contract):
    # -- 4: extending -------------------------------------------------------------------------------------------------

    @law("run_queue", 4)
    async def test_each_of_many_claims_is_judged_by_its_own_heartbeat(self, store: Store) -> None:
        await store.define(task())
        old = await store.claim_new(run(task(), "old"))
        await store.advance(TTL - 10 * SECOND)
        new = await store.claim_new(run(task(), "new"), OTHER)
        foreign = replace(new, worker=NodeId("foreign"))
        other_token = replace(new, token=new.token + 1)
        await store.advance(10 * SECOND)
        extension = await store.queue.extend([old, new, foreign, other_token], TTL)
        assert extension == Extension(frozenset({old, foreign, other_token}), frozenset())
        assert await store.queue.extend([], TTL) == Extension(frozenset(), frozenset())

    @law("run_queue", 4)
    async def test_a_heartbeat_with_a_longer_ttl_finds_a_claim_that_a_shorter_one_has_lost(self, store: Store) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        await store.advance(2 * TTL)
        assert not await store.extend_one(claim, TTL)
        assert await store.extend_one(claim, 3 * TTL)
        assert await store.extend_one(claim, TTL)

    @law("run_queue", 4)
    async def test_a_released_claim_is_not_extended(self, store: Store) -> None:
        await store.define(task())
        for request in ("settled", "released"):
            claim = await store.claim_new(run(task(), request))
            assert await (store.settle(claim) if request == "settled" else store.release(claim))
            assert not await store.extend_one(claim, TTL)
            await store.claim(OTHER)
            assert not await store.extend_one(claim, TTL)

    # -- 5 and 6: settling --------------------------------------------------------------------------------------------

    @law("run_queue", 5)
    async def test_no_worker_settles_with_the_claim_of_another(self, store: Store) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        before = await store.state()
        for forged in (
            replace(claim, worker=OTHER),
            replace(claim, token=claim.token + 1),
            replace(claim, token=claim.token - 1),
            replace(claim, run=run(task(), "unknown")),
        ):
            assert not await store.settle(forged), forged
            assert not await store.release(forged), forged
            assert await store.state() == before
        assert await store.settle(claim)

    @law("run_queue", 5)
    async def test_one_lost_claim_keeps_no_other_from_being_settled(self, store: Store) -> None:
        await store.define(task())
        await store.enqueue(*runs(task(), 3))
        claims = await store.claim()
        assert await store.settle(claims[1])
        lost = await store.queue.settle([settlement(claim) for claim in claims])
        assert lost == {claims[1]}
        assert len(await store.records(key())) == 3
        assert await store.queue.settle([]) == frozenset()

    @law("run_queue", 5)
    @pytest.mark.parametrize(
        "outcome", [Succeeded(), Exhausted(), Cancelled(), Expired(), Retried(HOUR), Retried(NOTHING)], ids=str
    )
    async def test_settling_again_after_a_lost_reply_changes_nothing(self, store: Store, outcome: Outcome) -> None:
        of = exclusive()
        await store.define(of)
        claim = await store.claim_new(run(of))
        await store.enqueue(run(of, "held"))
        assert await store.settle(claim, outcome)
        before = await store.state()
        assert not await store.settle(claim, outcome)
        assert await store.state() == before

    @law("run_queue", 6)
    async def test_runs_of_many_tasks_are_settled_in_one_step(self, store: Store) -> None:
        tasks = [task(f"task {number}") for number in range(20)]
        for of in tasks:
            await store.define(of)
        await store.enqueue(*(run(of) for of in tasks))
        outcomes: list[Outcome] = [Succeeded(), Retried(HOUR), Exhausted(), Cancelled(), Expired()]
        settled = [settlement(claim, outcomes[n % 5]) for n, claim in enumerate(await store.claim())]
        assert await store.queue.settle(settled) == frozenset()
        for one in settled:
            assert await store.records(one.claim.run.task) == (one.record(),)
            assert bool(await store.live(one.claim.run.task)) is isinstance(one.outcome, Retried)

    # -- 8: releasing -------------------------------------------------------------------------------------------------

    @law("run_queue", 8)
    @pytest.mark.parametrize("delay", [NOTHING, HOUR], ids=["at once", "later"])
    async def test_releasing_again_after_a_lost_reply_counts_once(self, store: Store, delay: timedelta) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        assert await store.release(claim, delay, started=True)
        before = await store.state()
        assert not await store.release(claim, delay, started=True)
        assert await store.state() == before
        await store.advance(delay)
        [again] = await store.claim()
        assert (again.attempt, again.failures) == (2, 0)

    @law("run_queue", 8)
    async def test_a_release_keeps_the_failures_of_earlier_attempts(self, store: Store) -> None:
        await store.define(task())
        await store.settle(await store.claim_new(run(task())), Retried(NOTHING))
        [claim] = await store.claim()
        assert await store.release(claim, HOUR)
        await store.advance(HOUR)
        [claim] = await store.claim()
        assert (claim.attempt, claim.failures) == (2, 1)

    @law("run_queue", 8)
    async def test_a_released_run_goes_to_any_worker_that_claims_it(self, store: Store) -> None:
        await store.define(task())
        await store.enqueue(*runs(task(), 2))
        claims = await store.claim(WORKER)
        assert await store.queue.release(claims, NOTHING, started=False) == frozenset()
        again = await store.claim(OTHER)
        assert {claim.run for claim in again} == set(runs(task(), 2))
        assert {claim.worker for claim in again} == {OTHER}
        assert await store.queue.release(claims, NOTHING, started=False) == set(claims)
        assert await store.queue.release([], NOTHING, started=False) == frozenset()

    # -- 9: reaping ---------------------------------------------------------------------------------------------------

    @law("run_queue", 9)
    async def test_reaping_goes_on_where_its_limit_stopped_it(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        await store.enqueue(*runs(task(), 5))
        claims = await store.claim()
        await store.advance(TTL)
        assert await store.reap(term, TTL, 0) == ()
        steps = [await store.reap(term, TTL, limit) for limit in (1, 2, 10, 10)]
        assert [len(step) for step in steps] == [1, 2, 2, 0]
        assert {claim for step in steps for claim in step} == set(claims)
        assert len(await store.records(key())) == 5

    @law("run_queue", 9)
    async def test_claims_that_live_take_no_place_of_those_that_expired(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        await store.enqueue(*runs(task(), 20, "beating"), *runs(task(), 3, "silent"))
        claims = await store.claim()
        beating, silent = claims[:20], claims[20:]
        await store.advance(TTL - 10 * SECOND)
        assert await store.queue.extend(beating, TTL) == Extension(frozenset(), frozenset())
        await store.advance(10 * SECOND)
        assert await store.reap(term, TTL, 2) != ()
        assert await store.reap(term, TTL, 2) != ()
        assert {claim.run for claim in await store.claim(OTHER)} == {claim.run for claim in silent}
        assert await store.queue.extend(beating, TTL) == Extension(frozenset(), frozenset())

    @law("run_queue", 9)
    async def test_a_stale_term_reaps_nothing(self, store: Store) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        older = await store.lead(NodeId("older"), TTL)
        await store.advance(TTL)
        assert await store.queue.reap(older, TTL, 10) == Fenced()
        term = await store.lead()
        before = await store.state()
        for stale in (older, Term(LEADER, term.token - 1), Term(LEADER, term.token + 1), Term(WORKER, term.token)):
            assert await store.queue.reap(stale, TTL, 10) == Fenced(), stale
        assert await store.state() == before
        assert await store.reap(term, TTL) == (claim,)

    @law("run_queue", 9)
    async def test_a_claim_that_its_worker_never_heard_of_is_reaped_too(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        await store.enqueue(run(task()))
        assert len(await store.claim()) == 1
        await store.advance(TTL)
        assert len(await store.reap(term, TTL)) == 1
        assert await store.queue.claim(OTHER, 10, NOTHING, known=()) != ()
        assert await store.queue.claim(WORKER, 10, NOTHING, known=()) == ()

    # -- 11: cancelling -----------------------------------------------------------------------------------------------

    @law("run_queue", 11)
    @pytest.mark.parametrize("place", [RunState.HELD, RunState.QUEUED, RunState.WAITING], ids=lambda one: one.value)
    async def test_a_run_that_is_not_running_ends_at_once(self, store: Store, place: RunState) -> None:
        of = exclusive()
        await store.define(of)
        cancelled = run(of, "cancelled")
        if place is RunState.HELD:
            await store.enqueue(run(of, "first"))
        await store.enqueue(cancelled)
        if place is RunState.WAITING:
            [claim] = await store.claim()
            await store.settle(claim, Retried(HOUR))
        assert (await store.states(of.key))[cancelled.id.value] is place

        assert await store.queue.cancel([(of.key, cancelled.id)]) == (Cancelling.CANCELLED,)
        assert cancelled.id.value not in await store.states(of.key)
        line = (await store.records(of.key))[0]
        assert (line.run, line.status) == (cancelled.id, AttemptStatus.CANCELLED)
        assert await store.queue.cancel([(of.key, cancelled.id)]) == (Cancelling.NOT_LIVE,)
        await store.advance(HOUR)
        assert cancelled not in [claim.run for claim in await store.claim()]
        assert len([line for line in await store.records(of.key) if line.status is AttemptStatus.CANCELLED]) == 1

    @law("run_queue", 11)
    async def test_a_run_is_cancelled_under_the_name_of_its_task_only(self, store: Store) -> None:
        await store.define(task())
        await store.define(task("other"))
        await store.enqueue(run(task()))
        for of, one in ((key("other"), run(task()).id), (key("unknown"), run(task()).id), (key(), RunId("unknown"))):
            assert await store.queue.cancel([(of, one)]) == (Cancelling.NOT_LIVE,)
        assert len(await store.claim()) == 1

    @law("run_queue", 11)
    @pytest.mark.parametrize("ends", ["settled", "removed"])
    async def test_a_requested_cancellation_ends_with_its_run(self, store: Store, ends: str) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        assert await store.queue.cancel([(key(), claim.run.id)]) == (Cancelling.REQUESTED,)
        if ends == "settled":
            assert await store.settle(claim)
        else:
            await store.catalogue.remove([key()])
            await store.define(task())
        await store.advance(REQUEST_MEMORY)
        again = await store.claim_new(run(task()))
        assert await store.queue.extend([again], TTL) == Extension(frozenset(), frozenset())
        assert await store.settle(again, Retried(HOUR))
        assert await store.states(key()) == {again.run.id.value: RunState.WAITING}

    @law("run_queue", 11)
    async def test_a_running_run_may_end_otherwise_than_by_its_cancellation(self, store: Store) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        for _ in range(2):
            assert await store.queue.cancel([(key(), claim.run.id)]) == (Cancelling.REQUESTED,)
        for _ in range(2):
            assert (await store.queue.extend([claim], TTL)).cancelling == {claim}
        assert await store.settle(claim)
        assert await store.queue.cancel([(key(), claim.run.id)]) == (Cancelling.NOT_LIVE,)
        assert [line.status for line in await store.records(key())] == [AttemptStatus.SUCCEEDED]

    @law("run_queue", 11)
    async def test_an_ended_or_unknown_run_is_not_live(self, store: Store) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        await store.settle(claim)
        before = await store.state()
        assert await store.queue.cancel([(key(), claim.run.id)]) == (Cancelling.NOT_LIVE,)
        assert await store.queue.cancel([]) == ()
        assert await store.state() == before

    @law("run_queue", 11)
    async def test_a_run_to_be_cancelled_ends_when_its_worker_is_found_dead(self, store: Store) -> None:
        of, term = exclusive(), await store.lead()
        await store.define(of)
        claim = await store.claim_new(run(of, "first"))
        await store.enqueue(run(of, "second"))
        assert await store.queue.cancel([(of.key, claim.run.id)]) == (Cancelling.REQUESTED,)
        await store.advance(TTL)
        assert await store.reap(term, TTL) == (claim,)
        assert [line.run for line in await store.records(of.key)] == [claim.run.id]
        assert [freed.run for freed in await store.claim()] == [run(of, "second")]

    # -- 12: promoting ------------------------------------------------------------------------------------------------

    @law("run_queue", 12)
    async def test_promoting_moves_only_what_waits(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        claim = await store.claim_new(run(of, "running"))
        await store.enqueue(run(of, "held"))
        before = await store.state()
        assert await store.queue.promote([of.key]) == 0
        assert await store.queue.promote([]) == 0
        assert await store.state() == before
        await store.settle(claim, Retried(HOUR))
        assert await store.queue.promote([of.key]) == 1
        assert await store.queue.promote([of.key]) == 0
        [claim] = await store.claim()
        assert (claim.run, claim.attempt, claim.failures) == (run(of, "running"), 2, 1)
