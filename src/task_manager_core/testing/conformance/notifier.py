"""Tests of the laws of the notifier."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from task_manager_core.domain.leadership import Term
from task_manager_core.ports import Cancelling
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import LEADER, MINUTE, TTL, WORKER, definition, key, run, task
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store


class NotifierContract(Contract):
    @law("notifier", 1)
    async def test_waiters_are_woken(self, store: Store) -> None:
        """A wait ends soon after a resignation, a deposition, a change of the catalogue or a request to cancel."""
        version = await store.define(task())
        claim = await store.claim_new(run(task()))

        async def resign() -> None:
            assert await store.leadership.resign(await store.lead(WORKER, TTL))

        async def change() -> None:
            nonlocal version
            changed = definition(task(description=f"{version}"), expected=version)
            [answer] = await store.catalogue.put([changed])
            assert isinstance(answer, int)
            version = answer

        async def cancel() -> None:
            assert await store.queue.cancel([(key(), claim.run.id)]) == (Cancelling.REQUESTED,)

        await store.define(task("due"), await store.slot(-MINUTE))

        async def depose() -> None:
            seen = await store.leadership.observe()
            candidate = LEADER if seen.term is None or seen.term.holder == WORKER else WORKER
            assert isinstance(await store.leadership.depose(candidate, TTL, seen), Term)

        for what in (resign, change, cancel, depose):
            assert await store.wakes(what), what.__name__

    @law("notifier", 1)
    async def test_all_waiters_are_woken(self, store: Store) -> None:
        waiters = [asyncio.ensure_future(store.notifier.wait(timedelta(hours=1))) for _ in range(5)]

        # More calls than waiters: a waiter may not listen yet. If each notification woke only one waiter, some would
        # still wait.
        for _ in range(2):
            await store.let_waiters_listen()
            assert await store.leadership.resign(await store.lead(WORKER, TTL))
            await asyncio.wait(waiters, timeout=store.patience / 4)
        asleep = [waiter.cancel() for waiter in waiters if not waiter.done()]
        await asyncio.wait(waiters)
        assert asleep == []

    @law("notifier", 2)
    async def test_a_wait_ends(self, store: Store) -> None:
        """A wait ends after the timeout at the latest. It may end without a cause, and a notification may get lost:
        correctness never depends on one."""
        async with asyncio.timeout(store.patience):
            for timeout in (0, 1, 20):
                await store.notifier.wait(timedelta(milliseconds=timeout))
            await asyncio.gather(*(store.notifier.wait(timedelta(milliseconds=20)) for _ in range(5)))

    @law("notifier", 2)
    async def test_a_wait_is_not_much_longer_than_its_timeout(self, store: Store) -> None:
        async with asyncio.timeout(0.6 + store.patience / 2):
            await store.notifier.wait(timedelta(milliseconds=600))

    @law("notifier", 2)
    async def test_a_waiter_may_stop_waiting(self, store: Store) -> None:
        waiters = [asyncio.ensure_future(store.notifier.wait(timedelta(hours=1))) for _ in range(5)]
        await store.let_waiters_listen()
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters)
        await store.define(task())
        async with asyncio.timeout(store.patience):
            await store.notifier.wait(timedelta(milliseconds=20))
