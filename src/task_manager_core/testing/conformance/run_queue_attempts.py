"""Tests of the laws about what an attempt leaves: its result, its reports, and what its task remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from task_manager_core.domain.identity import NodeId, RunId
from task_manager_core.domain.memory import LastSuccess, Remembered, TaskMemory
from task_manager_core.domain.progress import Progress, ProgressReport
from task_manager_core.domain.run import Exhausted, Result, Retried, Succeeded
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    NOTHING,
    STARTED,
    TTL,
    exclusive,
    key,
    run,
    runs,
    settlement,
    task,
)
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

    @law("run_queue", 18)
    async def test_a_report_is_shown_while_its_claim_holds_the_run(self, store: Store) -> None:
        """The last report of an attempt is shown while its claim holds the run, for at least the time to live after it;
        a lost claim changes nothing."""
        await store.define(task())
        claim = await store.claim_new(run(task(), "first"))
        other = await store.claim_new(run(task(), "other"))
        asked = [(key(), claim.run.id), (key(), RunId("unknown")), (key("other"), claim.run.id), (key(), other.run.id)]
        assert await store.history.progress(asked) == (None,) * 4
        reports = [
            Progress(done=1, total=2.5, text="“ü” \x00 🙂\n", lines=("a line", " % ", "")),
            Progress(lines=tuple("x" * 300 for _ in range(20))),
            Progress(done=2),
        ]
        for progress in reports:
            assert await store.queue.report([ProgressReport(claim=claim, progress=progress)], HOUR) == frozenset()
            assert await store.history.progress(asked) == (progress, None, None, None)
            assert await store.extend_one(claim, TTL)
        before = await store.state()
        late = ProgressReport(claim=replace(claim, token=claim.token + 1), progress=Progress(text="late"))
        mixed = [late, ProgressReport(claim=other, progress=Progress(text="other"))]
        assert await store.queue.report(mixed, HOUR) == {late.claim}
        assert await store.history.progress(asked) == (reports[-1], None, None, Progress(text="other"))
        assert await store.queue.report([], HOUR) == frozenset()
        assert await store.history.progress([]) == ()
        assert await store.state() == before

    @law("run_queue", 18)
    @pytest.mark.parametrize("end", ["settled", "retried", "released", "reaped", "removed"])
    async def test_a_report_ends_with_its_claim(self, store: Store, end: str) -> None:
        term = await store.lead()
        await store.define(task())
        claim = await store.claim_new(run(task()))
        report = ProgressReport(claim=claim, progress=Progress(text="mine"))
        assert await store.queue.report([report], HOUR) == frozenset()
        if end == "settled":
            assert await store.settle(claim)
        elif end == "retried":
            assert await store.settle(claim, Retried(NOTHING))
        elif end == "released":
            assert await store.release(claim)
        elif end == "reaped":
            await store.advance(TTL)
            assert await store.reap(term, TTL) == (claim,)
        else:
            await store.catalogue.remove([key()])
            await store.define(task())
            await store.enqueue(run(task()))
        asked = [(key(), claim.run.id)]
        for _ in range(2):  # before and after another worker claims the run
            assert await store.history.progress(asked) == (None,)
            assert await store.queue.report([report], HOUR) == {claim}
            assert await store.history.progress(asked) == (None,)
            again = await store.claim(NodeId("other"))
            assert len(again) <= 1

    @law("run_queue", 20)
    async def test_a_success_is_remembered(self, store: Store) -> None:
        """A success with something to remember replaces the last success in the memory of its task, and the cursor if
        it has one, in the step of its settlement; nothing else changes the memory until the task is removed."""
        term = await store.lead()
        of = exclusive()
        await store.define(of)
        await store.define(task("other"))
        assert await store.history.memory(of.key) == TaskMemory()
        assert await store.history.memory(key("unknown")) == TaskMemory()
        first = Remembered(success=LastSuccess(slot=STARTED, at=STARTED + HOUR), cursor='{"“ü”":["\\u0000 🙂"]}')
        then = Remembered(success=LastSuccess(slot=None, at=STARTED + 2 * HOUR))
        last = Remembered(success=LastSuccess(slot=None, at=STARTED), cursor='"' + "x" * 4094 + '"')
        late = Remembered(success=LastSuccess(slot=None, at=STARTED + 9 * HOUR), cursor='"late"')
        expected = TaskMemory()
        for number, one in enumerate([first, then, last]):
            claim = await store.claim_new(run(of, f"{number}"))
            assert await store.history.memory(of.key) == expected
            accepted = replace(settlement(claim), remembered=one)
            assert await store.queue.settle([accepted]) == frozenset()
            expected = TaskMemory(success=one.success, cursor=one.cursor or expected.cursor)
            assert await store.queue.settle([replace(settlement(claim), remembered=late)]) == {claim}
            assert await store.history.memory(of.key) == expected

        for outcome in (Succeeded(), Exhausted(), Retried(NOTHING)):
            assert await store.settle(await store.claim_new(run(of, f"{outcome}")), outcome)
        [silent] = await store.claim()
        await store.advance(TTL)
        assert await store.reap(term, TTL) == (silent,)
        assert await store.queue.settle([replace(settlement(silent), remembered=late)]) == {silent}
        await store.history.clear([of.key])
        assert await store.history.memory(of.key) == expected
        assert await store.history.memory(key("other")) == TaskMemory()

        await store.catalogue.remove([of.key])
        assert await store.history.memory(of.key) == TaskMemory()
        await store.define(of)
        assert await store.history.memory(of.key) == TaskMemory()

    @law("run_queue", 20)
    async def test_a_batch_of_all_kinds_is_remembered_in_its_order(self, store: Store) -> None:
        await store.define(task())
        await store.enqueue(*runs(task(), 6))
        claims = await store.claim()
        batch = [
            replace(
                settlement(claim), remembered=Remembered(success=LastSuccess(slot=None, at=STARTED), cursor=f"{number}")
            )
            if number % 2
            else settlement(claim, Exhausted())
            for number, claim in enumerate(claims)
        ]
        assert await store.queue.settle([*batch, batch[1]]) == {claims[1]}
        assert (await store.history.memory(key())).cursor == "5"
        assert [line.run for line in await store.records(key())] == [claim.run.id for claim in reversed(claims)]
