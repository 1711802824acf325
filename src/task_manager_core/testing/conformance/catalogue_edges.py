"""Tests of the laws of the catalogue in situations where a store easily breaks them."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta

import pytest

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.policy import CatchUp, CatchUpMode, Overlap, Priority, RetryPolicy
from task_manager_core.domain.recurrence import At, Cron, Every, Fold, Gap
from task_manager_core.domain.run import Retried
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition, canonical_kwargs
from task_manager_core.ports import CHANGES_REMEMBERED, Cancelling, Conflict, Enqueued
from task_manager_core.testing.conformance.catalogue import CatalogueReader, load, written
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    MINUTE,
    ODD,
    STARTED,
    TTL,
    WORKER,
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


class CatalogueEdges(Contract):
    @law("catalogue", 2)
    async def test_a_conflict_does_not_keep_the_others_from_being_written(self, store: Store) -> None:
        version = await store.define(task("b"))
        changes = [definition(task("a")), definition(task("b", description="new")), definition(task("c"))]
        a, b, c = await store.catalogue.put(changes)
        assert isinstance(a, int)
        assert isinstance(c, int)
        assert b == Conflict(version)
        assert (await load(store)).keys == {key("a"), key("b"), key("c")}

    @law("catalogue", 3)
    async def test_writing_again_after_a_lost_reply_changes_nothing(self, store: Store) -> None:
        slot = await store.slot(HOUR)
        changes = [definition(task("a"), slot=slot), definition(task("b"), slot=slot)]
        versions = await store.catalogue.put(changes)
        before = await store.state()
        assert await store.catalogue.put(changes) == versions
        assert await store.state() == before

    @law("catalogue", 3)
    async def test_a_change_of_any_part_is_a_change(self, store: Store) -> None:
        changes: dict[str, object] = {
            "schedule": Schedule.every(MINUTE, jitter=ODD),
            "function": "another",
            "kwargs": canonical_kwargs({"a": 1}),
            "description": "",
            "tags": ("a",),
            "priority": Priority.HIGH,
            "overlap": Overlap.SKIP,
            "catch_up": CatchUp(limit=7),
            "retry": RetryPolicy(max_retries=1),
            "timeout": MINUTE,
            "start_deadline": MINUTE,
            "expires": MINUTE,
            "max_instances": 7,
            "run_on_start": True,
            "dynamic": True,
            "queue": "other",
        }
        assert {field.name for field in fields(TaskDefinition)} == {"key", *changes}
        stands, version = task(), await store.define(task())
        for name, value in changes.items():
            for change in (replace(task(), **{name: value}), task()):  # type: ignore[arg-type]  # one of each
                newer = await written(store, definition(change, expected=version, replan=False))
                assert newer > version, name
                [stored] = (await load(store, version)).changed
                assert (stored.definition, stored.version) == (change, newer), name
                stands, version = stored.definition, newer
        assert stands == task()

    @law("catalogue", 4)
    @pytest.mark.parametrize("replan", [False, True], ids=["same plan", "new plan"])
    async def test_a_change_keeps_waits_and_requested_cancellations(self, store: Store, *, replan: bool) -> None:
        of, slot = task(), await store.slot(-MINUTE)
        version = await store.define(of, slot)
        await store.settle(await store.claim_new(run(of, "retried")), Retried(HOUR))
        await store.release(await store.claim_new(run(of, "released")), HOUR)
        claim = await store.claim_new(run(of, "cancelled"))
        await store.enqueue(run(of, "queued"), run(exclusive(), "held"))
        await store.queue.cancel([(of.key, claim.run.id)])
        await store.dispatch.pause([of.key])
        await store.dispatch.resume([of.key])
        before = await store.state()

        then = slot + DAY if replan else slot
        changed = task(description="new", priority=Priority.HIGH)
        newer = await written(store, definition(changed, expected=version, slot=then, replan=replan))
        after = await store.state()
        [view], [earlier] = after.tasks, before.tasks
        assert view == replace(earlier, version=newer, next_slot=next_slot(then))
        assert replace(after, tasks=before.tasks) == before
        assert (await store.queue.extend([claim], TTL)).cancelling == {claim}
        for request in ("retried", "released", "cancelled", "queued"):
            assert await store.enqueue(run(of, request)) == (Enqueued.DUPLICATE,)
        assert await store.queue.promote([of.key]) == 2
        assert {claimed.run.priority for claimed in await store.claim()} == {Priority.LOW}

    @law("catalogue", 4)
    async def test_a_change_keeps_when_the_last_pause_ended(self, store: Store) -> None:
        slot = await store.slot(-MINUTE)
        version = await store.define(task(), slot)
        await store.dispatch.pause([key()])
        await store.dispatch.resume([key()])
        before = await store.due(key())
        await written(store, definition(task(description="new"), expected=version, replan=False))
        after = await store.due(key())
        assert before is not None
        assert after is not None
        assert before.resumed_at is not None
        assert after.resumed_at == before.resumed_at == (await store.view(key())).resumed_at

    @law("catalogue", 6)
    async def test_queued_waiting_and_unreaped_runs_of_a_removed_task_are_gone(self, store: Store) -> None:
        of, term = task(), await store.lead()
        await store.define(of)
        await store.settle(await store.claim_new(run(of, "retried")), Retried(HOUR))
        await store.release(await store.claim_new(run(of, "released")), HOUR)
        await store.claim_new(run(of, "silent"))
        await store.enqueue(run(of, "queued"))
        assert await store.catalogue.remove([of.key]) == {of.key}
        assert await store.catalogue.remove([of.key]) == frozenset()
        assert await store.queue.promote([of.key]) == 0
        await store.advance(HOUR)
        assert await store.reap(term, TTL) == ()
        assert await store.queue.claim(WORKER, 10, timedelta(0), known=()) == ()
        assert (await store.history.snapshot()).queued == 0

    @law("catalogue", 6)
    async def test_removal_leaves_the_other_tasks_alone(self, store: Store) -> None:
        await store.define(task("a"))
        await store.define(task("b"))
        claim = await store.claim_new(run(task("b"), "running"))
        await store.enqueue(run(task("b"), "queued"), run(task("a"), "queued"))
        await store.catalogue.remove([key("a")])
        assert [claimed.run for claimed in await store.claim()] == [run(task("b"), "queued")]
        assert await store.settle(claim)

    @law("catalogue", 7)
    async def test_a_reader_from_before_a_wipe_learns_everything(self, store: Store) -> None:
        await store.define(task("a"))
        changes = await load(store, (await load(store)).version + 1_000_000)
        assert [stored.definition for stored in changes.changed] == [task("a")]

    @law("catalogue", 14)
    async def test_a_reader_from_long_ago_learns_everything(self, store: Store) -> None:
        await store.define(task("a"))
        reader = CatalogueReader(store)
        await reader.catch_up()
        await store.catalogue.remove([key("a")])
        late, many = await store.define(task("b")), [f"task {number}" for number in range(1, CHANGES_REMEMBERED)]
        await store.catalogue.put([definition(task(name), slot=None) for name in many])
        assert not (await load(store, late)).complete
        assert (await load(store, reader.version)).complete
        await reader.catch_up()
        assert reader.knows() == await CatalogueReader.of_everything(store)

    @law("catalogue", 7)
    async def test_a_definition_is_read_as_it_was_written(self, store: Store) -> None:
        rules = (
            Cron(
                expression=CronExpression.parse("*/5 8-18 * * mon-fri"),
                timezone="Europe/Rome",
                gap=Gap.SKIP,
                fold=Fold.BOTH,
            ),
            Every(interval=timedelta(seconds=90), phase=timedelta(seconds=30)),
            At(instants=(STARTED, STARTED + DAY)),
        )
        full = TaskDefinition(
            key=key("full"),
            schedule=Schedule(rules=rules, start_at=STARTED, end_at=STARTED + 100 * DAY, jitter=MINUTE),
            function="fünction: {odd}",
            kwargs=canonical_kwargs({"empty": [], "nothing": {}, "big": 2**60 + 1, "text": "\u2028\x00'\""}),
            description="two\nlines — and “quotes”",
            tags=("a", "b c", "ü"),
            priority=Priority.HIGH,
            overlap=Overlap.SKIP,
            catch_up=CatchUp(mode=CatchUpMode.ALL, window=2 * HOUR, limit=7, grace=timedelta(milliseconds=1)),
            retry=RetryPolicy(
                initial=timedelta(milliseconds=250),
                maximum=DAY,
                multiplier=1.7,
                jitter=0.1,
                max_retries=3,
                retry_on=("builtins.ValueError",),
                no_retry_on=("builtins.KeyError", "my.Error"),
            ),
            timeout=timedelta(milliseconds=1500),
            start_deadline=HOUR,
            expires=2 * HOUR,
            run_on_start=True,
            dynamic=True,
        )
        await store.define(full)
        await store.define(task("plain"))
        await store.define(limited(7, "limited"))
        stored = [stored.definition for stored in (await load(store)).changed]
        assert stored == [full, task("plain"), limited(7, "limited")]

    @law("catalogue", 8)
    async def test_retiring_again_changes_nothing(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        assert await store.catalogue.retire(term, [key()]) == frozenset({key()})
        before, known = await store.state(), (await load(store)).version
        assert await store.catalogue.retire(term, [key()]) == frozenset()
        assert await store.state() == before
        assert await store.catalogue.load(known) is None

    @law("catalogue", 8)
    @pytest.mark.parametrize("paused", [True, False], ids=["paused", "resumed"])
    async def test_a_task_that_is_retired_and_written_again_has_kept_everything(
        self, store: Store, *, paused: bool
    ) -> None:
        of, slot, term = exclusive(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        assert await store.commit_one(term, decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR))
        assert await store.settle(await store.claim_new(run(of, "settled")))
        claim = await store.claim_new(run(of, "retried"))
        assert await store.settle(claim, Retried(DAY))
        await store.enqueue(run(of, "held"))
        await store.dispatch.pause([of.key])
        if not paused:
            await store.dispatch.resume([of.key])
        before = await store.state()

        await store.catalogue.retire(term, [of.key])
        retired = await store.state()
        [view], [earlier] = retired.tasks, before.tasks
        assert view == replace(earlier, retired=True, version=view.version)
        assert replace(retired, tasks=before.tasks) == before
        assert (await store.dispatch.agenda(10)).next_due is None
        assert await store.enqueue(run(of, "asked for")) == (Enqueued.HELD,)
        assert await store.queue.cancel([(of.key, run(of, "asked for").id)]) == (Cancelling.CANCELLED,)
        retired = await store.state()

        await written(store, definition(of, expected=view.version, replan=False))
        back = await store.state()
        assert back.tasks == (replace(earlier, version=back.tasks[0].version),)
        assert replace(back, tasks=retired.tasks) == retired
        assert (await store.dispatch.agenda(10)).next_due == slot + HOUR
        assert await store.queue.promote([of.key]) == 1
        [claim] = await store.claim()
        assert await store.settle(claim)
        assert [freed.run for freed in await store.claim()] == [run(of, "held")]

    @law("catalogue", 7)
    async def test_many_definitions_are_written_at_once(self, store: Store) -> None:
        many = [task(f"task {number}") for number in range(300)]
        versions = await store.catalogue.put([definition(of) for of in many])
        assert [stored.definition for stored in (await load(store)).changed] == many
        assert [stored.version for stored in (await load(store)).changed] == list(versions)
        assert len(await store.catalogue.remove([of.key for of in many])) == 300

    @law("catalogue", 5)
    async def test_slots_that_a_store_has_lost_are_recorded_with_the_new_definition(self, store: Store) -> None:
        slot = await store.slot()
        lost = skipped(slot - HOUR, last=slot - MINUTE, count=60, reason=SkipReason.STORE_LOST)
        assert await written(store, definition(task(), slot=slot + HOUR, skips=[lost])) > 0
        view = await store.view(key())
        assert (view.next_slot, view.skipped) == (next_slot(slot + HOUR), {SkipReason.STORE_LOST: 60})
        assert await store.history.skips(key(), 10) == (lost,)

    @law("catalogue", 12)
    async def test_a_plan_is_too_late_by_its_slot_and_not_by_its_jitter(self, store: Store) -> None:
        slot = await store.slot(HOUR)
        version = await store.define(task(), slot)
        await store.advance(HOUR)
        late = definition(task(description="new"), expected=version, slot=slot, jitter=HOUR)
        assert await store.catalogue.put([late]) == (Conflict(version),)
        assert (await store.view(key())).next_slot == next_slot(slot)
        in_time = definition(task(description="new"), expected=version, slot=slot + HOUR, jitter=MINUTE + ODD)
        assert await written(store, in_time) > version
        assert (await store.view(key())).next_slot == next_slot(slot + HOUR, MINUTE + ODD)

    @law("catalogue", 11)
    async def test_a_schedule_that_has_ended_has_no_slots_to_give_up(self, store: Store) -> None:
        slot = await store.slot()
        version = await written(store, definition(task(), slot=None))
        change = definition(task(description="new"), expected=version, slot=slot + HOUR, skips=[skipped(slot)])
        assert await store.catalogue.put([change]) == (Conflict(version),)
        assert (await store.view(key())).skipped == {}

    @law("catalogue", 14)
    async def test_a_reader_learns_the_changes_alone(self, store: Store) -> None:
        """A reader at one of the last CHANGES_REMEMBERED versions gets only the changes, for any number of tasks; a
        reader at a version that the store has forgotten, or never gave out, gets a complete reading."""
        term, names = await store.lead(), ("changed", "removed", "retired", "back", "again", "still")
        versions = [await store.define(task(name)) for name in names]
        await store.catalogue.retire(term, [key("back"), key("still")])
        known = (await load(store)).version
        await written(store, definition(task("changed", description="new"), expected=versions[0]))
        await store.catalogue.remove([key("removed"), key("again")])
        await store.catalogue.retire(term, [key("retired")])
        await written(store, definition(task("back"), expected=(await store.view(key("back"))).version))
        await store.define(task("again"))
        await store.define(task("short-lived"))
        await store.catalogue.remove([key("short-lived")])

        changes = await load(store, known)
        assert (changes.complete, changes.total) == (False, 5)
        assert {stored.definition.key for stored in changes.changed} == {key("changed"), key("back"), key("again")}
        assert changes.removed - {key("short-lived")} == {key("removed")}
        assert changes.retired == {key("retired")}
        assert not changes.unreadable
        for since in (0, -1, versions[0] - 1, changes.version + 1, changes.version + 1_000_000):
            everything = await load(store, since)
            assert (everything.complete, everything.total, everything.removed) == (True, 5, frozenset()), since
            assert everything.keys == {key(name) for name in names if name != "removed"}
            assert everything.retired == {key("retired"), key("still")}
        await store.wipe()
        nothing = await load(store, -1)
        assert (nothing.complete, nothing.total, nothing.keys) == (True, 0, frozenset())
