"""Tests of the laws of the catalogue: one test for each law. `catalogue_edges` has more tests."""

from __future__ import annotations

from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.policy import Overlap
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition
from task_manager_core.ports import Cancelling, Changes, Conflict, DefinitionWrite, Enqueued
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    LEADER,
    MINUTE,
    TTL,
    WORKER,
    decision,
    definition,
    exclusive,
    key,
    next_slot,
    run,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store


async def load(store: Store, since: int = 0) -> Changes:
    changes = await store.catalogue.load(since)
    assert changes is not None
    return changes


async def written(store: Store, change: DefinitionWrite) -> int:
    [version] = await store.catalogue.put([change])
    assert isinstance(version, int)
    return version


class CatalogueReader:
    """A process that reads the changes, and the definitions that it knows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: dict[TaskKey, VersionedDefinition] = {}
        self._retired: frozenset[TaskKey] = frozenset()
        self.version = 0

    async def catch_up(self) -> None:
        """Read the changes since the last call."""
        self.learn(await self._store.catalogue.load(self.version))

    def learn(self, changes: Changes | None) -> None:
        if changes is None:
            return
        if changes.complete:
            self._tasks, self._retired = {}, frozenset()
        self._tasks |= {stored.definition.key: stored for stored in changes.changed}
        self._tasks = {key: stored for key, stored in self._tasks.items() if key not in changes.removed}
        self._retired = (self._retired - changes.keys - changes.removed) | changes.retired
        self.version = changes.version
        assert len(self._tasks) == changes.total

    def knows(self) -> tuple[dict[TaskKey, VersionedDefinition], frozenset[TaskKey]]:
        return self._tasks, self._retired

    @classmethod
    async def of_everything(cls, store: Store) -> tuple[dict[TaskKey, VersionedDefinition], frozenset[TaskKey]]:
        """The definitions that a new process knows after its first reading."""
        reader = cls(store)
        await reader.catch_up()
        return reader.knows()


class CatalogueLaws(Contract):
    @law("catalogue", 1)
    async def test_versions_increase(self, store: Store) -> None:
        """Versions strictly increase over all tasks of the store, also after a wipe."""
        a, b, c = [await store.define(task(name)) for name in "abc"]
        changed = await written(store, definition(task("a", description="new"), expected=a))
        await store.catalogue.remove([key("b")])
        removed = (await load(store)).version
        again = await store.define(task("b"))
        first, second = await store.catalogue.put([definition(task("d")), definition(task("e"))])
        assert isinstance(first, int)
        assert isinstance(second, int)

        versions = [a, b, c, changed, removed, again, first, second]
        assert versions == sorted(set(versions))
        assert (await load(store)).version == second
        await store.wipe()
        assert await store.define(task("a")) > second

    @law("catalogue", 2)
    async def test_a_definition_needs_the_expected_version(self, store: Store) -> None:
        """A definition is written only if the stored version is the expected one; otherwise nothing of it changes."""
        slot = await store.slot(HOUR)
        version = await store.define(task(), slot)
        before = await store.state()

        for expected in (0, version - 1, version + 1):
            change = definition(task(description="new"), expected=expected, slot=slot + HOUR)
            assert await store.catalogue.put([change]) == (Conflict(version),)
        assert await store.catalogue.put([definition(task("absent"), expected=version)]) == (Conflict(0),)
        assert await store.state() == before
        assert [stored.definition for stored in (await load(store)).changed] == [task()]

        assert await written(store, definition(task(description="new"), expected=version)) > version

    @law("catalogue", 3)
    async def test_writing_the_stored_definition_changes_nothing(self, store: Store) -> None:
        """Writing a definition that is stored already returns the stored version and changes nothing, for any expected
        version."""
        slot = await store.slot(HOUR)
        version = await store.define(task(), slot)
        before = await store.state()
        for expected in (0, version, version - 1, version + 1):
            same = definition(task(), expected=expected, slot=slot + HOUR)
            assert await store.catalogue.put([same, same]) == (version, version)
        assert await store.state() == before
        assert await store.catalogue.load(version) is None

    @law("catalogue", 4)
    async def test_a_change_keeps_what_has_happened(self, store: Store) -> None:
        """A change of definition keeps pause, history and live runs."""
        of, slot, term = exclusive(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        assert await store.commit_one(term, decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR))
        assert await store.settle(await store.claim_new(run(of, "settled")))
        claim = await store.claim_new(run(of, "running"))
        assert await store.enqueue(run(of, "held")) == (Enqueued.HELD,)
        await store.dispatch.pause([of.key])
        before = await store.state()

        change = TaskDefinition(key=of.key, schedule=Schedule.every(HOUR), function="another", overlap=Overlap.SKIP)
        newer = await written(store, definition(change, expected=version, slot=slot + DAY))
        after = await store.state()
        [view], [earlier] = after.tasks, before.tasks
        assert (view.version, view.next_slot) == (newer, next_slot(slot + DAY))
        assert (view.paused, view.live, view.skipped) == (True, earlier.live, earlier.skipped)
        assert (after.records, after.skips) == (before.records, before.skips)
        assert await store.settle(claim)
        assert [freed.run for freed in await store.claim()] == [run(of, "held")]

    @law("catalogue", 5)
    async def test_only_a_replan_moves_the_next_slot(self, store: Store) -> None:
        """The next slot changes only on `replan`, and the slots that the change abandons are recorded as skipped in the
        same step."""
        slot = await store.slot(HOUR)
        version = await store.define(task(), slot)
        steps = [
            (False, slot + HOUR, slot),
            (False, None, slot),
            (True, slot + HOUR, slot + HOUR),
            (True, slot + DAY, slot + DAY),
            (True, None, None),
            (False, slot, None),
            (True, slot, slot),
        ]
        for number, (replan, new_slot, expected) in enumerate(steps):
            change = definition(task(description=f"{number}"), expected=version, slot=new_slot, replan=replan)
            version = await written(store, change)
            assert (await store.view(key())).next_slot == (None if expected is None else next_slot(expected)), number
        assert (await store.view(key())).skipped == {}

        skips = [skipped(slot, last=slot + HOUR, count=61), skipped(slot + DAY, reason=SkipReason.DELETED)]
        change = definition(task(), expected=version, slot=slot + 2 * DAY, skips=skips)
        await written(store, change)
        view = await store.view(key())
        assert (view.next_slot, view.skipped) == (
            next_slot(slot + 2 * DAY),
            {SkipReason.CATCH_UP: 61, SkipReason.DELETED: 1},
        )
        assert await store.history.skips(key(), 10) == tuple(reversed(skips))
        await store.catalogue.put([change])
        assert await store.view(key()) == view

    @law("catalogue", 6)
    async def test_removal_deletes_everything(self, store: Store) -> None:
        """Removal deletes the definition, its state, its history, its live runs and the memory of its requests; the
        claims on its runs are lost."""
        of, slot, term = exclusive(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        assert await store.commit_one(term, decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR))
        assert await store.settle(await store.claim_new(run(of, "settled")))
        claim = await store.claim_new(run(of, "running"))
        assert await store.enqueue(run(of, "held")) == (Enqueued.HELD,)
        await store.dispatch.pause([of.key])

        assert await store.catalogue.remove([of.key, key("unknown")]) == {of.key}
        assert (await store.history.snapshot()).tasks == ()
        assert (await load(store)).keys == frozenset()
        assert await store.records(of.key) == ()
        assert await store.history.skips(of.key, 100) == ()
        assert not await store.extend_one(claim, TTL)
        assert not await store.settle(claim)
        assert not await store.release(claim)
        assert await store.queue.cancel([(of.key, claim.run.id)]) == (Cancelling.NOT_LIVE,)
        assert await store.claim() == ()

        await store.define(of, slot + HOUR)
        view = await store.view(of.key)
        assert (view.paused, view.retired, view.live, view.skipped) == (False, False, (), {})
        assert await store.records(of.key) == ()
        assert not await store.settle(claim)
        assert await store.enqueue(run(of, "settled")) == (Enqueued.QUEUED,)

    @law("catalogue", 7)
    async def test_a_reader_learns_what_it_does_not_know(self, store: Store) -> None:
        """A reader that knows the current version learns nothing (None); any other reader learns every change since its
        version."""
        a, b = await store.define(task("a")), await store.define(task("b"))
        changes = await load(store)
        assert [(stored.definition, stored.version) for stored in changes.changed] == [(task("a"), a), (task("b"), b)]
        assert (changes.version, changes.keys, changes.retired) == (b, frozenset({key("a"), key("b")}), frozenset())
        assert await store.catalogue.load(b) is None

        changes = await load(store, a)
        assert [stored.definition for stored in changes.changed] == [task("b")]

        newer = await written(store, definition(task("a", description="new"), expected=a))
        changes = await load(store, b)
        assert [(stored.definition, stored.version) for stored in changes.changed] == [
            (task("a", description="new"), newer)
        ]

        await store.catalogue.remove([key("a")])
        changes = await load(store, newer)
        assert (changes.changed, changes.removed) == ((), frozenset({key("a")}))
        assert await store.catalogue.load(changes.version) is None

    @law("catalogue", 8)
    async def test_a_retired_task_is_active_again_when_it_is_written(self, store: Store) -> None:
        """A retired task leaves the agenda; writing its definition again brings it back."""
        of, slot, term = task(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        assert await store.catalogue.retire(term, [of.key, key("unknown")]) == frozenset({of.key})
        agenda = await store.dispatch.agenda(10)
        assert (agenda.due, agenda.next_due) == ((), None)
        changes = await load(store, version)
        assert (changes.keys, changes.retired) == (frozenset({of.key}), frozenset({of.key}))
        assert (await store.view(of.key)).retired

        newer = await written(store, definition(of, expected=(await store.view(of.key)).version, slot=slot + HOUR))
        assert newer > version
        assert not (await store.view(of.key)).retired
        assert (await load(store)).retired == frozenset()
        await store.advance(HOUR)
        due = await store.due(of.key)
        assert due is not None
        assert (due.version, due.slot) == (newer, slot + HOUR)

    @law("catalogue", 9)
    async def test_a_stale_term_retires_nothing(self, store: Store) -> None:
        """Retirement is fenced by the term."""
        await store.define(task())
        older = await store.lead(NodeId("older"), TTL)
        await store.advance(TTL)
        before = await store.state()
        assert await store.catalogue.retire(older, [key()]) == Fenced()

        term = await store.lead(LEADER, TTL)
        for stale in (older, Term(LEADER, term.token - 1), Term(LEADER, term.token + 1), Term(WORKER, term.token)):
            assert await store.catalogue.retire(stale, [key()]) == Fenced(), stale
        assert (await store.state()).tasks == before.tasks
        assert await store.catalogue.retire(term, [key()]) == frozenset({key()})

    @law("catalogue", 10)
    async def test_changes_wake(self, store: Store) -> None:
        """Every change wakes all callers of `Notifier.wait`."""
        term = await store.lead()
        version = await store.define(task("changed"))
        many = [task(f"task {number}") for number in range(200)]
        await store.catalogue.put([definition(of) for of in many])
        removed, retired = iter(many[:100]), iter(many[100:])

        async def write() -> None:
            nonlocal version
            version = await written(store, definition(task("changed", description=f"{version}"), expected=version))

        async def remove() -> None:
            assert len(await store.catalogue.remove([next(removed).key])) == 1

        async def retire() -> None:
            assert await store.catalogue.retire(term, [next(retired).key]) != frozenset()

        for change in (write, remove, retire):
            assert await store.wakes(change), change.__name__

    @law("catalogue", 11)
    async def test_only_a_writer_that_knows_the_slots_abandons_them(self, store: Store) -> None:
        """A definition that abandons slots is not written once the stored next slot has changed."""
        slot, term = await store.slot(-MINUTE), await store.lead()
        version = await store.define(task(), slot)
        change = definition(task(description="new"), expected=version, slot=slot + DAY, skips=[skipped(slot)])
        assert await store.commit_one(term, decision(task(), version, slot, skips=[skipped(slot)], then=slot + HOUR))
        before = await store.state()
        assert await store.catalogue.put([change]) == (Conflict(version),)
        assert await store.state() == before

        slot += HOUR
        change = definition(task(description="new"), expected=version, slot=slot + DAY, skips=[skipped(slot)])
        assert await written(store, change) > version
        assert (await store.view(key())).next_slot == next_slot(slot + DAY)
        assert len(await store.history.skips(key(), 10)) == 2

    @law("catalogue", 12)
    async def test_a_plan_that_came_too_late_is_not_written(self, store: Store) -> None:
        """A new next slot of a known task is not written once it has passed, nor if it is not after the last decided
        slot: the leader may have dispatched that slot."""
        slot, term = await store.slot(MINUTE), await store.lead()
        version = await store.define(task(), slot)
        change = definition(task(description="new"), expected=version, slot=slot)
        await store.advance(MINUTE)
        dispatched = decision(task(), version, slot, dispatch=[task().run_of_slot(slot, version)], then=slot + HOUR)
        assert await store.commit_one(term, dispatched)
        before = await store.state()
        assert await store.catalogue.put([change]) == (Conflict(version),)
        assert await store.state() == before
        again = definition(task(description="new"), expected=version, slot=slot + HOUR)
        assert await written(store, again) > version

    @law("catalogue", 12)
    async def test_a_slot_that_was_decided_is_not_planned_again_by_a_clock_that_was_set_back(
        self, store: Store
    ) -> None:
        of, slot, term = task(), await store.slot(), await store.lead()
        version = await store.define(of, slot - HOUR)
        assert (await store.view(key())).decided is None
        fires = [of.run_of_slot(slot - HOUR + number * MINUTE, version) for number in range(3)]
        decided = decision(of, version, slot - HOUR, dispatch=fires, skips=[skipped(slot - MINUTE)], then=slot + MINUTE)
        assert await store.commit_one(term, decided)
        assert (await store.view(key())).decided == slot - MINUTE
        await store.set_back(30 * MINUTE)
        before = await store.state()
        for again in (slot - 10 * MINUTE, slot - MINUTE):
            change = definition(task(description="new"), expected=version, slot=again)
            assert await store.catalogue.put([change]) == (Conflict(version),), again
        assert await store.state() == before
        later = definition(task(description="new"), expected=version, slot=slot)
        newer = await written(store, later)
        assert (await store.view(key())).decided == slot - MINUTE
        assert await store.due(key()) is None
        await store.advance(30 * MINUTE)
        due = await store.due(key())
        assert due is not None
        assert (due.version, due.slot) == (newer, slot)

    @law("catalogue", 13)
    async def test_a_store_has_one_incarnation_until_it_loses_its_content(self, store: Store) -> None:
        """The incarnation stays the same until the store loses its content; no two incarnations are equal."""
        version = await store.define(task("a"))
        incarnation = (await load(store)).incarnation
        assert incarnation != 0
        await store.define(task("b"))
        await written(store, definition(task("a", description="new"), expected=version))
        assert await store.catalogue.remove([key("a"), key("b")]) == {key("a"), key("b")}
        await store.advance(DAY)
        await store.define(task("c"))
        assert (await load(store)).incarnation == incarnation

        seen = {incarnation}
        for _ in range(3):
            await store.wipe()
            assert not (await store.history.snapshot()).tasks, "the wipe of this harness left something behind"
            await store.define(task("c"))
            incarnation = (await load(store)).incarnation
            assert incarnation not in {0, *seen}
            seen.add(incarnation)
