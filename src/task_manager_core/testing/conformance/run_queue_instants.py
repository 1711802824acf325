"""Tests of the laws of the run queue about time, to the millisecond.

The time of a store may run by itself, so the tests expect an instant between its time before a verb and after it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import AttemptStatus, Retried
from task_manager_core.ports import REPEAT_MEMORY, REQUEST_MEMORY, AskedOtherwise, Cancelling, Enqueued
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    MINUTE,
    NOTHING,
    ODD,
    TTL,
    WORKER,
    decision,
    exclusive,
    key,
    run,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import SLACK, Store, near

HALF_A_SECOND = timedelta(milliseconds=500)


class RunQueueInstants(Contract):
    @law("run_queue", 1)
    async def test_a_request_is_remembered_from_when_it_was_queued(self, store: Store) -> None:
        await store.define(task())
        assert await store.settle(await store.claim_new(run(task())))
        await store.advance(REQUEST_MEMORY / 2)
        assert await store.enqueue(run(task())) == (Enqueued.DUPLICATE,)
        await store.advance(REQUEST_MEMORY / 2)
        assert await store.enqueue(run(task())) == (Enqueued.QUEUED,)
        assert await store.settle((await store.claim())[0])
        assert await store.enqueue(run(task())) == (Enqueued.DUPLICATE,)

    @law("run_queue", 1)
    async def test_each_request_is_remembered_for_as_long_as_it_says(self, store: Store) -> None:
        await store.define(task())
        for name, memory in (("long", REQUEST_MEMORY), ("short", REPEAT_MEMORY), ("longer", REQUEST_MEMORY)):
            for _ in range(2):
                await store.enqueue(run(task(), name), memory=memory)
        ended, living = run(task(), "short"), run(task(), "living")
        for claim in await store.claim():
            assert await store.settle(claim)
        assert await store.enqueue(living, memory=REPEAT_MEMORY) == (Enqueued.QUEUED,)
        await store.advance(REPEAT_MEMORY - HALF_A_SECOND)
        assert await store.enqueue(ended, memory=REPEAT_MEMORY) == (Enqueued.DUPLICATE,)
        await store.advance(HALF_A_SECOND)
        assert await store.enqueue(living, memory=REPEAT_MEMORY) == (Enqueued.DUPLICATE,)
        assert await store.enqueue(ended, asked="again", memory=REPEAT_MEMORY) == (Enqueued.QUEUED,)
        others = run(task(), "long"), run(task(), "longer")
        assert await store.enqueue(*others) == (Enqueued.DUPLICATE, Enqueued.DUPLICATE)

    @law("run_queue", 1)
    async def test_a_request_is_forgotten_with_its_task(self, store: Store) -> None:
        await store.define(task())
        assert await store.settle(await store.claim_new(run(task(), "settled")))
        await store.enqueue(run(task(), "queued"))
        await store.catalogue.remove([key()])
        both = run(task(), "settled"), run(task(), "queued")
        assert await store.enqueue(*both) == (Enqueued.UNKNOWN_TASK, Enqueued.UNKNOWN_TASK)
        await store.define(task())
        assert await store.enqueue(*both) == (Enqueued.QUEUED, Enqueued.QUEUED)
        assert {claim.run for claim in await store.claim()} == set(both)

    @law("run_queue", 16)
    async def test_what_was_asked_is_remembered_as_long_as_the_request(self, store: Store) -> None:
        await store.define(task())
        assert await store.enqueue(run(task()), asked="one") == (Enqueued.QUEUED,)
        assert await store.settle((await store.claim())[0])
        await store.advance(REQUEST_MEMORY - HALF_A_SECOND)
        assert isinstance(await store.queue.enqueue([run(task())], "two"), AskedOtherwise)
        await store.advance(HALF_A_SECOND)
        assert await store.enqueue(run(task()), asked="two") == (Enqueued.QUEUED,)
        await store.catalogue.remove([key()])
        assert await store.enqueue(run(task()), asked="three") == (Enqueued.UNKNOWN_TASK,)
        await store.define(task())
        assert await store.enqueue(run(task()), asked="three") == (Enqueued.QUEUED,)

    @law("run_queue", 16)
    async def test_a_request_for_a_thousand_tasks_is_refused_whole(self, store: Store) -> None:
        tasks = [task(f"{number}") for number in range(1000)]
        for of in tasks:
            await store.define(of)
        *_, last = tasks
        assert await store.enqueue(run(last), asked="one") == (Enqueued.QUEUED,)
        refused = AskedOtherwise(frozenset({run(last).id}))
        assert await store.queue.enqueue([run(of) for of in tasks], "two") == refused
        assert (await store.history.snapshot()).queued == 1
        assert (await store.enqueue(*map(run, tasks), asked="one")).count(Enqueued.QUEUED) == 999

    @law("run_queue", 2)
    async def test_a_run_is_as_exclusive_as_the_definition_that_asked_for_it(self, store: Store) -> None:
        await store.define(task())
        assert await store.enqueue(run(task(), "1"), run(exclusive(), "2"), run(task(), "3")) == (
            Enqueued.QUEUED,
            Enqueued.HELD,
            Enqueued.QUEUED,
        )

    @law("run_queue", 3)
    @pytest.mark.parametrize("by", ["enqueue", "commit"])
    async def test_a_held_run_is_claimed_as_it_was_asked_for(self, store: Store, by: str) -> None:
        of = replace(exclusive(), priority=Priority.HIGH, kwargs='{"number":7}', timeout=MINUTE + ODD)
        slot, term = await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        await store.define(task("other"))
        first = await store.claim_new(run(of, "first"))
        await store.enqueue(run(task("other")))
        held = run(of, "held", kwargs='{"number":8}', version=version)
        if by == "enqueue":
            assert await store.enqueue(held) == (Enqueued.HELD,)
        else:
            held = of.run_of_slot(slot, version)
            assert await store.commit_one(term, decision(of, version, slot, hold=held, then=slot + HOUR))
        assert (await store.live(of.key))[-1].slot == held.slot
        assert await store.settle(first)
        assert [claim.run for claim in await store.claim()] == [held, run(task("other"))]

    @law("run_queue", 4)
    async def test_a_claim_that_is_returned_again_has_no_new_heartbeat(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        claim = await store.claim_new(run(task()))
        await store.advance(TTL - MINUTE / 4)
        assert await store.queue.claim(WORKER, 10, NOTHING, known=()) == (claim,)
        assert await store.queue.claim(WORKER, 10, NOTHING, known=[claim]) == ()
        await store.advance(MINUTE / 4)
        assert not await store.extend_one(claim, TTL)
        await store.queue.claim(WORKER, 10, NOTHING, known=())
        assert not await store.extend_one(claim, TTL)
        assert await store.reap(term, TTL) == (claim,)

    @law("run_queue", 4)
    @pytest.mark.parametrize("extended", [False, True], ids=["claimed", "extended"])
    async def test_a_claim_lives_to_the_end_of_its_time(self, store: Store, *, extended: bool) -> None:
        term, ttl = await store.lead(), TTL + HALF_A_SECOND
        await store.define(task())
        await store.advance(ODD)
        beat = await store.now()
        claim = await store.claim_new(run(task()))
        if extended:
            await store.advance(TTL / 2)
            beat = await store.now()
            assert await store.extend_one(claim, ttl)
        await store.advance(ttl - HALF_A_SECOND)
        reaped, lives = await store.reap(term, ttl), claim not in (await store.queue.extend([claim], ttl)).lost
        assert (reaped == () and lives) or await store.now() - beat >= ttl
        await store.advance(ttl)
        assert not await store.extend_one(claim, ttl)

    @law("run_queue", 9)
    @pytest.mark.parametrize("extended", [False, True], ids=["claimed", "extended"])
    async def test_a_claim_is_reaped_at_the_end_of_its_time(self, store: Store, *, extended: bool) -> None:
        term, ttl = await store.lead(), TTL + HALF_A_SECOND
        await store.define(task())
        await store.advance(ODD)
        claim = await store.claim_new(run(task()))
        if extended:
            await store.advance(TTL / 2)
            assert await store.extend_one(claim, ttl)
        await store.advance(ttl)
        assert await store.reap(term, ttl) == (claim,)

    @law("run_queue", 7)
    @pytest.mark.parametrize("delay", [ODD, HOUR + ODD], ids=str)
    async def test_a_delay_is_kept_to_the_millisecond(self, store: Store, delay: timedelta) -> None:
        await store.define(task())
        await store.advance(ODD)
        for number, part in enumerate((delay, delay + HALF_A_SECOND)):
            for back in ("retried", "released"):
                claim = await store.claim_new(run(task(), f"{back} {number}"))
                before = await store.now()
                await (store.settle(claim, Retried(part)) if back == "retried" else store.release(claim, part))
                after = await store.now()
                for live in await store.live(key()):
                    assert live.due_at is None or before + part <= live.due_at <= after + part, back
                early = await store.claim()
                assert early == () or await store.now() >= before + part, back
                await store.advance(part)
                [again] = early or await store.claim()
                assert await store.settle(again)

    @law("run_queue", 8)
    async def test_a_claim_that_expired_can_be_released_until_it_is_reaped(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        claim = await store.claim_new(run(task()))
        await store.advance(2 * TTL)
        assert await store.release(claim, started=True)
        assert await store.reap(term, TTL) == ()
        [claim] = await store.claim()
        assert (claim.attempt, claim.failures) == (2, 0)
        await store.advance(2 * TTL)
        assert await store.reap(term, TTL) == (claim,)
        assert not await store.release(claim)

    @law("run_queue", 13)
    async def test_the_line_of_a_cancelled_run_says_how_it_ended(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        expected: list[AttemptStatus] = []
        for how, status in (
            ("retried", AttemptStatus.RETRIED),
            ("released", AttemptStatus.CANCELLED),
            ("reaped", AttemptStatus.LOST),
        ):
            claim = await store.claim_new(run(task(), how))
            assert await store.queue.cancel([(key(), claim.run.id)]) == (Cancelling.REQUESTED,)
            if how == "retried":
                assert await store.settle(claim, Retried(HOUR))
            elif how == "released":
                assert await store.release(claim)
            else:
                await store.advance(TTL)
                assert await store.reap(term, TTL) == (claim,)
            expected.insert(0, status)
            lines = await store.records(key())
            assert [line.status for line in lines] == expected
            assert (lines[0].run, lines[0].attempt, lines[0].worker) == (claim.run.id, 1, WORKER)
            assert lines[0].token == claim.token
            assert await store.live(key()) == ()

    @law("run_queue", 16)
    async def test_a_clock_that_is_set_back_again_and_again_lengthens_nothing(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        claim = await store.claim_new(run(task()))
        for _ in range(4):
            before = await store.now()
            await store.set_back(HOUR)
            assert near(await store.now(), before - HOUR), "this harness did not set the clock back"
            await store.advance(TTL / 4)
        await store.advance(SLACK)
        assert await store.reap(term, TTL) == (claim,)
