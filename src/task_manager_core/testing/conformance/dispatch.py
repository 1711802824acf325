"""Tests of the laws of dispatch: one test for each law. `dispatch_edges` has more tests."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.run import Retried, RunState
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Enqueued
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    LEADER,
    MINUTE,
    SECOND,
    TTL,
    WORKER,
    decision,
    definition,
    exclusive,
    key,
    limited,
    next_slot,
    run,
    runs,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store, near


class Due:
    """A task with a due slot, and the decisions about that slot."""

    def __init__(self, store: Store, of: TaskDefinition, version: int, slot: datetime, term: Term) -> None:
        self.store, self.of, self.version, self.slot, self.term = store, of, version, slot, term
        self.then = slot + HOUR
        self.run = of.run_of_slot(slot, version)
        self.skip = decision(of, version, slot, skips=[skipped(slot)], then=self.then)
        self.dispatch = decision(of, version, slot, dispatch=[self.run], then=self.then)
        self.hold = decision(of, version, slot, hold=self.run, then=self.then)

    @classmethod
    async def given(cls, store: Store, of: TaskDefinition) -> Due:
        slot, term = await store.slot(-MINUTE), await store.lead()
        return cls(store, of, await store.define(of, slot), slot, term)


class DispatchLaws(Contract):
    @law("dispatch", 1)
    async def test_the_agenda_shows_what_is_due(self, store: Store) -> None:
        """The agenda shows tasks whose next slot is due by the store's time or falls due within `ahead`, the earliest
        first, at most `limit` after the first `skip` of them."""
        slot = await store.slot()
        await store.define(task("third"), slot - MINUTE)
        await store.define(task("first"), slot - DAY)
        await store.define(task("later"), slot + 2 * HOUR)
        await store.define(task("second"), slot - HOUR)
        await store.define(task("soon"), slot + HOUR)
        await store.define(task("now"), slot)
        await store.catalogue.put([definition(task("ended"), slot=None)])

        agenda = await store.dispatch.agenda(100)
        assert [due.key.name for due in agenda.due] == ["first", "second", "third", "now"]
        assert [due.slot for due in agenda.due] == [slot - DAY, slot - HOUR, slot - MINUTE, slot]
        assert agenda.next_due == slot + HOUR
        assert near(agenda.now, slot)
        assert [due.key.name for due in (await store.dispatch.agenda(2)).due] == ["first", "second"]
        assert [due.key.name for due in (await store.dispatch.agenda(1)).due] == ["first"]
        assert (await store.dispatch.agenda(0)).due == ()
        for skip, names in enumerate((["first", "second"], ["second", "third"], ["third", "now"], ["now"], [])):
            agenda = await store.dispatch.agenda(2, skip)
            assert [due.key.name for due in agenda.due] == names
            assert agenda.next_due == slot + HOUR

        for ahead, names in ((MINUTE, ["now"]), (HOUR, ["now", "soon"]), (2 * HOUR, ["now", "soon", "later"])):
            agenda = await store.dispatch.agenda(100, 3, ahead=ahead + SECOND)
            assert [due.key.name for due in agenda.due] == names
            assert agenda.next_due == slot + HOUR
        assert [due.slot for due in agenda.due] == [slot, slot + HOUR, slot + 2 * HOUR]

        await store.advance(HOUR)
        agenda = await store.dispatch.agenda(100)
        assert [due.key.name for due in agenda.due] == ["first", "second", "third", "now", "soon"]
        assert agenda.next_due == slot + 2 * HOUR
        assert near(agenda.now, slot + HOUR)
        await store.advance(HOUR)
        assert (await store.dispatch.agenda(100)).next_due is None

    @law("dispatch", 12)
    async def test_the_agenda_counts_what_is_due_next(self, store: Store) -> None:
        """The agenda counts the tasks that are due at the next instant."""
        slot = await store.slot(HOUR)
        assert (await store.dispatch.agenda(10)).upcoming == 0
        for number in range(3):
            await store.define(task(f"next-{number}"), slot)
        await store.define(task("later"), slot + MINUTE)
        assert [(await store.dispatch.agenda(limit)).upcoming for limit in (0, 1, 10)] == [3, 3, 3]
        await store.advance(HOUR)
        assert (await store.dispatch.agenda(10)).upcoming == 1

    @law("dispatch", 11)
    async def test_no_slot_is_decided_before_it_is_due(self, store: Store) -> None:
        """A decision about a slot that is not due yet is not kept."""
        slot, term, of = await store.slot(HOUR), await store.lead(), task()
        version = await store.define(of, slot)
        early = decision(of, version, slot, dispatch=[of.run_of_slot(slot, version)], then=slot + MINUTE)
        await store.dispatch.anticipate([early])
        before = await store.state()
        assert not await store.commit_one(term, early)
        assert await store.state() == before
        await store.advance(HOUR)
        assert await store.commit_one(term, early)

    @law("dispatch", 2)
    async def test_a_decision_takes_effect_as_a_whole_or_not_at_all(self, store: Store) -> None:
        """A decision is kept only if the task still has the version and the next slot of the decision; it then takes
        effect as a whole: runs are queued or held, skips recorded, the next slot advanced, in one step."""
        of = exclusive()
        due = await Due.given(store, of)
        slots = [due.slot + number * SECOND for number in range(4)]
        first, second = (of.run_of_slot(slot, due.version) for slot in slots[:2])
        skips = [skipped(slots[2], last=slots[3], count=2, reason=SkipReason.OVERLAP)]

        async def whole(version: int, slot: datetime) -> bool:
            one = decision(of, version, slot, dispatch=[first], hold=second, skips=skips, then=due.then)
            return await store.commit_one(due.term, one)

        before = await store.state()
        assert not await whole(due.version - 1, due.slot)
        assert not await whole(due.version + 1, due.slot)
        assert not await whole(due.version, due.slot - SECOND)
        assert not await whole(due.version, due.slot + SECOND)
        assert not await store.commit_one(due.term, decision(task("unknown"), due.version, due.slot, then=due.then))
        assert await store.state() == before

        assert await whole(due.version, due.slot)
        view = await store.view(of.key)
        assert view.next_slot == next_slot(due.then)
        assert {live.run: live.state for live in view.live} == {first.id: RunState.QUEUED, second.id: RunState.HELD}
        assert {live.run: live.slot for live in view.live} == {first.id: slots[0], second.id: slots[1]}
        assert view.skipped == {SkipReason.OVERLAP: 2}
        assert await store.history.skips(of.key, 10) == tuple(skips)
        [claim] = await store.claim()
        assert (claim.run, claim.attempt, claim.failures) == (first, 1, 0)

    @law("dispatch", 3)
    async def test_nothing_is_dispatched_while_paused(self, store: Store) -> None:
        """A decision that dispatches or holds is not kept while the task is paused."""
        due = await Due.given(store, exclusive())
        claim = await store.claim_new(run(due.of, "running"))
        assert await store.dispatch.pause([key()]) == {key()}
        before = await store.state()
        assert not await store.commit_one(due.term, due.hold)
        assert await store.settle(claim)
        assert not await store.commit_one(due.term, due.dispatch)
        assert (await store.view(key())).next_slot == before.tasks[0].next_slot
        assert await store.claim() == ()

        assert await store.commit_one(due.term, due.skip)
        assert (await store.view(key())).next_slot == next_slot(due.then)

    @law("dispatch", 4)
    @pytest.mark.parametrize("place", ["queued", "running", "waiting", "held"])
    @pytest.mark.parametrize("limit", [1, 3])
    async def test_a_run_with_a_limit_needs_a_place_beside_the_live_runs(
        self, store: Store, limit: int, place: str
    ) -> None:
        """A decision that dispatches runs with a limit of live runs (one if they are exclusive, else `max_instances`)
        is not kept while the task has held runs, nor if its live runs would then exceed the limit."""
        due = await Due.given(store, exclusive() if limit == 1 else limited(limit))
        others = runs(due.of, limit - 1, "other")
        assert await store.enqueue(*others, run(due.of, "first")) == (Enqueued.QUEUED,) * limit
        if place != "queued":
            *_, claim = await store.claim()
            if place == "waiting":
                await store.release(claim, HOUR)
        if place == "held":
            assert await store.enqueue(run(due.of, "second")) == (Enqueued.HELD,)
        before = await store.state()
        assert not await store.commit_one(due.term, due.dispatch)
        assert await store.state() == before

    @law("dispatch", 5)
    async def test_one_run_is_held_and_only_behind_another(self, store: Store) -> None:
        """A decision that holds a run is not kept while another run is held, nor if the held run would have no run to
        wait for."""
        due = await Due.given(store, exclusive())
        before = await store.state()
        assert not await store.commit_one(due.term, due.hold)
        assert await store.state() == before

        claim = await store.claim_new(run(due.of, "running"))
        assert await store.commit_one(due.term, due.hold)
        assert await store.states(key()) == {claim.run.id.value: RunState.RUNNING, due.run.id.value: RunState.HELD}

        await store.advance(HOUR + MINUTE)  # The next slot is due.
        before = await store.state()
        other = due.of.run_of_slot(due.then, due.version)
        another = decision(due.of, due.version, due.then, hold=other, then=due.then + HOUR)
        assert not await store.commit_one(due.term, another)
        assert await store.state() == before
        assert await store.settle(claim)
        assert [claim.run for claim in await store.claim()] == [due.run]
        assert await store.commit_one(due.term, another)

    @law("dispatch", 6)
    async def test_nothing_is_dispatched_while_a_retry_waits(self, store: Store) -> None:
        """A decision that dispatches is not kept while a retry of the task waits."""
        due = await Due.given(store, task())
        await store.settle(await store.claim_new(run(due.of, "retried")), Retried(HOUR))
        before = await store.state()
        assert not await store.commit_one(due.term, due.dispatch)
        assert await store.state() == before

        await store.advance(HOUR)
        [retry] = await store.claim()
        assert await store.commit_one(due.term, due.dispatch)
        assert await store.settle(retry)

    @law("dispatch", 7)
    async def test_a_stale_term_commits_nothing(self, store: Store) -> None:
        """Every decision is fenced by the term; with a stale term nothing changes."""
        slot = await store.slot(-MINUTE)
        due = Due(store, task(), await store.define(task(), slot), slot, await store.lead(NodeId("older"), TTL))
        await store.advance(TTL)
        assert await store.dispatch.commit(due.term, [due.dispatch]) == Fenced()

        term = await store.lead(LEADER, TTL)
        before = await store.state()
        for stale in (due.term, Term(LEADER, term.token - 1), Term(LEADER, term.token + 1), Term(WORKER, term.token)):
            assert await store.dispatch.commit(stale, [due.dispatch]) == Fenced(), stale
            assert await store.dispatch.commit(stale, [due.skip]) == Fenced(), stale
        assert await store.state() == before

        await store.leadership.resign(term)
        assert await store.dispatch.commit(term, [due.dispatch]) == Fenced()
        assert await store.commit_one(await store.lead(), due.dispatch)

    @law("dispatch", 8)
    async def test_a_repeated_commit_changes_nothing(self, store: Store) -> None:
        """Repeating a commit changes nothing more."""
        slot, term = await store.slot(-MINUTE), await store.lead()
        a, b = task("a"), exclusive("b")
        of_a = Due(store, a, await store.define(a, slot), slot, term)
        of_b = Due(store, b, await store.define(b, slot), slot, term)
        behind = b.run_of_slot(slot + SECOND, of_b.version)
        decisions = [
            decision(a, of_a.version, slot, dispatch=[of_a.run], skips=[skipped(slot - SECOND)], then=slot + HOUR),
            decision(b, of_b.version, slot, dispatch=[of_b.run], hold=behind, then=slot + HOUR),
        ]
        assert await store.dispatch.commit(term, decisions) == (True, True)
        before = await store.state()
        await store.dispatch.commit(term, decisions)
        await store.dispatch.commit(term, decisions * 2)
        assert await store.state() == before
        claims = await store.claim()
        assert [claim.run for claim in claims] == [of_a.run, of_b.run]
        for claim in claims:
            assert await store.settle(claim)
        after = await store.state()
        await store.dispatch.commit(term, decisions)
        assert await store.state() == after

    @law("dispatch", 9)
    async def test_a_pause_lasts(self, store: Store) -> None:
        """A pause does not end by itself."""
        due = await Due.given(store, task())
        assert await store.dispatch.pause([key()]) == {key()}
        assert await store.dispatch.pause([key()]) == {key()}
        await store.advance(1000 * DAY)
        assert (await store.view(key())).paused
        shown = await store.due(key())
        assert shown is not None
        assert shown.paused
        assert not await store.commit_one(due.term, due.dispatch)

    @law("dispatch", 10)
    async def test_a_resumption_is_remembered(self, store: Store) -> None:
        """Resuming records its instant, so that slots of the pause are not replayed; resuming an active task does
        nothing."""
        await Due.given(store, task())
        assert await store.dispatch.resume([key()]) == {key()}
        shown = await store.due(key())
        assert shown is not None
        assert (shown.paused, shown.resumed_at) == (False, None)

        await store.dispatch.pause([key()])
        await store.advance(HOUR)
        resumed = await store.now()
        assert await store.dispatch.resume([key()]) == {key()}
        shown = await store.due(key())
        assert shown is not None
        assert shown.resumed_at is not None
        assert not shown.paused
        view = await store.view(key())
        assert (view.paused, view.resumed_at) == (False, shown.resumed_at)
        assert timedelta(0) <= shown.resumed_at - resumed
        assert near(shown.resumed_at, resumed)

        await store.advance(HOUR)
        assert await store.dispatch.resume([key()]) == {key()}
        assert await store.due(key()) == shown
