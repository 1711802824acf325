"""Verbs at the same time: a verb is one step, so of two that exclude each other one takes effect."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import Held, Term
from task_manager_core.domain.run import AttemptStatus, Retried, Run, Succeeded
from task_manager_core.domain.task import Task
from task_manager_core.ports import Cancelling, Conflict, Enqueued
from task_manager_core.testing.conformance.build import (
    HOUR,
    LEADER,
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
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store

RIVALS = range(8)

TURNS = range(5)
"""How long after the beginning of one verb another one comes, in turns of the event loop: where a verb that is not one
step may stand still."""


def meetings() -> Iterator[tuple[int, bool]]:
    """When two verbs meet, and which of them begins first."""
    for turns in TURNS:
        yield turns, False
        yield turns, True


class RaceContract(Contract):
    @law("catalogue", 2)
    async def test_of_many_writers_that_saw_the_same_version_one_writes(self, store: Store) -> None:
        version = await store.define(task())
        changes = [definition(task(description=f"{number}"), expected=version) for number in RIVALS]
        answers = await asyncio.gather(*(store.catalogue.put([change]) for change in changes))
        [written] = [answer for (answer,) in answers if isinstance(answer, int)]
        assert {answer for (answer,) in answers} == {written, Conflict(written)}
        assert (await store.view(key())).version == written

    @law("schedule", 2)
    async def test_of_many_decisions_about_one_slot_one_is_kept(self, store: Store) -> None:
        of, slot, term = task(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        fire = decision(of, version, slot, fire=[of.run_of_slot(slot, version)], then=slot + HOUR)
        skip = decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR)
        kept = await asyncio.gather(*(store.kept(term, skip if number % 2 else fire) for number in RIVALS))
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

    @law("schedule", 4)
    async def test_a_slot_and_a_request_do_not_overlap(self, store: Store) -> None:
        of, slot, term = exclusive(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        fire = decision(of, version, slot, fire=[of.run_of_slot(slot, version)], then=slot + HOUR)
        kept, answers = await asyncio.gather(store.kept(term, fire), store.enqueue(run(of)))
        assert answers == ((Enqueued.HELD,) if kept else (Enqueued.QUEUED,))
        assert len(await store.claim()) == 1

    @law("run_queue", 5)
    async def test_of_many_settlements_of_a_claim_one_counts(self, store: Store) -> None:
        await store.define(task())
        claim = await store.take(run(task()))
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
    async def test_of_many_leaders_that_reap_each_claim_is_put_back_once(self, store: Store) -> None:
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

    # -- one verb amid another: what was looked at a moment ago is not written back -----------------------------------

    @law("leadership", 6)
    async def test_a_renewal_amid_a_change_of_hands_changes_nothing(self, store: Store) -> None:
        for turns in TURNS:
            for one in ("renew", "resign"):
                term = await store.lead(LEADER, TTL)
                repeated = store.leadership.renew(term, 10 * TTL) if one == "renew" else store.leadership.resign(term)

                async def change_hands(term: Term = term) -> Term:
                    await store.leadership.resign(term)
                    return await store.lead(NodeId("successor"), TTL)

                _, successor = await store.amid(repeated, change_hands(), turns)
                assert await store.term() == successor, (one, turns)
                held = await store.leadership.campaign(LEADER, TTL)
                assert isinstance(held, Held)
                assert held.remaining <= TTL
                assert await store.leadership.resign(successor)

    @law("schedule", 7)
    @pytest.mark.parametrize("verb", ["commit", "retire", "reap"])
    async def test_nothing_is_written_after_the_resignation_was_answered(self, store: Store, verb: str) -> None:
        slot = await store.slot(-MINUTE)
        tasks = [task(name) for name in "abc"]
        versions = [await store.define(of, slot) for of in tasks]
        await store.enqueue(*(run(of) for of in tasks))
        await store.claim()
        await store.advance(TTL)
        for turns in TURNS:
            term = await store.lead(LEADER, TTL)
            decisions = [
                decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR)
                for of, version in zip(tasks, versions, strict=True)
            ]
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "commit": partial(store.schedule.commit, term, decisions),
                "retire": partial(store.catalogue.retire, term, [of.key for of in tasks]),
                "reap": partial(store.queue.reap, term, TTL, 10),
            }

            async def resign_and_look(term: Term = term) -> object:
                assert await store.leadership.resign(term)
                return await store.picture()

            _, seen = await store.amid(verbs[verb](), resign_and_look(), turns)
            assert await store.picture() == seen, turns

    @law("schedule", 9)
    @pytest.mark.parametrize("other", ["put", "commit"])
    @pytest.mark.parametrize("verb", ["pause", "resume"])
    async def test_a_pause_or_its_end_undoes_no_other_change(self, store: Store, verb: str, other: str) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        for turns, swapped in meetings():
            of = task(f"{turns} {swapped}")
            version = await store.define(of, slot)
            changed = definition(task(of.key.name, description="new"), expected=version, replan=False)
            skip = decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR)
            change: Awaitable[object] = store.catalogue.put([changed]) if other == "put" else store.kept(term, skip)
            if verb == "resume":
                await store.schedule.pause([of.key])
            pause = store.schedule.pause([of.key]) if verb == "pause" else store.schedule.resume([of.key])
            await (store.amid(change, pause, turns) if swapped else store.amid(pause, change, turns))
            view = await store.view(of.key)
            assert view.paused is (verb == "pause"), (turns, swapped)
            assert (view.version > version) is (other == "put"), (turns, swapped)
            assert bool(view.skipped) is (other == "commit"), (turns, swapped)

    @law("schedule", 3)
    async def test_nothing_is_dispatched_after_the_pause_was_answered(self, store: Store) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        for turns in TURNS:
            of = task(f"{turns}")
            version = await store.define(of, slot)
            fire = decision(of, version, slot, fire=[of.run_of_slot(slot, version)], then=slot + HOUR)

            async def pause_and_look(key: TaskKey = of.key) -> object:
                await store.schedule.pause([key])
                return await store.picture()

            _, seen = await store.amid(store.kept(term, fire), pause_and_look(), turns)
            assert await store.picture() == seen, turns

    @law("catalogue", 11)
    async def test_a_slot_is_given_up_or_decided_but_not_both(self, store: Store) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        for turns, swapped in meetings():
            of = task(f"{turns} {swapped}")
            version = await store.define(of, slot)
            changed = task(of.key.name, description="new")
            give_up = store.catalogue.put(
                [definition(changed, expected=version, slot=slot + HOUR, skips=[skipped(slot)])]
            )
            decide = store.kept(term, decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR))
            await (store.amid(decide, give_up, turns) if swapped else store.amid(give_up, decide, turns))
            assert sum((await store.view(of.key)).skipped.values()) == 1, (turns, swapped)

    @law("catalogue", 6)
    @pytest.mark.parametrize("verb", ["enqueue", "settle", "release", "hasten"])
    async def test_nothing_of_a_removed_task_comes_back(self, store: Store, verb: str) -> None:
        of = task()
        for turns in TURNS:
            await store.define(of)
            await store.settle(await store.take(run(of, f"waiting {turns}")), Retried(HOUR))
            claim = await store.take(run(of, f"{turns}"))
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "enqueue": partial(store.enqueue, run(of, f"late {turns}")),
                "settle": partial(store.settle, claim, Retried(NOTHING)),
                "release": partial(store.release, claim),
                "hasten": partial(store.queue.hasten, [of.key]),
            }
            _, removed = await store.amid(verbs[verb](), store.catalogue.remove([of.key]), turns)
            assert removed == {of.key}
            snapshot = await store.history.snapshot()
            assert (snapshot.tasks, snapshot.queued) == ((), 0), turns
            await store.define(of)
            assert await store.claim() == (), turns
            assert (await store.live(of.key), await store.records(of.key)) == ((), ()), turns
            await store.catalogue.remove([of.key])

    @law("run_queue", 2)
    async def test_a_run_is_not_held_behind_one_that_has_just_ended(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        for turns, swapped in meetings():
            claim = await store.take(run(of, f"first {turns} {swapped}"))
            enqueue, settle = store.enqueue(run(of, f"second {turns} {swapped}")), store.settle(claim)
            await (store.amid(settle, enqueue, turns) if swapped else store.amid(enqueue, settle, turns))
            [following] = await store.claim()
            assert await store.settle(following), (turns, swapped)

    @law("run_queue", 4)
    @pytest.mark.parametrize("verb", ["settle", "release"])
    async def test_a_heartbeat_brings_no_claim_back(self, store: Store, verb: str) -> None:
        await store.define(task())
        for turns, swapped in meetings():
            claim = await store.take(run(task(), f"{turns} {swapped}"))
            beat = store.queue.extend([claim], TTL)
            end = store.settle(claim) if verb == "settle" else store.release(claim)
            await (store.amid(end, beat, turns) if swapped else store.amid(beat, end, turns))
            again = await store.claim(NodeId("other"))
            assert len(again) == (verb == "release"), (turns, swapped)
            assert not await store.alive(claim, TTL), (turns, swapped)
            assert {live.run for live in await store.live(key())} == {other.run.id for other in again}
            assert not await store.queue.settle([settlement(other) for other in again])

    @law("run_queue", 8)
    async def test_a_claim_is_settled_or_released_but_not_both(self, store: Store) -> None:
        await store.define(task())
        for turns, swapped in meetings():
            claim = await store.take(run(task(), f"{turns} {swapped}"))
            settle, release = store.settle(claim), store.release(claim, started=True)
            answers = await (store.amid(release, settle, turns) if swapped else store.amid(settle, release, turns))
            released = answers[0 if swapped else 1]
            assert sum(answers) == 1, (turns, swapped)
            again = await store.claim()
            assert [other.attempt for other in again] == [2] * released, (turns, swapped)
            assert not await store.queue.settle([settlement(other) for other in again])

    @law("run_queue", 11)
    async def test_a_heartbeat_forgets_no_wish_to_cancel(self, store: Store) -> None:
        await store.define(task())
        for turns, swapped in meetings():
            claim = await store.take(run(task(), f"{turns} {swapped}"))
            beat, cancel = store.queue.extend([claim], TTL), store.queue.cancel([(key(), claim.run.id)])
            await (store.amid(cancel, beat, turns) if swapped else store.amid(beat, cancel, turns))
            assert (await store.queue.extend([claim], TTL)).cancelling == {claim}, (turns, swapped)
            assert await store.settle(claim)

    @law("run_queue", 13)
    @pytest.mark.parametrize("verb", ["retry", "release", "put off", "hasten"])
    async def test_a_run_that_is_cancelled_on_its_way_back_ends(self, store: Store, verb: str) -> None:
        await store.define(task())
        for turns, swapped in meetings():
            claim = await store.take(run(task(), f"{turns} {swapped}"))
            if verb == "hasten":
                await store.settle(claim, Retried(HOUR))
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "retry": partial(store.settle, claim, Retried(NOTHING)),
                "release": partial(store.release, claim),
                "put off": partial(store.release, claim, HOUR),
                "hasten": partial(store.queue.hasten, [key()]),
            }
            back, cancel = verbs[verb](), store.queue.cancel([(key(), claim.run.id)])
            await (store.amid(cancel, back, turns) if swapped else store.amid(back, cancel, turns))
            assert await store.live(key()) == (), (turns, swapped)
            assert await store.claim() == (), (turns, swapped)

    @law("history", 5)
    async def test_a_snapshot_shows_one_instant(self, store: Store) -> None:
        tasks = [task(name) for name in "abcd"]
        for of in tasks:
            await store.define(of)
        for turns, backwards in meetings():
            order = tasks[::-1] if backwards else tasks

            async def change(order: list[Task] = order, name: str = f"{turns} {backwards}") -> None:
                for of in order:
                    await store.schedule.pause([of.key])
                    await store.enqueue(run(of, name))

            snapshot, _ = await store.amid(store.history.snapshot(), change(), turns)
            live = [live for view in snapshot.tasks for live in view.live]
            assert snapshot.queued == len(live), (turns, backwards)
            paused = {view.key: view.paused for view in snapshot.tasks}
            seen = [paused[of.key] for of in order]
            assert seen == sorted(seen, reverse=True), (turns, backwards)
            await store.schedule.resume([of.key for of in tasks])
            await store.queue.settle([settlement(claim) for claim in await store.claim()])
