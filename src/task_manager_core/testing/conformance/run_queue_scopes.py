"""Tests of the laws about queues, and about tasks that a worker excludes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from task_manager_core.domain.identity import RunId
from task_manager_core.domain.policy import Overlap, Priority
from task_manager_core.domain.run import Claim, Retried, RunState
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.ports import Cancelling, Enqueued
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import HOUR, NOTHING, SECOND, TTL, WORKER, key, run, runs, task
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.run_queue import OTHER
from task_manager_core.testing.conformance.store import Store

MAIL = Scope(frozenset({"mail"}))
OTHERS = Scope(frozenset({"default", "heavy"}))


def without(*names: str) -> Scope:
    return Scope(None, frozenset(map(key, names)))


class RunQueueScopes(Contract):
    # -- 21: scopes ---------------------------------------------------------------------------------------------------

    @law("run_queue", 21)
    async def test_a_claim_gives_what_is_in_its_scope(self, store: Store) -> None:
        """A claim gives only runs of the queues that the worker serves, and of no task that it excludes; the other runs
        keep their places for the other workers."""
        plain, mail, heavy = task("plain"), task("mail", queue="mail"), task("heavy", queue="heavy")
        for of in (plain, mail, heavy):
            await store.define(of)
            await store.enqueue(*runs(of, 2))
        assert (await store.history.snapshot()).queued == 6
        assert [claim.run for claim in await store.claim(scope=MAIL)] == list(runs(mail, 2))
        assert await store.claim(scope=MAIL) == ()
        assert await store.claim(scope=Scope(OTHERS.queues, frozenset({plain.key, heavy.key}))) == ()
        excluding = Scope(OTHERS.queues, frozenset({plain.key}))
        assert [claim.run for claim in await store.claim(OTHER, scope=excluding)] == list(runs(heavy, 2))
        assert (await store.history.snapshot()).queued == 2
        assert [claim.run for claim in await store.claim(OTHER, scope=OTHERS)] == list(runs(plain, 2))
        assert await store.claim() == ()

    @law("run_queue", 21)
    async def test_a_worker_without_a_scope_claims_from_every_queue(self, store: Store) -> None:
        tasks = [task("plain"), *(task(name, queue=name) for name in ("a", "b", "c"))]
        for of in tasks:
            await store.define(of)
            await store.enqueue(run(of))
        claimed = [claim.run for _ in range(2) for claim in await store.claim(limit=2)]
        assert sorted(one.id for one in claimed) == sorted(run(of).id for of in tasks)

    @law("run_queue", 21)
    async def test_excluded_runs_keep_their_order(self, store: Store) -> None:
        low, high, other = task("low"), task("high", priority=Priority.HIGH), task("other")
        for of in (low, high, other):
            await store.define(of)
        await store.enqueue(run(low, "1"), run(other, "1"), run(high, "1"), run(low, "2"), run(other, "2"))
        assert [one.run for one in await store.claim(scope=without("low", "high"))] == [
            run(other, "1"),
            run(other, "2"),
        ]
        assert await store.claim(scope=without("low", "high")) == ()
        await store.enqueue(run(low, "3"), run(high, "2"), run(other, "3"))
        assert (await store.states(low.key)) == {run(low, number).id.value: RunState.QUEUED for number in "123"}
        assert [one.run for one in await store.claim(OTHER, 3)] == [run(high, "1"), run(high, "2"), run(low, "1")]
        assert [one.run for one in await store.claim(OTHER)] == [run(low, "2"), run(low, "3"), run(other, "3")]

    @law("run_queue", 21)
    async def test_an_excluded_run_stays_before_later_runs(self, store: Store) -> None:
        for name in ("excluded", "other"):
            await store.define(task(name))
        await store.enqueue(run(task("excluded")), *runs(task("other"), 2))
        first, second = runs(task("other"), 2)
        assert [one.run for one in await store.claim(limit=1, scope=without("excluded"))] == [first]
        assert [one.run for one in await store.claim(OTHER)] == [run(task("excluded")), second]

    @law("run_queue", 21)
    async def test_many_excluded_runs_hide_no_other(self, store: Store) -> None:
        for name in ("excluded", "other"):
            await store.define(task(name))
        await store.enqueue(*runs(task("excluded"), 300))
        await store.enqueue(run(task("other")))
        assert [one.run for one in await store.claim(limit=1, scope=without("excluded"))] == [run(task("other"))]
        assert await store.claim(limit=1, scope=without("excluded")) == ()
        assert [one.run for one in await store.claim(OTHER)] == list(runs(task("excluded"), 300))

    @law("run_queue", 21)
    async def test_an_excluded_run_can_be_cancelled(self, store: Store) -> None:
        of = task(overlap=Overlap.BUFFER_ONE)
        await store.define(of)
        await store.enqueue(run(of, "first"), run(of, "held"))
        assert await store.claim(scope=without("task")) == ()
        assert await store.queue.cancel([(of.key, run(of, "first").id)]) == (Cancelling.CANCELLED,)
        assert await store.claim(scope=without("task")) == ()
        assert [one.run for one in await store.claim()] == [run(of, "held")]

    @law("run_queue", 21)
    async def test_the_excluded_runs_of_a_removed_task_are_gone(self, store: Store) -> None:
        await store.define(task())
        await store.enqueue(*runs(task(), 3))
        assert await store.claim(scope=without("task")) == ()
        await store.catalogue.remove([key()])
        assert (await store.history.snapshot()).queued == 0
        await store.define(task())
        assert await store.enqueue(run(task(), "again")) == (Enqueued.QUEUED,)
        assert [one.run for one in await store.claim()] == [run(task(), "again")]

    @law("run_queue", 21)
    async def test_claims_whose_reply_was_lost_come_again_in_any_scope(self, store: Store) -> None:
        await store.define(task())
        claim = await store.claim_new(run(task()))
        scope = Scope(MAIL.queues, frozenset({key()}))
        assert await store.queue.claim(WORKER, 10, NOTHING, known=(), scope=scope) == (claim,)

    @law("run_queue", 21)
    async def test_a_run_wakes_a_worker_that_serves_its_queue(self, store: Store) -> None:
        plain, mail = task("plain"), task("mail", queue="mail")
        for of in (plain, mail):
            await store.define(of)
        others = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR, scope=OTHERS))
        await store.let_waiters_listen()
        mails = asyncio.ensure_future(store.queue.claim(WORKER, 10, HOUR, scope=MAIL))
        await store.let_waiters_listen()
        await store.enqueue(run(mail))
        [claim] = await store.soon(mails)
        assert claim.run == run(mail)
        await store.enqueue(run(plain))
        [claim] = await store.soon(others)
        assert claim.run == run(plain)

    @law("run_queue", 21)
    @pytest.mark.parametrize("scope", [EVERYTHING, OTHERS], ids=["all", "some"])
    async def test_a_run_wakes_a_worker_that_does_not_exclude_it(self, store: Store, scope: Scope) -> None:
        await store.define(task())
        excluding = asyncio.ensure_future(store.queue.claim(OTHER, 10, HOUR, scope=without("task")))
        await store.let_waiters_listen()
        waiting = asyncio.ensure_future(store.queue.claim(WORKER, 10, HOUR, scope=scope))
        await store.let_waiters_listen()
        await store.enqueue(run(task()))
        [claim] = await store.soon(waiting)
        assert claim.run == run(task())
        excluding.cancel()
        await asyncio.wait({excluding})

    # -- 22: the queue of a run ---------------------------------------------------------------------------------------

    @law("run_queue", 22)
    @pytest.mark.parametrize("back", ["retried", "promoted", "released", "postponed", "reaped", "delayed", "held"])
    async def test_a_run_stays_in_its_queue(self, store: Store, back: str) -> None:
        """A run is in its own queue whenever it is queued, also after a retry, a release or a loss."""
        of = task("mail", queue="mail", overlap=Overlap.BUFFER_ONE if back == "held" else Overlap.ALLOW)
        await store.define(of)
        await store.queue.enqueue([run(of)], delay=HOUR if back == "delayed" else NOTHING)
        for claim in await store.claim(scope=MAIL):
            await self._give_back(store, claim, back)
        if back == "promoted":
            assert await store.queue.promote([of.key]) == 1
        else:
            await store.advance(HOUR + SECOND)
        assert await store.claim(OTHER, scope=OTHERS) == ()
        [claim] = await store.claim(scope=MAIL)
        assert (claim.run.queue, claim.run.id == run(of).id) == ("mail", back != "held")

    @staticmethod
    async def _give_back(store: Store, claim: Claim, back: str) -> None:
        match back:
            case "retried" | "promoted":
                assert await store.settle(claim, Retried(HOUR))
            case "released" | "postponed":
                assert await store.release(claim, HOUR if back == "postponed" else NOTHING)
            case "reaped":
                await store.advance(TTL)
                assert await store.reap(await store.lead(), TTL) == (claim,)
            case "held":
                held = replace(claim.run, id=RunId("held"))
                assert await store.enqueue(held) == (Enqueued.HELD,)
                assert await store.settle(claim)
            case _:
                pass
