"""Tests of the law about claims that another thread extends, because a function blocks the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from task_manager_core.domain.run import Claim
from task_manager_core.ports import Extension
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import HOUR, LEADER, SECOND, TTL, run, task
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store


class BackendThreads(Contract):
    @law("backend", 10)
    async def test_a_claim_that_another_thread_extends_lives_on(self, store: Store) -> None:
        """A claim that another thread extends, through an opening of its own if the store is durable, lives as if its
        worker had extended it."""
        await store.define(task())
        term = await store.lead(LEADER, 10 * HOUR)
        kept = await store.claim_new(run(task(), "kept"))
        left = await store.claim_new(run(task(), "left"))
        await store.advance(TTL - 10 * SECOND)
        assert _extended_in_a_thread(store, kept) == Extension(frozenset(), frozenset())
        await store.advance(20 * SECOND)
        assert [claim.run.id for claim in await store.reap(term, TTL)] == [left.run.id]
        assert await store.settle(kept)

    @law("backend", 10)
    async def test_another_thread_revives_no_claim(self, store: Store) -> None:
        await store.define(task())
        settled, expired = await store.claim_new(run(task(), "1")), await store.claim_new(run(task(), "2"))
        assert await store.settle(settled)
        await store.advance(TTL + 10 * SECOND)
        lost = frozenset({settled, expired})
        assert _extended_in_a_thread(store, settled, expired) == Extension(lost, frozenset())


def _extended_in_a_thread(store: Store, *claims: Claim) -> Extension:
    """The event loop of the test stands meanwhile, as if a function blocked it."""

    async def extend() -> Extension:
        async with store.extending_queue() as backend:
            return await backend.queue.extend(claims, TTL)

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, extend()).result(store.patience)
