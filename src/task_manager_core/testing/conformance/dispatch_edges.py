"""Tests of the laws of dispatch in situations where a store easily breaks them."""

from __future__ import annotations

from dataclasses import replace

from task_manager_core.domain.planning import NextSlot, SkipReason
from task_manager_core.domain.run import Retried
from task_manager_core.ports import DefinitionWrite
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.dispatch import Due
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    MINUTE,
    ODD,
    SECOND,
    decision,
    definition,
    exclusive,
    key,
    limited,
    next_slot,
    run,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store


class DispatchEdges(Contract):
    @law("dispatch", 1)
    async def test_a_slot_with_jitter_is_due_when_its_jitter_has_passed(self, store: Store) -> None:
        slot = await store.slot()
        await store.catalogue.put(
            [
                DefinitionWrite(
                    definition=task(), expected=0, replan=True, next_slot=NextSlot(slot=slot, due_at=slot + MINUTE)
                )
            ]
        )
        agenda = await store.dispatch.agenda(10)
        assert (agenda.due, agenda.next_due) == ((), slot + MINUTE)
        assert (await store.view(key())).next_slot == NextSlot(slot=slot, due_at=slot + MINUTE)
        await store.advance(MINUTE)
        [due] = (await store.dispatch.agenda(10)).due
        assert (due.slot, due.due_at) == (slot, slot + MINUTE)

    @law("dispatch", 1)
    async def test_the_agenda_is_ordered_by_when_slots_are_due(self, store: Store) -> None:
        slot = await store.slot(-HOUR)
        for name, offset, jitter in (("a", 0, 30), ("b", 10, 0), ("c", 5, 10), ("later", 20, 50), ("last", 45, 30)):
            one = definition(task(name), slot=slot + offset * MINUTE, jitter=jitter * MINUTE)
            await store.catalogue.put([one])
        for limit in range(5):
            agenda = await store.dispatch.agenda(limit)
            assert [due.key.name for due in agenda.due] == ["b", "c", "a"][:limit]
            assert agenda.next_due == slot + 70 * MINUTE

    @law("dispatch", 1)
    async def test_a_task_that_is_not_due_takes_no_place_on_the_agenda(self, store: Store) -> None:
        slot, term = await store.slot(-HOUR), await store.lead()
        retired = [task(f"retired {number}") for number in range(10)]
        for number, of in enumerate((*retired, task("a"), task("b"))):
            await store.define(of, slot + number * SECOND)
        await store.define(task("later"), slot + DAY)
        await store.catalogue.retire(term, [of.key for of in retired])
        for limit in range(4):
            agenda = await store.dispatch.agenda(limit)
            assert [due.key.name for due in agenda.due] == ["a", "b"][:limit]
            assert agenda.next_due == slot + DAY

    @law("dispatch", 2)
    async def test_the_plan_of_a_decision_is_kept_with_its_jitter(self, store: Store) -> None:
        due = await Due.given(store, task())
        slot = due.slot + 3 * MINUTE + ODD
        skip = decision(due.of, due.version, due.slot, skips=[skipped(due.slot)], then=slot, jitter=MINUTE + ODD)
        assert await store.commit_one(due.term, skip)
        assert (await store.view(key())).next_slot == next_slot(slot, MINUTE + ODD)
        assert (await store.dispatch.agenda(10)).next_due == slot + MINUTE + ODD
        await store.advance(5 * MINUTE)
        shown = await store.due(key())
        assert shown is not None
        assert (shown.slot, shown.due_at) == (slot, slot + MINUTE + ODD)
        assert await store.commit_one(due.term, decision(due.of, due.version, slot, skips=[skipped(slot)]))

    @law("dispatch", 1)
    async def test_the_agenda_shows_what_the_decision_needs(self, store: Store) -> None:
        of, slot = exclusive(), await store.slot(-MINUTE)
        version = await store.define(of, slot)
        claim = await store.claim_new(run(of, "retried"))
        await store.enqueue(run(of, "held"))
        due = await store.due(of.key)
        assert due is not None
        assert (due.version, due.slot, due.paused, due.resumed_at) == (version, slot, False, None)
        assert (due.live, due.held, due.retrying) == (1, 1, 0)

        await store.settle(claim, Retried(HOUR))
        await store.dispatch.pause([of.key])
        due = await store.due(of.key)
        assert due is not None
        assert (due.live, due.held, due.retrying, due.paused) == (1, 1, 1, True)

    @law("dispatch", 2)
    async def test_one_decision_that_was_overtaken_keeps_no_other_from_being_kept(self, store: Store) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        tasks = [task(name) for name in "abc"]
        versions = [await store.define(of, slot) for of in tasks]
        versions[1] -= 1
        decisions = [
            decision(of, version, slot, dispatch=[of.run_of_slot(slot, version)], then=slot + HOUR)
            for of, version in zip(tasks, versions, strict=True)
        ]
        assert await store.dispatch.commit(term, decisions) == (True, False, True)
        assert [claim.run.task.name for claim in await store.claim()] == ["a", "c"]
        assert [due.key.name for due in (await store.dispatch.agenda(10)).due] == ["b"]

    @law("dispatch", 2)
    async def test_a_decision_for_an_older_definition_is_not_kept(self, store: Store) -> None:
        due = await Due.given(store, task())
        change = definition(task(description="new"), expected=due.version, replan=False)
        assert isinstance((await store.catalogue.put([change]))[0], int)
        for one in (due.dispatch, due.skip):
            assert not await store.commit_one(due.term, one)
        assert (await store.view(key())).next_slot == next_slot(due.slot)

    @law("dispatch", 2)
    async def test_a_decision_is_not_kept_after_the_schedule_has_ended(self, store: Store) -> None:
        due = await Due.given(store, task())
        last = decision(due.of, due.version, due.slot, dispatch=[due.run], then=None)
        assert await store.commit_one(due.term, last)
        assert (await store.view(key())).next_slot is None
        assert not await store.commit_one(due.term, last)
        assert len(await store.claim()) == 1
        assert (await store.dispatch.agenda(10)).next_due is None

    @law("dispatch", 2)
    async def test_a_decision_about_a_retired_task_is_not_kept(self, store: Store) -> None:
        due = await Due.given(store, task())
        await store.catalogue.retire(due.term, [key()])
        assert not await store.commit_one(due.term, due.dispatch)
        assert await store.claim() == ()

    @law("dispatch", 4)
    async def test_an_exclusive_run_is_dispatched_when_the_other_has_ended(self, store: Store) -> None:
        due = await Due.given(store, exclusive())
        claim = await store.claim_new(run(due.of, "first"))
        assert not await store.commit_one(due.term, due.dispatch)
        assert await store.settle(claim)
        assert await store.commit_one(due.term, due.dispatch)
        assert [claim.run for claim in await store.claim()] == [due.run]

    @law("dispatch", 4)
    async def test_as_many_runs_are_dispatched_as_there_are_places_and_no_more(self, store: Store) -> None:
        due = await Due.given(store, limited(3))
        claim = await store.claim_new(run(due.of, "running"))
        slots = [due.slot, due.slot + SECOND, due.slot + MINUTE]
        dispatched = [due.of.run_of_slot(slot, due.version) for slot in slots]
        before = await store.state()
        assert not await store.commit_one(
            due.term, decision(due.of, due.version, due.slot, dispatch=dispatched, then=due.then)
        )
        assert await store.state() == before
        skip = skipped(slots[2], reason=SkipReason.OVERLAP)
        assert await store.commit_one(
            due.term, decision(due.of, due.version, due.slot, dispatch=dispatched[:2], skips=[skip], then=due.then)
        )
        assert [claim.run for claim in await store.claim()] == dispatched[:2]
        assert (await store.view(key())).skipped == {SkipReason.OVERLAP: 1}
        await store.advance(HOUR + MINUTE)  # The next slot is due.
        following = due.of.run_of_slot(due.then, due.version)
        another = decision(due.of, due.version, due.then, dispatch=[following], then=due.then + HOUR)
        assert not await store.commit_one(due.term, another)
        assert await store.settle(claim)
        assert await store.commit_one(due.term, another)
        assert [claim.run for claim in await store.claim()] == [following]

    @law("dispatch", 4)
    async def test_a_limit_that_was_lowered_counts_the_runs_that_live(self, store: Store) -> None:
        due = await Due.given(store, limited(2))
        claims = [await store.claim_new(run(task(), name)) for name in ("a", "b", "c")]
        assert not await store.commit_one(due.term, due.dispatch)
        for claim in claims:
            assert not await store.commit_one(due.term, due.dispatch) or claim is claims[-1]
            assert await store.settle(claim)

    @law("dispatch", 4)
    async def test_runs_that_may_overlap_are_dispatched_beside_others(self, store: Store) -> None:
        due = await Due.given(store, replace(task(), start_deadline=HOUR))  # which the runs bring along
        await store.claim_new(run(due.of, "running"))
        await store.enqueue(run(due.of, "queued"))
        slots = [due.slot, due.slot + SECOND, due.slot + MINUTE]
        dispatched = [due.of.run_of_slot(slot, due.version) for slot in slots]
        assert await store.commit_one(
            due.term, decision(due.of, due.version, due.slot, dispatch=dispatched, then=due.then)
        )
        assert [claim.run for claim in await store.claim()] == [run(due.of, "queued"), *dispatched]

    @law("dispatch", 5)
    async def test_a_run_is_held_behind_the_one_that_is_dispatched_with_it(self, store: Store) -> None:
        due = await Due.given(store, exclusive())
        behind = due.of.run_of_slot(due.slot + SECOND, due.version)
        both = decision(due.of, due.version, due.slot, dispatch=[due.run], hold=behind, then=due.then)
        assert await store.commit_one(due.term, both)
        [claim] = await store.claim()
        assert claim.run == due.run
        assert await store.settle(claim)
        assert [claim.run for claim in await store.claim()] == [behind]

    @law("dispatch", 6)
    async def test_slots_are_skipped_while_a_retry_waits(self, store: Store) -> None:
        due = await Due.given(store, task())
        await store.settle(await store.claim_new(run(due.of, "retried")), Retried(HOUR))
        assert await store.commit_one(due.term, due.skip)

    @law("dispatch", 6)
    async def test_a_released_run_blocks_no_dispatch(self, store: Store) -> None:
        due = await Due.given(store, task())
        await store.release(await store.claim_new(run(due.of, "released")), HOUR)
        assert await store.commit_one(due.term, due.dispatch)

    @law("dispatch", 6)
    async def test_a_promoted_retry_blocks_no_dispatch(self, store: Store) -> None:
        due = await Due.given(store, task())
        await store.settle(await store.claim_new(run(due.of, "retried")), Retried(HOUR))
        assert await store.queue.promote([key()]) == 1
        assert len(await store.claim()) == 1
        assert await store.commit_one(due.term, due.dispatch)

    @law("dispatch", 10)
    async def test_a_new_pause_keeps_when_the_last_one_ended(self, store: Store) -> None:
        await Due.given(store, task())
        await store.advance(ODD)
        await store.dispatch.pause([key()])
        before = await store.now()
        await store.dispatch.resume([key()])
        resumed_at = (await store.view(key())).resumed_at
        assert resumed_at is not None
        assert before <= resumed_at <= await store.now()
        await store.dispatch.pause([key()])
        shown = await store.due(key())
        assert shown is not None
        assert (shown.paused, shown.resumed_at) == (True, resumed_at)

    @law("dispatch", 10)
    async def test_a_task_that_was_resumed_is_dispatched_again(self, store: Store) -> None:
        due = await Due.given(store, task())
        await store.dispatch.pause([key()])
        await store.dispatch.resume([key()])
        assert await store.commit_one(due.term, due.dispatch)

    @law("dispatch", 2)
    async def test_many_decisions_are_committed_at_once(self, store: Store) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        tasks = [task(f"task {number:03}") for number in range(100)]
        versions = await store.catalogue.put([definition(of, slot=slot) for of in tasks])
        dues = [
            Due(store, of, version, slot, term)
            for of, version in zip(tasks, versions, strict=True)
            if isinstance(version, int)
        ]
        assert await store.dispatch.commit(term, [due.dispatch for due in dues]) == (True,) * 100
        assert [claim.run for claim in await store.claim()] == [due.run for due in dues]

    @law("dispatch", 2)
    async def test_many_slots_of_one_task_are_one_decision(self, store: Store) -> None:
        due = await Due.given(store, task())
        dispatched = [due.of.run_of_slot(due.slot + number * SECOND, due.version) for number in range(500)]
        assert await store.commit_one(
            due.term, decision(due.of, due.version, due.slot, dispatch=dispatched, then=due.then)
        )
        assert [claim.run for claim in await store.claim()] == dispatched
