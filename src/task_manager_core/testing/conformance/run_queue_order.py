"""Tests of the laws about requests, held runs and order in situations where a store easily breaks them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy
from task_manager_core.domain.run import Cancelled, Exhausted, Expired, Outcome, Retried, RunState, Succeeded
from task_manager_core.domain.task import canonical_kwargs
from task_manager_core.ports import REQUEST_MEMORY, Cancelling, Enqueued, Extension
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    NOTHING,
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
from task_manager_core.testing.conformance.store import Store

ODD_KWARGS: dict[str, dict[str, object]] = {
    "empty list and empty object": {"list": [], "object": {}, "both": [[], {}, [{}]]},
    "large and small numbers": {"large": 2**63, "odd": 2**53 + 1, "negative": -(2**60) - 1, "tiny": 5e-324, "e": 1e308},
    "fractions": {"tenth": 0.1, "whole": 1.0, "minus": -0.0, "sixteen": 0.12345678901234567},
    "nothing": {"null": None, "true": True, "false": False, "text": ""},
    "text": {
        "quotes": "\"'`",
        "control": "\x00\x1f\x7f\n\r\t",
        "lines": "\u2028\u2029",
        "faces": "🙂é\u0301",
        "\\": "\\\\",
    },
    "names": {"": 1, " ": 2, "a:b": 3, "{a}": 4, "ключ": 5, "v": 6, "id": 7},
    "depth": {"a": {"b": {"c": {"d": [[[[[[1]]]]]]}}}},
    "length": {"text": "ü" * 90_000},
}


class RunQueueOrder(Contract):
    # -- 1: requests --------------------------------------------------------------------------------------------------

    @law("run_queue", 1)
    async def test_a_run_that_still_lives_is_not_enqueued_again_however_old_it_is(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        await store.enqueue(run(of, "queued"), run(of, "held"))
        await store.advance(2 * REQUEST_MEMORY)
        assert set(await store.enqueue(run(of, "queued"), run(of, "held"))) == {Enqueued.DUPLICATE}
        for request in ("queued", "held"):
            [claim] = await store.claim()
            assert claim.run == run(of, request)
            assert await store.enqueue(claim.run) == (Enqueued.DUPLICATE,)
            assert await store.settle(claim)
        assert await store.live(of.key) == ()

    @law("run_queue", 1)
    async def test_one_request_may_ask_for_runs_of_several_tasks(self, store: Store) -> None:
        for name in "ab":
            await store.define(task(name))
        both = run(task("a")), run(task("b"))
        assert await store.enqueue(*both) == (Enqueued.QUEUED, Enqueued.QUEUED)
        assert await store.enqueue(*both) == (Enqueued.DUPLICATE, Enqueued.DUPLICATE)

    @law("run_queue", 1)
    async def test_a_cancelled_request_stays_remembered(self, store: Store) -> None:
        await store.define(task())
        await store.enqueue(run(task()))
        await store.queue.cancel([(key(), run(task()).id)])
        assert await store.enqueue(run(task())) == (Enqueued.DUPLICATE,)

    @law("run_queue", 1)
    async def test_a_triggered_run_does_not_ask_for_a_pause(self, store: Store) -> None:
        await store.define(task())
        await store.dispatch.pause([key()])
        assert await store.enqueue(run(task())) == (Enqueued.QUEUED,)
        assert len(await store.claim()) == 1

    # -- 2: holding ---------------------------------------------------------------------------------------------------

    @law("run_queue", 2)
    @pytest.mark.parametrize(
        "outcome", [Succeeded(), Exhausted(), Cancelled(), Expired()], ids=lambda one: type(one).__name__
    )
    async def test_a_held_run_is_queued_when_the_other_is_settled(self, store: Store, outcome: Outcome) -> None:
        of = exclusive()
        await store.define(of)
        claim = await store.claim_new(run(of, "first"))
        await store.enqueue(run(of, "second"))
        assert await store.settle(claim, outcome)
        [claim] = await store.claim()
        assert (claim.run, claim.attempt, claim.failures) == (run(of, "second"), 1, 0)

    @law("run_queue", 2)
    @pytest.mark.parametrize("place", ["queued", "retrying", "paused"])
    async def test_a_held_run_is_queued_when_the_other_is_cancelled(self, store: Store, place: str) -> None:
        of = exclusive()
        await store.define(of)
        await store.enqueue(run(of, "first"), run(of, "second"))
        if place != "queued":
            [claim] = await store.claim()
            assert await (store.settle(claim, Retried(HOUR)) if place == "retrying" else store.release(claim, HOUR))
        assert await store.queue.cancel([(of.key, run(of, "first").id)]) == (Cancelling.CANCELLED,)
        assert [claim.run for claim in await store.claim()] == [run(of, "second")]
        await store.advance(HOUR)
        assert await store.claim() == ()

    @law("run_queue", 2)
    async def test_a_held_run_stays_while_the_other_waits_and_runs_again(self, store: Store) -> None:
        of, term = exclusive(), await store.lead()
        await store.define(of)
        claim = await store.claim_new(run(of, "first"))
        await store.enqueue(run(of, "second"))
        for number in range(4):
            if number == 0:
                await store.release(claim)
            elif number == 1:
                await store.release(claim, HOUR, started=True)
            elif number == 2:
                await store.settle(claim, Retried(HOUR))
            else:
                await store.advance(TTL)
                assert len(await store.reap(term, TTL)) == 1
            assert (await store.states(of.key))[run(of, "second").id.value] is RunState.HELD, number
            await store.advance(HOUR)
            [claim] = await store.claim()
            assert claim.run == run(of, "first")
        # The run has lost too many workers. The worker that claims it settles it and does not execute it.
        assert (claim.attempt, claim.failures, claim.losses) == (4, 1, 1)
        assert await store.settle(claim, Exhausted())
        assert [claim.run for claim in await store.claim()] == [run(of, "second")]

    @law("run_queue", 2)
    async def test_a_cancelled_held_run_is_passed_over(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        claim = await store.claim_new(run(of, "first"))
        await store.enqueue(run(of, "second"), run(of, "third"))
        assert await store.queue.cancel([(of.key, run(of, "second").id)]) == (Cancelling.CANCELLED,)
        assert await store.settle(claim)
        assert [claim.run for claim in await store.claim()] == [run(of, "third")]

    @law("run_queue", 2)
    async def test_only_runs_of_the_same_task_hold_each_other(self, store: Store) -> None:
        for name in "ab":
            await store.define(exclusive(name))
        assert await store.enqueue(run(exclusive("a")), run(exclusive("b"))) == (Enqueued.QUEUED, Enqueued.QUEUED)
        assert await store.enqueue(run(exclusive("a"), "2")) == (Enqueued.HELD,)
        a, b = await store.claim()
        assert await store.settle(b)
        assert await store.claim() == ()
        assert await store.settle(a)
        assert len(await store.claim()) == 1

    @law("run_queue", 2)
    @pytest.mark.parametrize("ends", ["settled", "cancelled", "released", "reaped"])
    async def test_a_held_run_waits_for_every_other_one(self, store: Store, ends: str) -> None:
        await store.define(task())
        first, second, third = [await store.claim_new(run(task(), name)) for name in ("first", "second", "third")]
        assert await store.enqueue(run(exclusive(), "held")) == (Enqueued.HELD,)
        if ends == "settled":
            assert await store.settle(first)
        elif ends == "cancelled":
            assert await store.release(first, HOUR)
            assert await store.queue.cancel([(key(), first.run.id)]) == (Cancelling.CANCELLED,)
        else:
            assert await store.queue.cancel([(key(), first.run.id)]) == (Cancelling.REQUESTED,)
            if ends == "released":
                assert await store.release(first)
            else:
                await store.advance(TTL)
                assert await store.queue.extend([second, third], 2 * TTL) == Extension(frozenset(), frozenset())
                assert await store.reap(await store.lead(), TTL) == (first,)
        for claim in (second, third):
            assert (await store.states(key()))[run(task(), "held").id.value] is RunState.HELD
            assert await store.claim() == ()
            assert await store.settle(claim)
        assert [claim.run for claim in await store.claim()] == [run(exclusive(), "held")]

    @law("run_queue", 2)
    @pytest.mark.parametrize("place", ["queued", "claimed", "retrying", "paused"])
    async def test_every_live_run_takes_a_place_of_the_limit(self, store: Store, place: str) -> None:
        of = limited(2)
        await store.define(of)
        first, second, third = runs(of, 3)
        assert await store.enqueue(first, second, third) == (Enqueued.QUEUED, Enqueued.QUEUED, Enqueued.HELD)
        claims = await store.claim(WORKER, 0 if place == "queued" else 2)
        if place == "retrying":
            assert await store.settle(claims[0], Retried(HOUR))
        elif place == "paused":
            assert await store.release(claims[0], HOUR)
        assert (await store.states(of.key))[third.id.value] is RunState.HELD
        if place == "claimed":
            assert await store.settle(claims[0])
        else:
            assert await store.queue.cancel([(of.key, first.id)]) == (Cancelling.CANCELLED,)
        assert (await store.states(of.key))[third.id.value] is RunState.QUEUED

    @law("run_queue", 2)
    async def test_held_runs_with_other_limits_are_queued_one_by_one_and_in_their_order(self, store: Store) -> None:
        # Versions of the task differ in their limits. Each run brings the limit of the version that asked for it.
        await store.define(task())
        live = [await store.claim_new(run(task(), name)) for name in ("a", "b", "c")]
        held = [run(limited(1), "one"), run(limited(3), "three"), run(limited(3), "four")]
        assert await store.enqueue(*held) == (Enqueued.HELD,) * 3
        for claim in live[:2]:
            assert await store.settle(claim)
            assert await store.claim() == (), "the first held run waits for every other run"
        assert await store.queue.cancel([(key(), held[0].id)]) == (Cancelling.CANCELLED,)
        assert [claim.run for claim in await store.claim()] == held[1:2]
        assert (await store.states(key()))[held[2].id.value] is RunState.HELD
        assert await store.settle(live[2])
        assert [claim.run for claim in await store.claim()] == held[2:]

    @law("run_queue", 2)
    async def test_arguments_that_look_like_a_limit_are_none(self, store: Store) -> None:
        of = replace(exclusive(), kwargs='{"a":",\\"max_instances\\":9","max_instances":9}')
        await store.define(of)
        claim = await store.claim_new(run(task(), "first"))
        await store.claim_new(run(task(), "second"))
        assert await store.enqueue(run(of)) == (Enqueued.HELD,)
        assert await store.settle(claim)
        assert await store.claim() == ()

    @law("run_queue", 2)
    async def test_a_request_is_held_under_both_exclusive_overlap_policies(self, store: Store) -> None:
        expected = {
            Overlap.ALLOW: Enqueued.QUEUED,
            Overlap.BUFFER_ONE: Enqueued.HELD,
            Overlap.SKIP: Enqueued.HELD,
        }
        for overlap, second in expected.items():
            of = task(overlap.value, overlap=overlap)
            await store.define(of)
            assert await store.enqueue(*runs(of, 2)) == (Enqueued.QUEUED, second)

    # -- 3: claiming --------------------------------------------------------------------------------------------------

    @law("run_queue", 3)
    async def test_workers_that_claim_at_once_share_what_there_is(self, store: Store) -> None:
        await store.define(task())
        queued = runs(task(), 60)
        await store.enqueue(*queued)
        workers = [NodeId(f"worker {number}") for number in range(8)]
        claimed = await asyncio.gather(*(store.claim(worker, 10) for worker in workers))
        everything = [claim.run for claims in claimed for claim in claims]
        assert len(everything) == 60
        assert set(everything) == set(queued)
        assert max(len(claims) for claims in claimed) <= 10

    @law("run_queue", 3)
    async def test_the_line_is_kept_across_retries_releases_and_reaping(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task("low"))
        await store.define(task("high", priority=Priority.HIGH))
        low, high = task("low"), task("high", priority=Priority.HIGH)
        first = await store.claim_new(run(low, "reaped"))
        second = await store.claim_new(run(high, "released"))
        await store.enqueue(run(low, "queued"))
        await store.advance(TTL)
        assert await store.reap(term, TTL, 1) in {(first,), (second,)}
        assert len(await store.reap(term, TTL, 10)) == 1
        claims = await store.claim()
        assert [claim.run for claim in claims] == [run(high, "released"), run(low, "queued"), run(low, "reaped")]

    @law("run_queue", 3)
    async def test_runs_that_waited_are_claimed_in_the_order_of_their_instants(self, store: Store) -> None:
        await store.define(task())
        for number, delay in enumerate((3 * HOUR, HOUR, 2 * HOUR)):
            await store.settle(await store.claim_new(run(task(), f"{number}")), Retried(delay))
        await store.advance(4 * HOUR)
        assert [claim.run for claim in await store.claim()] == [run(task(), number) for number in "120"]

    @law("run_queue", 3)
    @pytest.mark.parametrize("back", ["retried", "released", "promoted"])
    async def test_a_run_that_waited_keeps_its_priority(self, store: Store, back: str) -> None:
        low, high = task("low"), task("high", priority=Priority.HIGH)
        for of in (low, high):
            await store.define(of)
        claim = await store.claim_new(run(high, "waited"))
        await (store.release(claim, HOUR) if back == "released" else store.settle(claim, Retried(HOUR)))
        await store.enqueue(run(low, "low"))
        if back == "promoted":
            assert await store.queue.promote([high.key]) == 1
        else:
            await store.advance(HOUR)
        assert [claim.run for claim in await store.claim()] == [run(high, "waited"), run(low, "low")]

    @law("run_queue", 3)
    async def test_big_batches_keep_their_order(self, store: Store) -> None:
        await store.define(task())
        queued = runs(task(), 300)
        assert set(await store.enqueue(*queued)) == {Enqueued.QUEUED}
        assert (await store.history.snapshot()).queued == 300
        claims = await store.claim(WORKER, 300)
        assert [claim.run for claim in claims] == list(queued)
        assert await store.queue.extend(claims, TTL) == Extension(frozenset(), frozenset())
        assert await store.queue.settle([settlement(claim) for claim in claims]) == frozenset()
        assert await store.live(key()) == ()

    @law("run_queue", 3)
    @pytest.mark.parametrize("kwargs", ODD_KWARGS.values(), ids=ODD_KWARGS.keys())
    async def test_a_run_is_claimed_as_it_was_enqueued(self, store: Store, kwargs: dict[str, object]) -> None:
        retry = RetryPolicy(
            initial=timedelta(milliseconds=1),
            maximum=30 * DAY,
            multiplier=1.1,
            jitter=0.3,
            max_retries=0,
            retry_on=("a.B", "c.D"),
            no_retry_on=("e.F",),
        )
        of = task(kwargs=kwargs, retry=retry, priority=Priority.HIGH)
        version = await store.define(of)
        asked = replace(run(of, version=version), timeout=timedelta(milliseconds=1))
        assert await store.enqueue(asked) == (Enqueued.QUEUED,)
        [claim] = await store.claim()
        assert claim.run == asked
        assert claim.run.kwargs == canonical_kwargs(kwargs)
        assert await store.settle(claim, Retried(NOTHING))
        [claim] = await store.claim()
        assert claim.run == asked

    # -- 12: promoting ------------------------------------------------------------------------------------------------

    @law("run_queue", 12)
    async def test_promoting_leaves_what_is_spared(self, store: Store) -> None:
        of, other = task(), task("other")
        for one in (of, other):
            await store.define(one)
            for name in ("first", "second"):
                await store.settle(await store.claim_new(run(one, name)), Retried(HOUR))
        spared = [(of.key, run(of, "first").id), (key("unknown"), run(task("unknown")).id)]
        assert await store.queue.promote([of.key, other.key], spared) == 3
        claimed = {claim.run for claim in await store.claim()}
        assert claimed == {run(of, "second"), run(other, "first"), run(other, "second")}
