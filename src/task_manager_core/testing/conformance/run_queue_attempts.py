"""Tests of the laws about what an attempt leaves: its result."""

from __future__ import annotations

from task_manager_core.domain.run import Result
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import exclusive, run, settlement
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store


class RunQueueAttempts(Contract):
    @law("run_queue", 17)
    async def test_a_result_is_kept(self, store: Store) -> None:
        """The result of an attempt is kept in the line of its settlement, as the worker gave it."""
        of = exclusive()
        await store.define(of)
        results = [
            Result(type="dict", size=22, json='{"a":["\\u0000","“ü” 🙂"]}'),
            Result(type="str", size=32_768, json='"' + "x" * 32_766 + '"'),
            Result(type="app.Model", size=40_000),
            Result(type="app.Object"),
            None,
        ]
        for number, result in enumerate(results):
            claim = await store.claim_new(run(of, f"{number}"))
            one = settlement(claim, result=result)
            assert await store.queue.settle([one]) == frozenset()
            assert await store.queue.settle([settlement(claim, result=Result(type="late"))]) == {claim}
            assert (await store.records(of.key))[0] == one.record()
        assert [line.result for line in await store.records(of.key)] == results[::-1]
