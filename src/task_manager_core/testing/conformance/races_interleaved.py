"""Tests of one verb during another: a store does not write back a state that it read before the other verb."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import HeldByOther, Term
from task_manager_core.domain.run import Retried
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.conformance.catalogue import CatalogueReader, written
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    LEADER,
    MINUTE,
    NOTHING,
    TTL,
    WORKER,
    decision,
    definition,
    exclusive,
    key,
    next_slot,
    run,
    settlement,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import StartOffset, Store


def interleavings(store: Store) -> Iterator[tuple[StartOffset, bool]]:
    """When the second verb starts, and which of the two verbs is the first."""
    for swapped in (False, True):
        for offset in store.start_offsets():
            yield offset, swapped


class InterleavedRaces(Contract):
    @law("leadership", 6)
    async def test_a_renewal_during_a_change_of_leader_changes_nothing(self, store: Store) -> None:
        for offset in store.start_offsets():
            for one in ("renew", "resign"):
                term = await store.lead(LEADER, TTL)
                repeated = store.leadership.renew(term, 10 * TTL) if one == "renew" else store.leadership.resign(term)

                async def change_leader(term: Term = term) -> Term:
                    await store.leadership.resign(term)
                    return await store.lead(NodeId("successor"), TTL)

                _, successor = await store.interleave(repeated, change_leader(), offset)
                assert await store.leads(successor), (one, offset)
                held = await store.leadership.campaign(LEADER, TTL)
                assert isinstance(held, HeldByOther)
                assert held.remaining <= TTL
                assert await store.leadership.resign(successor)

    @law("dispatch", 7)
    @pytest.mark.parametrize("verb", ["commit", "retire", "reap"])
    async def test_nothing_is_written_after_the_resignation_was_answered(self, store: Store, verb: str) -> None:
        slot = await store.slot(-MINUTE)
        tasks = [task(name) for name in "abc"]
        versions = [await store.define(of, slot) for of in tasks]
        await store.enqueue(*(run(of) for of in tasks))
        await store.claim()
        await store.advance(TTL)
        for offset in store.start_offsets():
            term = await store.lead(LEADER, TTL)
            decisions = [
                decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR)
                for of, version in zip(tasks, versions, strict=True)
            ]
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "commit": partial(store.dispatch.commit, term, decisions),
                "retire": partial(store.catalogue.retire, term, [of.key for of in tasks]),
                "reap": partial(store.queue.reap, term, TTL, 10),
            }

            async def resign_and_read(term: Term = term) -> object:
                assert await store.leadership.resign(term)
                return await store.state()

            _, seen = await store.interleave(verbs[verb](), resign_and_read(), offset)
            assert await store.state() == seen, offset

    @law("dispatch", 9)
    @pytest.mark.parametrize("other", ["put", "commit"])
    @pytest.mark.parametrize("verb", ["pause", "resume"])
    async def test_a_pause_or_its_end_undoes_no_other_change(self, store: Store, verb: str, other: str) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        for offset, swapped in interleavings(store):
            of = task(f"{offset} {swapped}")
            version = await store.define(of, slot)
            moved = slot + (DAY if other == "put" else HOUR)
            changed = definition(task(of.key.name, description="new"), expected=version, slot=moved)
            skip = decision(of, version, slot, skips=[skipped(slot)], then=moved)
            change: Awaitable[object] = (
                store.catalogue.put([changed]) if other == "put" else store.commit_one(term, skip)
            )
            if verb == "resume":
                await store.dispatch.pause([of.key])
            pause = store.dispatch.pause([of.key]) if verb == "pause" else store.dispatch.resume([of.key])
            await (store.interleave(change, pause, offset) if swapped else store.interleave(pause, change, offset))
            view = await store.view(of.key)
            assert view.paused is (verb == "pause"), (offset, swapped)
            assert (view.version > version) is (other == "put"), (offset, swapped)
            assert bool(view.skipped) is (other == "commit"), (offset, swapped)
            assert view.next_slot == next_slot(moved), (offset, swapped)

    @law("dispatch", 3)
    async def test_nothing_is_dispatched_after_the_pause_was_answered(self, store: Store) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        for offset in store.start_offsets():
            of = task(f"{offset}")
            version = await store.define(of, slot)
            dispatch = decision(of, version, slot, dispatch=[of.run_of_slot(slot, version)], then=slot + HOUR)

            async def pause_and_read(key: TaskKey = of.key) -> object:
                await store.dispatch.pause([key])
                return await store.state()

            _, seen = await store.interleave(store.commit_one(term, dispatch), pause_and_read(), offset)
            assert await store.state() == seen, offset

    @law("catalogue", 7)
    @pytest.mark.parametrize("verb", ["add", "change", "remove", "retire", "bring back"])
    async def test_a_reader_learns_what_is_written_while_it_reads(self, store: Store, verb: str) -> None:
        term, reader = await store.lead(), CatalogueReader(store)
        for offset in store.start_offsets():
            of, new = task(f"{offset}"), task(f"{offset}", description="new")
            version = 0 if verb == "add" else await store.define(of)
            if verb == "bring back":
                await store.catalogue.retire(term, [of.key])
                version = (await store.view(of.key)).version
            await reader.catch_up()
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "add": partial(store.define, of),
                "change": partial(written, store, definition(new, expected=version, replan=False)),
                "remove": partial(store.catalogue.remove, [of.key]),
                "retire": partial(store.catalogue.retire, term, [of.key]),
                "bring back": partial(written, store, definition(of, expected=version, replan=False)),
            }
            changes, _ = await store.interleave(store.catalogue.load(reader.version), verbs[verb](), offset)
            reader.learn(changes)
            await reader.catch_up()
            assert reader.knows() == await CatalogueReader.of_everything(store), offset

    @law("catalogue", 7)
    async def test_changes_become_visible_in_the_order_of_their_versions(self, store: Store) -> None:
        reader = CatalogueReader(store)
        for offset in store.start_offsets():
            early, late = task(f"early {offset}"), task(f"late {offset}")
            await reader.catch_up()

            async def write_and_read(late: TaskDefinition = late) -> None:
                await store.define(late)
                await reader.catch_up()

            await store.interleave(store.define(early), write_and_read(), offset)
            await reader.catch_up()
            assert reader.knows() == await CatalogueReader.of_everything(store), offset

    @law("catalogue", 11)
    async def test_a_slot_is_abandoned_or_decided_but_not_both(self, store: Store) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        for offset, swapped in interleavings(store):
            of = task(f"{offset} {swapped}")
            version = await store.define(of, slot)
            changed = task(of.key.name, description="new")
            give_up = store.catalogue.put(
                [definition(changed, expected=version, slot=slot + HOUR, skips=[skipped(slot)])]
            )
            decide = store.commit_one(term, decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR))
            await (store.interleave(decide, give_up, offset) if swapped else store.interleave(give_up, decide, offset))
            assert sum((await store.view(of.key)).skipped.values()) == 1, (offset, swapped)

    @law("catalogue", 6)
    @pytest.mark.parametrize("verb", ["enqueue", "settle", "release", "promote"])
    async def test_a_task_that_is_added_again_has_nothing_of_the_removed_one(self, store: Store, verb: str) -> None:
        of = task()
        for offset in store.start_offsets():
            await store.define(of)
            await store.settle(await store.claim_new(run(of, f"waiting {offset}")), Retried(HOUR))
            claim = await store.claim_new(run(of, f"{offset}"))
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "enqueue": partial(store.enqueue, run(of, f"late {offset}")),
                "settle": partial(store.settle, claim, Retried(NOTHING)),
                "release": partial(store.release, claim),
                "promote": partial(store.queue.promote, [of.key]),
            }
            _, removed = await store.interleave(verbs[verb](), store.catalogue.remove([of.key]), offset)
            assert removed == {of.key}
            snapshot = await store.history.snapshot()
            assert (snapshot.tasks, snapshot.queued) == ((), 0), offset
            await store.define(of)
            assert await store.claim() == (), offset
            assert (await store.live(of.key), await store.records(of.key)) == ((), ()), offset
            await store.catalogue.remove([of.key])

    @law("run_queue", 2)
    async def test_a_run_is_not_held_behind_one_that_has_just_ended(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        for offset, swapped in interleavings(store):
            claim = await store.claim_new(run(of, f"first {offset} {swapped}"))
            enqueue, settle = store.enqueue(run(of, f"second {offset} {swapped}")), store.settle(claim)
            await (store.interleave(settle, enqueue, offset) if swapped else store.interleave(enqueue, settle, offset))
            [following] = await store.claim()
            assert await store.settle(following), (offset, swapped)

    @law("run_queue", 4)
    @pytest.mark.parametrize("verb", ["settle", "release"])
    async def test_a_heartbeat_revives_no_claim(self, store: Store, verb: str) -> None:
        await store.define(task())
        for offset, swapped in interleavings(store):
            claim = await store.claim_new(run(task(), f"{offset} {swapped}"))
            beat = store.queue.extend([claim], TTL)
            end = store.settle(claim) if verb == "settle" else store.release(claim)
            await (store.interleave(end, beat, offset) if swapped else store.interleave(beat, end, offset))
            again = await store.claim(NodeId("other"))
            assert len(again) == (verb == "release"), (offset, swapped)
            assert not await store.extend_one(claim, TTL), (offset, swapped)
            assert {live.run for live in await store.live(key())} == {other.run.id for other in again}
            assert not await store.queue.settle([settlement(other) for other in again])

    @law("run_queue", 8)
    async def test_a_claim_is_settled_or_released_but_not_both(self, store: Store) -> None:
        await store.define(task())
        for offset, swapped in interleavings(store):
            claim = await store.claim_new(run(task(), f"{offset} {swapped}"))
            settle, release = store.settle(claim), store.release(claim, started=True)
            answers = await (
                store.interleave(release, settle, offset) if swapped else store.interleave(settle, release, offset)
            )
            released = answers[0 if swapped else 1]
            assert sum(answers) == 1, (offset, swapped)
            again = await store.claim()
            assert [other.attempt for other in again] == [2] * released, (offset, swapped)
            assert not await store.queue.settle([settlement(other) for other in again])

    @law("run_queue", 11)
    async def test_a_heartbeat_keeps_a_requested_cancellation(self, store: Store) -> None:
        await store.define(task())
        for offset, swapped in interleavings(store):
            claim = await store.claim_new(run(task(), f"{offset} {swapped}"))
            beat, cancel = store.queue.extend([claim], TTL), store.queue.cancel([(key(), claim.run.id)])
            await (store.interleave(cancel, beat, offset) if swapped else store.interleave(beat, cancel, offset))
            assert (await store.queue.extend([claim], TTL)).cancelling == {claim}, (offset, swapped)
            assert await store.settle(claim)

    @law("run_queue", 13)
    @pytest.mark.parametrize("verb", ["retry", "release", "postpone", "promote"])
    async def test_a_run_that_is_cancelled_while_it_is_released_ends(self, store: Store, verb: str) -> None:
        await store.define(task())
        for offset, swapped in interleavings(store):
            claim = await store.claim_new(run(task(), f"{offset} {swapped}"))
            if verb == "promote":
                await store.settle(claim, Retried(HOUR))
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "retry": partial(store.settle, claim, Retried(NOTHING)),
                "release": partial(store.release, claim),
                "postpone": partial(store.release, claim, HOUR),
                "promote": partial(store.queue.promote, [key()]),
            }
            back, cancel = verbs[verb](), store.queue.cancel([(key(), claim.run.id)])
            await (store.interleave(cancel, back, offset) if swapped else store.interleave(back, cancel, offset))
            assert await store.live(key()) == (), (offset, swapped)
            assert await store.claim() == (), (offset, swapped)

    @law("run_queue", 9)
    async def test_a_claim_is_extended_or_reaped_but_not_both(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        for offset, swapped in interleavings(store):
            claim = await store.claim_new(run(task(), f"{offset} {swapped}"))
            await store.advance(2 * TTL)
            reap, beat = store.reap(term, TTL), store.extend_one(claim, 10 * TTL)
            if swapped:
                lives, reaped = await store.interleave(beat, reap, offset)
            else:
                reaped, lives = await store.interleave(reap, beat, offset)
            assert lives is (reaped == ()), (offset, swapped)
            again = [claim] if lives else await store.claim()
            assert not await store.queue.settle([settlement(one) for one in again]), (offset, swapped)

    @law("run_queue", 14)
    async def test_a_claim_that_is_cancelled_as_its_run_arrives_loses_no_run(self, store: Store) -> None:
        await store.define(task())
        for offset in (StartOffset(turns=turns) for turns in range(6)):
            waiting = asyncio.ensure_future(store.queue.claim(WORKER, 1, HOUR))
            await store.let_waiters_listen()
            await store.enqueue(run(task(), f"{offset}"))
            for _ in range(offset.turns):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            claims = () if waiting.cancelled() else waiting.result()
            claims += await store.queue.claim(WORKER, 10, NOTHING, known=claims)
            assert [claim.run for claim in claims] == [run(task(), f"{offset}")], offset
            assert await store.settle(claims[0])

    @law("history", 5)
    async def test_a_snapshot_shows_one_instant(self, store: Store) -> None:
        tasks = [task(name) for name in "abcd"]
        for of in tasks:
            await store.define(of)
        for offset, backwards in interleavings(store):
            order = tasks[::-1] if backwards else tasks

            async def change(order: list[TaskDefinition] = order, name: str = f"{offset} {backwards}") -> None:
                for of in order:
                    await store.dispatch.pause([of.key])
                    await store.enqueue(run(of, name))

            snapshot, _ = await store.interleave(store.history.snapshot(), change(), offset)
            live = [live for view in snapshot.tasks for live in view.live]
            assert snapshot.queued == len(live), (offset, backwards)
            paused = {view.key: view.paused for view in snapshot.tasks}
            seen = [paused[of.key] for of in order]
            assert seen == sorted(seen, reverse=True), (offset, backwards)
            await store.dispatch.resume([of.key for of in tasks])
            await store.queue.settle([settlement(claim) for claim in await store.claim()])
