"""Tests of the laws of all verbs about batches: large batches, and items that are named twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from task_manager_core.domain.leadership import Term
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.run import AttemptStatus, Claim, Retried, Run, RunState
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Cancelling, Enqueued, Extension
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    MINUTE,
    NOTHING,
    SECOND,
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

MANY = 300
"""More items than a statement, a script or a page of results takes in any store that we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyTasks:
    """Many tasks. Each has a due slot and a run, and one worker has claimed all runs."""

    store: Store
    term: Term
    tasks: Sequence[TaskDefinition]
    runs: Sequence[Run]
    claims: Sequence[Claim]

    @classmethod
    async def create(cls, store: Store) -> ManyTasks:
        term, slot = await store.lead(), await store.slot(-MINUTE)
        tasks = [task(f"task {number:03}") for number in range(MANY)]
        versions = await store.catalogue.put([definition(of, slot=slot) for of in tasks])
        assert all(isinstance(version, int) for version in versions)
        requested = [run(of) for of in tasks]
        assert await store.queue.enqueue(requested) == (Enqueued.QUEUED,) * MANY
        claims = await store.claim(limit=MANY)
        assert [claim.run for claim in claims] == requested
        return cls(store=store, term=term, tasks=tasks, runs=requested, claims=claims)

    async def states(self) -> list[RunState | None]:
        """The state of the run of each task; None for a run that has ended."""
        views = {view.key: view.live for view in (await self.store.history.snapshot()).tasks}
        found = [{live.run: live.state for live in views[of.key]} for of in self.tasks]
        return [states.get(one.id) for states, one in zip(found, self.runs, strict=True)]

    async def statuses(self) -> list[list[AttemptStatus]]:
        return [[line.status for line in await self.store.records(of.key)] for of in self.tasks]


