"""Tests of the laws of the run queue: one test for each law. The files `run_queue_*` have more tests."""

from __future__ import annotations

import asyncio

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Fenced
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import (
    AttemptStatus,
    Cancelled,
    Claim,
    Exhausted,
    Expired,
    Failure,
    Outcome,
    Retried,
    RunState,
    Succeeded,
)
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Cancelling, Enqueued, Extension
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    LEADER,
    MINUTE,
    NOTHING,
    SECOND,
    TTL,
    WORKER,
    exclusive,
    key,
    limited,
    run,
    runs,
    settlement,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import SLACK, Store, near

OTHER = NodeId("other")


class RunQueueLaws(Contract):
    @law("run_queue", 1)
    async def test_a_request_is_remembered(self, store: Store) -> None:
        """A run that was enqueued once is not enqueued again while its request is remembered or while it lives, unless
        its task was removed since; a run of an unknown task is never enqueued."""
        assert await store.enqueue(run(task())) == (Enqueued.UNKNOWN_TASK,)
        await store.define(task())
        assert await store.enqueue(run(task()), run(task()), run(task("unknown"))) == (
            Enqueued.QUEUED,
            Enqueued.DUPLICATE,
            Enqueued.UNKNOWN_TASK,
        )
        assert await store.enqueue(run(task())) == (Enqueued.DUPLICATE,)
        [claim] = await store.claim()
        assert await store.enqueue(run(task())) == (Enqueued.DUPLICATE,)
        assert await store.settle(claim)
        assert await store.enqueue(run(task())) == (Enqueued.DUPLICATE,)
        await store.advance(REQUEST_MEMORY - MINUTE)
        assert await store.enqueue(run(task())) == (Enqueued.DUPLICATE,)
        assert await store.claim() == ()

    @law("run_queue", 2)
    async def test_a_run_with_a_limit_waits_for_another_to_end(self, store: Store) -> None:
        """A run with a limit of live runs (one if it is exclusive, else `max_instances`) is held while another run of
        its task is held or as many live; the first held run is queued in the step that ends another run, as soon as its
        limit allows."""
        for of, places in ((exclusive("one"), 1), (limited(2, "two"), 2)):
            await store.define(of)
            waiting, claims = list(runs(of, 5)), list[Claim]()
            assert await store.enqueue(*waiting) == (Enqueued.QUEUED,) * places + (Enqueued.HELD,) * (5 - places)
            for freed in (places, 1, 1, 1, 1):
                following = await store.claim()
                assert [claim.run for claim in following] == waiting[:freed]
                del waiting[:freed]
                claims += following
                held = {one.id.value: RunState.HELD for one in waiting}
                assert await store.states(of.key) == {claim.run.id.value: RunState.RUNNING for claim in claims} | held
                assert await store.settle(claims.pop(0))

    @law("run_queue", 3)
    async def test_runs_are_claimed_in_order(self, store: Store) -> None:
        """A claim gives each queued run to one worker; high priority before low, then first in, first out within a
        queue; at most `limit`."""
        low, high, other = task("low"), task("high", priority=Priority.HIGH), task("other")
        for of in (low, high, other):
            await store.define(of)
        first = [*runs(low, 2, "low"), run(other), *runs(high, 2, "high"), run(low, "last")]
        await store.enqueue(*first)
        expected = [*runs(high, 2, "high"), *runs(low, 2, "low"), run(other), run(low, "last")]

        claims = await store.claim(WORKER, 1)
        claims += await store.claim(OTHER, 3)
        assert [claim.run for claim in claims] == expected[:4]
        await store.enqueue(run(high, "urgent"))
        claims += await store.claim(WORKER, 2)
        assert await store.claim(WORKER, 0) == ()
        claims += await store.claim(OTHER, 100)
        assert [claim.run for claim in claims] == [*expected[:4], run(high, "urgent"), *expected[4:]]
        assert [claim.worker for claim in claims] == [WORKER, *[OTHER] * 3, *[WORKER] * 2, OTHER]
        assert {(claim.attempt, claim.failures) for claim in claims} == {(1, 0)}
        assert await store.claim() == ()

    @law("run_queue", 4)
    async def test_a_claim_lives_while_it_is_extended(self, store: Store) -> None:
        """A claim lives while it is extended within its time to live; an expired claim is never revived."""
        await store.define(task())
        claim = await store.claim_new(run(task()))
        for _ in range(3):
            await store.advance(TTL - 10 * SECOND)
            assert await store.queue.extend([claim], TTL) == Extension(frozenset(), frozenset())
        await store.advance(TTL)
        for _ in range(2):
            assert await store.queue.extend([claim], TTL) == Extension(frozenset({claim}), frozenset())
        await store.reap(await store.lead(), TTL)
        assert not await store.extend_one(claim, TTL)
        assert not await store.extend_one(claim, HOUR)

    @law("run_queue", 5)
    async def test_only_the_holder_settles(self, store: Store) -> None:
        """Only its holder settles a claim, while it lives or is not reaped yet; a lost claim changes nothing."""
        term = await store.lead()
        await store.define(task())
        late = await store.claim_new(run(task(), "late"))
        await store.advance(2 * TTL)
        assert not await store.extend_one(late, TTL)
        assert await store.settle(late)

        settled = await store.claim_new(run(task(), "settled"))
        assert await store.settle(settled, Exhausted())
        released = await store.claim_new(run(task(), "released"))
        assert await store.release(released, HOUR, started=True)
        retried = await store.claim_new(run(task(), "retried"))
        assert await store.settle(retried, Retried(HOUR))
        reaped = await store.claim_new(run(task(), "reaped"))
        await store.advance(TTL)
        assert await store.reap(term, TTL) == (reaped,)
        [again] = await store.claim(OTHER)
        before = await store.state()
        for lost in (late, settled, released, retried, reaped):
            for outcome in (Succeeded(), Exhausted(), Cancelled(), Expired(), Retried(NOTHING)):
                assert not await store.settle(lost, outcome), (lost, outcome)
        assert await store.state() == before
        assert await store.settle(again)

    @law("run_queue", 6)
    async def test_a_settlement_is_one_step(self, store: Store) -> None:
        """A settlement ends the run, or lets it wait for its delay, and writes its line of history, in one step."""
        await store.define(task())
        failure = Failure(type="builtins.ValueError", message="no: “ü” \x00", traceback="line 1\n  line 2\n")
        outcomes: list[Outcome] = [Succeeded(), Exhausted(), Cancelled(), Expired(), Retried(HOUR)]
        statuses = ["succeeded", "failed", "cancelled", "expired", "retried"]
        for number, (outcome, status) in enumerate(zip(outcomes, map(AttemptStatus, statuses), strict=True)):
            claim = await store.claim_new(run(task(), f"{number}"))
            one = settlement(claim, outcome, failure=None if number == 0 else failure)
            assert await store.queue.settle([one]) == frozenset()
            newest = (await store.records(key()))[0]
            assert newest == one.record()
            assert newest.status is status
            assert not await store.extend_one(claim, TTL)

        [waiting] = await store.live(key())
        assert waiting.run == run(task(), "4").id
        assert (waiting.state, waiting.retrying, waiting.worker) == (RunState.WAITING, True, None)
        assert waiting.due_at is not None
        assert near(waiting.due_at, await store.now() + HOUR)

    @law("run_queue", 7)
    async def test_a_waiting_run_is_claimed_from_its_instant_on(self, store: Store) -> None:
        """A run that waits for its retry can be claimed from its instant on, with the next attempt number and one more
        failure."""
        await store.define(task())
        claim = await store.claim_new(run(task()))
        for number in range(1, 4):
            assert (claim.attempt, claim.failures) == (number, number - 1)
            assert await store.settle(claim, Retried(HOUR))
            assert await store.claim() == ()
            await store.advance(HOUR - MINUTE)
            assert await store.claim() == ()
            await store.advance(MINUTE)
            [claim] = await store.claim()
            assert claim.run == run(task())
        assert await store.settle(claim)
        assert await store.live(key()) == ()

    @law("run_queue", 8)
    async def test_a_released_run_is_queued_again_without_a_failure(self, store: Store) -> None:
        """Releasing a claim queues its run again after the delay, without a failure; the attempt counts only if it was
        started."""
        await store.define(task())
        claim = await store.claim_new(run(task()))
        attempt = 1
        for delay, started in ((NOTHING, False), (NOTHING, True), (HOUR, False), (HOUR, True), (HOUR, False)):
            assert await store.release(claim, delay, started=started)
            if delay:
                [waiting] = await store.live(key())
                assert (waiting.state, waiting.retrying, waiting.worker) == (RunState.WAITING, False, None)
                await store.advance(delay - MINUTE)
                assert await store.claim() == ()
                await store.advance(MINUTE)
            attempt += started
            [claim] = await store.claim()
            assert (claim.run, claim.attempt, claim.failures) == (run(task()), attempt, 0)
        assert await store.records(key()) == ()

    @law("run_queue", 9)
    async def test_the_runs_of_dead_workers_are_queued_again(self, store: Store) -> None:
        """Reaping queues the runs of expired claims again, unless their cancellation was requested, with the next
        attempt number and one more loss, which is no failure; it is fenced by the term and never touches a claim that
        lives."""
        older = await store.lead(LEADER, TTL)
        await store.define(task())
        silent = await store.claim_new(run(task(), "silent"))
        beating = await store.claim_new(run(task(), "beating"), OTHER)
        await store.advance(TTL - 10 * SECOND)
        assert await store.extend_one(beating, TTL)
        assert await store.reap(older, TTL) == ()
        await store.advance(10 * SECOND)
        fresh = await store.claim_new(run(task(), "fresh"))
        term = await store.lead()

        before = await store.state()
        assert await store.queue.reap(older, TTL, 10) == Fenced()
        assert await store.state() == before
        assert await store.reap(term, TTL) == (silent,)
        assert await store.reap(term, TTL) == ()
        [line] = await store.records(key())
        assert (line.run, line.attempt, line.status) == (silent.run.id, 1, AttemptStatus.LOST)
        assert (line.worker, line.token) == (WORKER, silent.token)

        [again] = await store.claim(OTHER)
        assert (again.run, again.attempt, again.failures, again.losses) == (silent.run, 2, 0, 1)
        for claim in (again, beating, fresh):
            assert await store.extend_one(claim, TTL)
            assert await store.settle(claim)

    @law("run_queue", 10)
    async def test_fencing_tokens_increase(self, store: Store) -> None:
        """Each claim has a fencing token of its own; within a run the tokens strictly increase."""
        term = await store.lead()
        await store.define(task())
        claim = await store.claim_new(run(task()))
        tokens = [claim.token]

        async def again() -> Claim:
            [claimed] = await store.claim()
            tokens.append(claimed.token)
            return claimed

        for _ in range(2):
            assert await store.release(claim)
            claim = await again()
            assert await store.release(claim, HOUR, started=True)
            await store.advance(HOUR)
            claim = await again()
            assert await store.settle(claim, Retried(NOTHING))
            claim = await again()
            assert await store.settle(claim, Retried(HOUR))
            assert await store.queue.promote([key()]) == 1
            claim = await again()
            await store.advance(TTL)
            assert await store.reap(term, TTL) == (claim,)
            claim = await again()
        assert tokens == sorted(set(tokens))
        await store.enqueue(*runs(task(), 20, "others"))
        others = [*await store.claim(), *await store.claim(OTHER)]
        assert len({one.token for one in others} | set(tokens)) == len(others) + len(tokens)

    @law("run_queue", 11)
    async def test_runs_are_cancelled(self, store: Store) -> None:
        """Cancelling a run that no worker runs ends it at once; the worker of a running run learns of the request with
        its next extension."""
        of = exclusive()
        await store.define(of)
        await store.define(task("other"))
        running = await store.claim_new(run(of, "running"))
        other = await store.claim_new(run(task("other"), "other"))
        await store.enqueue(run(of, "held"))
        assert await store.queue.cancel([(of.key, running.run.id), (of.key, run(of, "held").id)]) == (
            Cancelling.REQUESTED,
            Cancelling.CANCELLED,
        )
        [line] = await store.records(of.key)
        assert (line.run, line.status) == (run(of, "held").id, AttemptStatus.CANCELLED)
        [live] = await store.live(of.key)
        assert (live.run, live.state, live.cancelling) == (running.run.id, RunState.RUNNING, True)

        extension = await store.queue.extend([running, other], TTL)
        assert extension == Extension(frozenset(), frozenset({running}))
        assert await store.settle(running, Cancelled())
        assert [line.status for line in await store.records(of.key)] == [AttemptStatus.CANCELLED] * 2
        assert await store.live(of.key) == ()
        assert await store.claim() == ()

    @law("run_queue", 12)
    async def test_promoted_runs_can_be_claimed_now(self, store: Store) -> None:
        """Promoting makes the runs claimable now that wait for a retry or were released."""
        hasty, patient = task("hasty"), task("patient")
        for of in (hasty, patient):
            await store.define(of)
            await store.settle(await store.claim_new(run(of, "retried")), Retried(HOUR))
            await store.release(await store.claim_new(run(of, "released")), 2 * HOUR)
        assert await store.queue.promote([hasty.key, key("unknown")]) == 2
        claims = await store.claim()
        assert {claim.run for claim in claims} == {run(hasty, "retried"), run(hasty, "released")}
        assert {(claim.attempt, claim.failures) for claim in claims} == {(2, 1), (1, 0)}
        assert await store.queue.promote([hasty.key]) == 0
        await store.advance(2 * HOUR)
        assert len(await store.claim()) == 2

    @law("run_queue", 13)
    async def test_a_cancelled_run_is_not_tried_again(self, store: Store) -> None:
        """A run whose cancellation was requested is not tried again: a retry, a release or a lost claim ends it."""
        of, term = exclusive(), await store.lead()
        await store.define(of)
        for name in ("retried", "released", "postponed", "lost"):
            claim = await store.claim_new(run(of, name))
            await store.enqueue(run(of, f"after {name}"))
            assert await store.queue.cancel([(of.key, claim.run.id)]) == (Cancelling.REQUESTED,)
            if name == "retried":
                assert await store.settle(claim, Retried(MINUTE))
            elif name == "lost":
                await store.advance(MINUTE)
                assert await store.reap(term, MINUTE) == (claim,)
            else:
                assert await store.release(claim, MINUTE if name == "postponed" else NOTHING, started=True)
                line = (await store.records(of.key))[0]
                assert (line.run, line.attempt, line.status) == (claim.run.id, 1, AttemptStatus.CANCELLED)
                assert (line.worker, line.token) == (WORKER, claim.token)
            [following] = await store.claim()
            assert following.run == run(of, f"after {name}")
            assert [live.run for live in (await store.view(of.key)).live] == [following.run.id]
            assert await store.settle(following)

    @law("run_queue", 14)
    async def test_claims_whose_reply_was_lost_are_returned_again(self, store: Store) -> None:
        """A worker that names the claims it knows gets its other claims again: their reply was lost."""
        await store.define(task())
        await store.enqueue(*runs(task(), 4))
        [known] = await store.claim(WORKER, 1)
        lost = await store.claim(WORKER, 1)
        others = await store.claim(OTHER, 1)

        async with asyncio.timeout(10):
            again = await store.queue.claim(WORKER, 1, HOUR, known=[known])
        assert again == lost
        claims = await store.queue.claim(WORKER, 10, HOUR, known=[known])
        assert claims[:1] == lost
        assert [claim.run for claim in claims] == [lost[0].run, runs(task(), 4)[3]]
        assert await store.queue.claim(WORKER, 10, HOUR, known=[known, *claims]) == ()
        assert await store.queue.claim(OTHER, 10, HOUR, known=others) == ()
        for claim in (known, *claims, *others):
            assert await store.settle(claim)
        assert await store.queue.claim(WORKER, 10, HOUR, known=()) == ()

    @law("run_queue", 15)
    async def test_a_request_that_asks_for_something_else_is_refused(self, store: Store) -> None:
        """A request under the id of a remembered run that asks for something else is refused as a whole: none of its
        runs is queued."""
        of, other = task(), task("other")
        await store.define(of)
        await store.define(other)
        first, late = run(of, kwargs='{"number":1}'), run(other, kwargs='{"number":2}')
        assert await store.enqueue(first, asked="one") == (Enqueued.QUEUED,)
        refused = AskedOtherwise(frozenset({first.id}))
        for asked in ("two", ""):
            assert await store.queue.enqueue([late, run(of, kwargs='{"number":2}')], asked) == refused
            assert await store.live(other.key) == ()
        assert await store.enqueue(first, late, asked="one") == (Enqueued.DUPLICATE, Enqueued.QUEUED)
        assert [claim.run for claim in await store.claim()] == [first, late]

    @law("run_queue", 16)
    async def test_no_length_of_time_is_longer_by_a_clock_that_is_set_back(self, store: Store) -> None:
        """Claims, waits and the memory of requests end after their length, also if the store's clock is set back
        meanwhile."""
        term = await store.lead()
        await store.define(task())
        retried, postponed = [await store.claim_new(run(task(), name)) for name in ("retried", "postponed")]
        assert await store.settle(retried, Retried(2 * MINUTE))
        assert await store.release(postponed, 2 * MINUTE)
        silent, beating = [await store.claim_new(run(task(), name)) for name in ("silent", "beating")]
        await store.set_back(2 * REQUEST_MEMORY)
        now = await store.now()
        assert all(live.due_at is None or near(live.due_at, now + 2 * MINUTE) for live in await store.live(key()))
        await store.advance(MINUTE - 10 * SECOND)
        assert await store.extend_one(beating, MINUTE)
        await store.advance(10 * SECOND + SLACK)
        assert await store.reap(term, MINUTE) == (silent,)
        assert near((await store.records(key()))[0].started_at, now)
        assert [claim.run for claim in await store.claim()] == [silent.run]
        await store.advance(MINUTE)
        assert {claim.run for claim in await store.claim()} == {retried.run, postponed.run}
        assert await store.settle(beating)
        await store.advance(REQUEST_MEMORY)
        assert await store.enqueue(beating.run) == (Enqueued.QUEUED,)
