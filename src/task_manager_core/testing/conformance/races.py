"""Tests of verbs at the same time: of verbs that exclude each other only one takes effect."""

from __future__ import annotations

import asyncio
from collections import Counter

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.run import AttemptStatus, Retried, Run, Succeeded
from task_manager_core.ports import Cancelling, Conflict, Enqueued
from task_manager_core.testing.conformance.catalogue import CatalogueReader
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    MINUTE,
    NOTHING,
    TTL,
    decision,
    definition,
    exclusive,
    key,
    run,
    runs,
    settlement,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store

RIVALS = range(8)


class RaceContract(Contract):
    @law("catalogue", 2)
    async def test_of_many_writers_that_saw_the_same_version_one_writes(self, store: Store) -> None:
        version = await store.define(task())
        changes = [definition(task(description=f"{number}"), expected=version) for number in RIVALS]
        answers = await asyncio.gather(*(store.catalogue.put([change]) for change in changes))
        [version] = [answer for (answer,) in answers if isinstance(answer, int)]
        assert {answer for (answer,) in answers} == {version, Conflict(version)}
        assert (await store.view(key())).version == version

    @law("dispatch", 2)
    async def test_of_many_decisions_about_one_slot_one_is_kept(self, store: Store) -> None:
        of, slot, term = task(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        dispatch = decision(of, version, slot, dispatch=[of.run_of_slot(slot, version)], then=slot + HOUR)
        skip = decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR)
        kept = await asyncio.gather(*(store.commit_one(term, skip if number % 2 else dispatch) for number in RIVALS))
        assert kept.count(True) == 1
        assert len(await store.claim()) + len(await store.history.skips(key(), 10)) == 1

    @law("run_queue", 1)
    async def test_of_many_equal_requests_one_is_queued(self, store: Store) -> None:
        await store.define(task())
        answers = await asyncio.gather(*(store.enqueue(run(task())) for _ in RIVALS))
        assert Counter(answers) == {(Enqueued.QUEUED,): 1, (Enqueued.DUPLICATE,): len(RIVALS) - 1}
        assert len(await store.claim()) == 1

    @law("run_queue", 2)
    async def test_of_many_exclusive_runs_one_is_queued(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        many = runs(of, len(RIVALS))
        answers = await asyncio.gather(*(store.enqueue(one) for one in many))
        assert Counter(answers) == {(Enqueued.QUEUED,): 1, (Enqueued.HELD,): len(RIVALS) - 1}
        ended: list[Run] = []
        for _ in RIVALS:
            [claim] = await store.claim()
            ended.append(claim.run)
            assert await store.settle(claim)
        assert set(ended) == set(many)

    @law("dispatch", 4)
    async def test_a_slot_and_a_request_do_not_overlap(self, store: Store) -> None:
        of, slot, term = exclusive(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        dispatch = decision(of, version, slot, dispatch=[of.run_of_slot(slot, version)], then=slot + HOUR)
        kept, answers = await asyncio.gather(store.commit_one(term, dispatch), store.enqueue(run(of)))
        assert answers == ((Enqueued.HELD,) if kept else (Enqueued.QUEUED,))
        assert len(await store.claim()) == 1

    @law("run_queue", 5)
    async def test_of_many_settlements_of_a_claim_one_counts(self, store: Store) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        settled = [settlement(claim, Retried(NOTHING) if number % 2 else Succeeded()) for number in RIVALS]
        lost = await asyncio.gather(*(store.queue.settle([one]) for one in settled))
        assert lost.count(frozenset()) == 1
        assert len(await store.records(key())) == 1

    @law("run_queue", 9)
    async def test_a_claim_is_reaped_or_settled_but_not_both(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        await store.enqueue(*runs(task(), 6))
        claims = await store.claim()
        await store.advance(TTL)
        reaping = asyncio.ensure_future(store.reap(term, TTL))
        settled = await asyncio.gather(*(store.settle(claim) for claim in (*claims, *claims)))
        reaped = await reaping
        assert len(reaped) + settled.count(True) == len(claims)
        assert [line.status for line in await store.records(key())].count(AttemptStatus.LOST) == len(reaped)
        assert {claim.run for claim in await store.claim()} == {claim.run for claim in reaped}

    @law("run_queue", 9)
    async def test_of_many_leaders_that_reap_each_claim_is_reaped_once(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        await store.enqueue(*runs(task(), 6))
        claims = await store.claim()
        await store.advance(TTL)
        reaped = await asyncio.gather(*(store.reap(term, TTL) for _ in RIVALS))
        assert Counter(claim for step in reaped for claim in step) == Counter(claims)
        assert {(claim.attempt, claim.losses) for claim in await store.claim()} == {(2, 1)}

    @law("run_queue", 11)
    async def test_a_run_is_claimed_or_cancelled_but_does_not_vanish(self, store: Store) -> None:
        await store.define(task())
        many = runs(task(), 10)
        await store.enqueue(*many)
        workers = [NodeId(f"worker {number}") for number in RIVALS]
        cancelling = asyncio.ensure_future(store.queue.cancel([(key(), one.id) for one in many[::2]]))
        claimed = await asyncio.gather(*(store.claim(worker, 1) for worker in workers))
        answers = await cancelling
        running = {claim.run.id for claims in claimed for claim in claims}
        ended = {one.id for one, answer in zip(many[::2], answers, strict=True) if answer is Cancelling.CANCELLED}
        assert Cancelling.NOT_LIVE not in answers
        assert not running & ended
        assert {line.run for line in await store.records(key())} == ended
        assert {live.run for live in await store.live(key())} == {one.id for one in many} - ended

    @law("catalogue", 7)
    async def test_a_reader_that_follows_many_writers_misses_no_change(self, store: Store) -> None:
        reader, rounds = CatalogueReader(store), range(8)

        async def write(writer: int) -> None:
            for number in rounds:
                await store.define(task(f"{writer} {number}"))

        writing = [asyncio.ensure_future(write(writer)) for writer in RIVALS]
        while not all(one.done() for one in writing):
            await reader.catch_up()
            await asyncio.sleep(0)
        await asyncio.gather(*writing)
        await reader.catch_up()
        assert len(reader.knows()[0]) == len(RIVALS) * len(rounds)
        assert reader.knows() == await CatalogueReader.of_everything(store)