class BackendBatches(Contract):
    @law("backend", 5)
    async def test_every_item_of_a_large_batch_is_judged(self, store: Store) -> None:
        """Every item of a batch is judged on its own, for any number of items; an item that is named twice counts
        once."""
        many = await ManyTasks.create(store)
        keys = frozenset(of.key for of in many.tasks)

        await store.advance(TTL - 10 * SECOND)
        assert await store.queue.extend(many.claims, TTL) == Extension(frozenset(), frozenset())
        await store.advance(TTL - 10 * SECOND)
        assert await store.queue.extend(many.claims, TTL) == Extension(frozenset(), frozenset())
        assert await store.reap(many.term, TTL, MANY) == ()
        assert await store.queue.release(many.claims, HOUR, started=True) == frozenset()
        assert await many.states() == [RunState.WAITING] * MANY
        assert await store.queue.promote(keys) == MANY
        claims = await store.claim(limit=MANY)
        assert {(claim.run.task, claim.attempt) for claim in claims} == {(key, 2) for key in keys}

        assert await store.dispatch.pause(keys) == keys
        assert all(view.paused for view in (await store.history.snapshot()).tasks)
        assert await store.dispatch.resume(keys) == keys
        assert not any(view.paused for view in (await store.history.snapshot()).tasks)
        assert await store.history.clear(keys) == keys
        assert await store.catalogue.retire(many.term, keys) == keys
        assert all(view.retired for view in (await store.history.snapshot()).tasks)
        assert await store.catalogue.remove(keys) == keys
        assert (await store.history.snapshot()).tasks == ()

    @law("backend", 5)
    async def test_many_claims_are_settled_at_once(self, store: Store) -> None:
        many = await ManyTasks.create(store)
        settled = [settlement(claim, Retried(HOUR)) for claim in many.claims]
        assert await store.queue.settle(settled) == frozenset()
        assert await many.states() == [RunState.WAITING] * MANY
        assert await many.statuses() == [[AttemptStatus.RETRIED]] * MANY
        assert await store.queue.settle(settled) == frozenset(many.claims)

    @law("backend", 5)
    async def test_many_runs_are_reaped_and_cancelled_at_once(self, store: Store) -> None:
        many = await ManyTasks.create(store)
        requests = [(one.task, one.id) for one in many.runs]
        assert await store.queue.cancel(requests) == (Cancelling.REQUESTED,) * MANY
        assert (await store.queue.extend(many.claims, TTL)).cancelling == frozenset(many.claims)
        await store.advance(TTL)
        assert frozenset(await store.reap(many.term, TTL, MANY)) == frozenset(many.claims)
        assert await many.states() == [None] * MANY
        assert await many.statuses() == [[AttemptStatus.LOST]] * MANY

        later = [run(of, "later") for of in many.tasks]
        assert await store.queue.enqueue(later) == (Enqueued.QUEUED,) * MANY
        assert await store.queue.cancel([(one.task, one.id) for one in later]) == (Cancelling.CANCELLED,) * MANY
        assert await store.claim() == ()
        assert await many.statuses() == [[AttemptStatus.CANCELLED, AttemptStatus.LOST]] * MANY

    @law("backend", 5)
    async def test_many_requests_are_remembered(self, store: Store) -> None:
        of = task()
        await store.define(of)
        requested = runs(of, MANY)
        assert await store.queue.enqueue(requested) == (Enqueued.QUEUED,) * MANY
        assert await store.queue.settle([settlement(claim) for claim in await store.claim()]) == frozenset()
        assert await store.queue.enqueue(requested) == (Enqueued.DUPLICATE,) * MANY
        assert await store.claim() == ()

    # -- named twice --------------------------------------------------------------------------------------------------

    @law("backend", 5)
    async def test_a_decision_that_a_batch_holds_twice_is_kept_once(self, store: Store) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        for of in (task("dispatch"), exclusive("hold"), task("skip")):
            version = await store.define(of, slot)
            chosen = {
                "dispatch": decision(of, version, slot, dispatch=[of.run_of_slot(slot, version)], then=slot + HOUR),
                "hold": decision(
                    of,
                    version,
                    slot,
                    dispatch=[of.run_of_slot(slot, version)],
                    hold=of.run_of_slot(slot + SECOND, version),
                    then=slot + HOUR,
                ),
                "skip": decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR),
            }[of.key.name]
            assert await store.dispatch.commit(term, [chosen, chosen]) == (True, False), of.key
            view = await store.view(of.key)
            assert len(view.live) == {"dispatch": 1, "hold": 2, "skip": 0}[of.key.name]
            assert view.skipped == ({SkipReason.CATCH_UP: 1} if of.key.name == "skip" else {})
            assert len(await store.history.skips(of.key, 10)) == (of.key.name == "skip")

    @law("backend", 5)
    @pytest.mark.parametrize("delay", [NOTHING, HOUR], ids=["at once", "later"])
    @pytest.mark.parametrize("verb", ["settle", "release"])
    async def test_a_claim_that_a_batch_names_twice_is_released_once(
        self, store: Store, verb: str, delay: timedelta
    ) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        if verb == "settle":
            await store.queue.settle([settlement(claim, Retried(delay))] * 2)
        else:
            await store.queue.release([claim, claim], delay, started=True)
        assert [line.status for line in await store.records(key())] == [AttemptStatus.RETRIED] * (verb == "settle")
        await store.advance(delay)
        [again] = await store.claim()
        assert (again.attempt, again.failures) == (2, verb == "settle")
        assert not await store.settle(claim)
        assert await store.settle(again)
        assert await store.live(key()) == ()

    @law("backend", 5)
    async def test_of_two_outcomes_of_a_claim_in_a_batch_the_first_counts(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        claim = await store.claim_new(run(of, "first"))
        await store.enqueue(run(of, "second"), run(of, "third"))
        await store.queue.settle([settlement(claim), settlement(claim, Retried(HOUR))])
        assert [line.status for line in await store.records(of.key)] == [AttemptStatus.SUCCEEDED]
        assert await store.states(of.key) == {
            run(of, "second").id.value: RunState.QUEUED,
            run(of, "third").id.value: RunState.HELD,
        }

    @law("backend", 5)
    async def test_what_a_batch_names_twice_is_there_once(self, store: Store) -> None:
        await store.define(task("hasty"))
        await store.settle(await store.claim_new(run(task("hasty"))), Retried(HOUR))
        assert await store.queue.promote([key("hasty"), key("hasty")]) == 1
        claims = await store.claim()
        assert [claim.run for claim in claims] == [run(task("hasty"))]
        twice = [*claims, *claims]
        assert await store.queue.extend(twice, TTL) == Extension(frozenset(), frozenset())
        requests = [(key("hasty"), claims[0].run.id)] * 2
        assert await store.queue.cancel(requests) == (Cancelling.REQUESTED,) * 2
        assert await store.queue.extend(twice, TTL) == Extension(frozenset(), frozenset(claims))
        assert await store.settle(claims[0])

        assert await store.enqueue(run(task("hasty"), "once"), run(task("hasty"), "once")) == (
            Enqueued.QUEUED,
            Enqueued.DUPLICATE,
        )
        requests = [(key("hasty"), run(task("hasty"), "once").id)] * 2
        assert await store.queue.cancel(requests) == (Cancelling.CANCELLED, Cancelling.NOT_LIVE)
        assert [line.status for line in await store.records(key("hasty"))] == [
            AttemptStatus.CANCELLED,
            AttemptStatus.SUCCEEDED,
            AttemptStatus.RETRIED,
        ]
