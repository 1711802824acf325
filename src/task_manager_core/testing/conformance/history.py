"""Tests of the laws of history."""

from __future__ import annotations

import json
from dataclasses import replace

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.planning import Skipped, SkipReason
from task_manager_core.domain.run import (
    AttemptStatus,
    Cancelled,
    Exhausted,
    Failure,
    Result,
    Retried,
    RunState,
    Succeeded,
)
from task_manager_core.ports import Cancelling, Enqueued
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    MINUTE,
    NOTHING,
    SECOND,
    TTL,
    WORKER,
    decision,
    exclusive,
    key,
    next_slot,
    presence,
    run,
    runs,
    settlement,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import EVERYTHING, Store, near


class HistoryContract(Contract):
    @law("history", 1)
    async def test_every_attempt_leaves_a_line(self, store: Store) -> None:
        """Every settled, reaped or cancelled attempt leaves one line, readable newest first."""
        term = await store.lead()
        await store.define(task())
        claim = await store.claim_new(run(task(), "settled"))
        for outcome in (Retried(NOTHING), Retried(HOUR), Exhausted()):
            assert await store.settle(claim, outcome)
            await store.advance(HOUR)
            if not isinstance(outcome, Exhausted):
                [claim] = await store.claim()
        await store.release(await store.claim_new(run(task(), "released")), HOUR)
        await store.queue.cancel([(key(), run(task(), "released").id)])
        await store.claim_new(run(task(), "reaped"))
        await store.advance(TTL)
        assert len(await store.reap(term, TTL)) == 1
        [claim] = await store.claim()
        await store.queue.cancel([(key(), claim.run.id)])
        await store.settle(claim, Cancelled())

        lines = await store.records(key())
        assert [(line.run, line.attempt, line.status) for line in lines] == [
            (run(task(), "reaped").id, 2, AttemptStatus.CANCELLED),
            (run(task(), "reaped").id, 1, AttemptStatus.LOST),
            (run(task(), "released").id, 1, AttemptStatus.CANCELLED),
            (run(task(), "settled").id, 3, AttemptStatus.FAILED),
            (run(task(), "settled").id, 2, AttemptStatus.RETRIED),
            (run(task(), "settled").id, 1, AttemptStatus.RETRIED),
        ]
        for limit in range(8):
            assert await store.history.read(key(), limit) == lines[:limit]
        assert await store.history.read(key("unknown"), 10) == ()

    @law("history", 1)
    async def test_a_line_is_read_as_it_was_written(self, store: Store) -> None:
        of, slot, term = task(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        dispatched = of.run_of_slot(slot, version)
        assert await store.commit_one(term, decision(of, version, slot, dispatch=[dispatched], then=slot + HOUR))
        [claim] = await store.claim()
        failure = Failure(type="Ünusual", message="“{}”: \x00 \u2028 🙂" * 100, traceback="\n".join(["  line"] * 500))
        one = settlement(claim, Exhausted(), failure=failure)
        assert await store.queue.settle([one]) == frozenset()
        assert await store.records(of.key) == (one.record(),)
        assert one.record().slot == slot

    @law("history", 7)
    async def test_the_newest_lines_of_several_tasks(self, store: Store) -> None:
        """The newest lines of several tasks are those that `read` gives for each of them, without messages,
        tracebacks, results and traces; unknown tasks are left out."""
        names = ("one", "two", "none")
        for name in names:
            await store.define(task(name))
        text = 'a "message":"x", of null,{"type":1} \\" and \\ in ünicode' * 20
        failure = Failure(type='Un"usual', message=text, traceback=text)
        result = Result(type="builtins.str", size=len(text), json=json.dumps(text))
        for name in names[:2]:
            for number in range(3):
                claim = await store.claim_new(run(task(name), f"failed {number}"))
                await store.queue.settle([settlement(claim, Exhausted(), failure=failure)])
                claim = await store.claim_new(run(task(name), f"succeeded {number}"))
                await store.queue.settle([replace(settlement(claim), result=result)])
        keys = [key(name) for name in (*names, "unknown")]
        for limit in (0, 1, 4, 100):
            assert await store.history.recent([*keys, *keys], limit) == {
                key(name): tuple(line.outline() for line in await store.history.read(key(name), limit))
                for name in names
            }
        newest, failed = (await store.history.recent(keys, 2))[key("one")]
        assert newest.result is None
        assert failed.failure == Failure(type=failure.type, message="", traceback="")
        assert await store.history.recent([], 5) == {}

    @law("history", 2)
    async def test_old_lines_make_room(self, store: Store) -> None:
        """The newest lines of a task are kept: at most the retained number, at least for the retained time after the
        last one."""
        await store.define(task("busy"))
        await store.define(task("quiet"))
        await store.settle(await store.claim_new(run(task("quiet"))))
        many = runs(task("busy"), store.retained + 5)
        for number, one in enumerate(many):
            await store.settle(await store.claim_new(one))
            assert len(await store.records(key("busy"))) == min(number + 1, store.retained)
        lines = await store.records(key("busy"))
        assert [line.run for line in lines] == [one.id for one in reversed(many[5:])]
        assert len(await store.records(key("quiet"))) == 1

    @law("history", 2)
    async def test_lines_are_kept_while_the_task_runs_now_and_then(self, store: Store) -> None:
        of, term = task(), await store.lead()
        pause = store.kept_for - HOUR
        slot = await store.slot(-MINUTE)
        version = await store.define(of, slot)
        assert await store.commit_one(term, decision(of, version, slot, skips=[skipped(slot)], then=slot + 1000 * DAY))
        requests = [f"{number}" for number in range(min(4, store.retained))]
        for request in requests:
            await store.settle(await store.claim_new(run(of, request)))
            await store.advance(pause)
        assert [line.run for line in await store.records(of.key)] == [run(of, one).id for one in reversed(requests)]
        assert (await store.view(of.key)).skipped == {SkipReason.CATCH_UP: 1}

    @law("history", 2)
    async def test_a_batch_larger_than_what_is_kept_leaves_the_newest(self, store: Store) -> None:
        await store.define(task())
        await store.settle(await store.claim_new(run(task(), "older")))
        await store.enqueue(*runs(task(), 3 * store.retained))
        claims = await store.claim()
        await store.queue.settle([settlement(claim) for claim in claims])
        newest = [claim.run.id for claim in claims[: -store.retained - 1 : -1]]
        assert [line.run for line in await store.records(key())] == newest

    @law("history", 3)
    async def test_skips_are_counted_and_shown(self, store: Store) -> None:
        """Every skipped slot is counted under its reason, and the newest skips can be read as ranges."""
        of, slot, term = task(), await store.slot(-DAY), await store.lead()
        version = await store.define(of, slot)
        expected: dict[SkipReason, int] = {}
        shown: list[Skipped] = []
        for number, reason in enumerate([*SkipReason, SkipReason.PAUSED, SkipReason.OVERLAP]):
            at = slot + number * MINUTE
            one = skipped(at, last=at + number * SECOND, count=number + 1, reason=reason)
            assert await store.commit_one(term, decision(of, version, at, skips=[one], then=at + MINUTE))
            expected[reason] = expected.get(reason, 0) + number + 1
            shown.insert(0, one)
            assert (await store.view(of.key)).skipped == expected
        for limit in range(len(shown) + 2):
            assert await store.history.skips(of.key, limit) == tuple(shown[:limit])
        assert await store.history.skips(key("unknown"), 10) == ()

    @law("history", 3)
    async def test_counts_outlive_the_ranges_that_make_room(self, store: Store) -> None:
        of, slot, term = task(), await store.slot(-DAY), await store.lead()
        version = await store.define(of, slot)
        every: list[Skipped] = []
        for number in range(7):
            at = slot + number * HOUR
            some = [skipped(at + second * SECOND) for second in range(50)]
            every = [*reversed(some), *every]
            assert await store.commit_one(term, decision(of, version, at, skips=some, then=at + HOUR))
        assert (await store.view(of.key)).skipped == {SkipReason.CATCH_UP: 350}
        newest = await store.history.skips(of.key, EVERYTHING)
        assert len(newest) >= 100
        assert list(newest) == every[: len(newest)]

    @law("history", 3)
    async def test_several_ranges_of_one_decision_are_shown_newest_first(self, store: Store) -> None:
        of, slot, term = task(), await store.slot(-DAY), await store.lead()
        version = await store.define(of, slot)
        first = skipped(slot, last=slot + HOUR, count=61, reason=SkipReason.CATCH_UP)
        second = skipped(slot + 2 * HOUR, reason=SkipReason.DEADLINE)
        assert await store.commit_one(term, decision(of, version, slot, skips=[first, second], then=slot + DAY))
        assert await store.history.skips(of.key, 10) == (second, first)
        assert (await store.view(of.key)).skipped == {SkipReason.CATCH_UP: 61, SkipReason.DEADLINE: 1}

    @law("history", 4)
    async def test_clearing_deletes_only_the_history(self, store: Store) -> None:
        """Clearing deletes the lines, the skips and the counts, and nothing else."""
        of, slot, term = exclusive(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        await store.define(task("other"))
        for one in (of, task("other")):
            await store.settle(await store.claim_new(run(one, "settled")))
        assert await store.commit_one(term, decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR))
        claim = await store.claim_new(run(of, "running"))
        await store.enqueue(run(of, "held"))
        await store.dispatch.pause([of.key])
        before = await store.state()

        assert await store.history.clear([of.key, key("unknown")]) == {of.key}
        after = await store.state()
        assert (after.records[of.key], after.skips[of.key]) == ((), ())
        assert after.records[key("other")] == before.records[key("other")]
        [earlier] = [view for view in before.tasks if view.key == of.key]
        [view] = [view for view in after.tasks if view.key == of.key]
        assert view.skipped == {}
        assert (view.version, view.next_slot, view.paused, view.live) == (
            version,
            next_slot(slot + HOUR),
            True,
            earlier.live,
        )

        assert await store.history.clear([of.key]) == {of.key}
        assert await store.history.clear([]) == frozenset()
        assert await store.settle(claim)
        assert [line.run for line in await store.records(of.key)] == [claim.run.id]
        assert [freed.run for freed in await store.claim()] == [run(of, "held")]

    @law("history", 4)
    async def test_clearing_leaves_waiting_runs_requests_and_pauses_alone(self, store: Store) -> None:
        of, slot = task(), await store.slot(-MINUTE)
        await store.define(of, slot)
        await store.settle(await store.claim_new(run(of, "settled")))
        await store.settle(await store.claim_new(run(of, "retried")), Retried(HOUR))
        await store.release(await store.claim_new(run(of, "released")), HOUR)
        await store.claim_new(run(of, "running"))
        await store.enqueue(run(of, "queued"))
        await store.dispatch.pause([of.key])
        await store.dispatch.resume([of.key])
        before, due = await store.state(), await store.due(of.key)
        assert await store.history.clear([of.key]) == {of.key}
        assert await store.state() == replace(before, records={of.key: ()})
        assert await store.due(of.key) == due
        for request in ("settled", "retried", "released", "running", "queued"):
            assert await store.enqueue(run(of, request)) == (Enqueued.DUPLICATE,)
        await store.advance(HOUR)
        assert len(await store.claim()) == 3

    @law("history", 5)
    async def test_a_snapshot_of_some_tasks_counts_what_is_queued_for_all(self, store: Store) -> None:
        for name in "ab":
            await store.define(task(name))
        await store.enqueue(run(task("a")), run(task("b")))
        for keys in ((), (key("a"),), (key("unknown"),), None):
            assert (await store.history.snapshot(keys)).queued == 2

    @law("history", 5)
    async def test_held_runs_are_shown_last_and_first_in_first_out(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        waiting = [run(of, name) for name in "dbcae"]
        await store.enqueue(*waiting)
        assert [live.run for live in await store.live(of.key)] == [one.id for one in waiting]

    @law("history", 5)
    async def test_a_snapshot_shows_the_state_of_all_tasks(self, store: Store) -> None:
        """A snapshot is one consistent reading of every task it names; unknown keys are left out."""
        of, slot, term = task("a"), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        other = await store.define(exclusive("b"), slot)
        await store.membership.announce(presence("node"), TTL)
        dispatched = of.run_of_slot(slot, version)
        assert await store.commit_one(term, decision(of, version, slot, dispatch=[dispatched], then=slot + HOUR))
        [running] = await store.claim()
        await store.settle(await store.claim_new(run(of, "retried")), Retried(HOUR))
        await store.release(await store.claim_new(run(of, "released")), 2 * HOUR, started=True)
        await store.enqueue(run(of, "queued"), run(exclusive("b"), "first"), run(exclusive("b"), "second"))
        await store.queue.cancel([(of.key, running.run.id)])
        await store.dispatch.pause([key("b")])

        snapshot = await store.history.snapshot()
        a, b = snapshot.tasks
        assert (snapshot.term, snapshot.nodes, snapshot.queued) == (term, (presence("node"),), 2)
        assert near(snapshot.now, slot + MINUTE)
        assert (a.key, a.version, a.next_slot, a.paused, a.retired) == (
            of.key,
            version,
            next_slot(slot + HOUR),
            False,
            False,
        )
        assert (b.key, b.version, b.next_slot, b.paused, b.retired) == (key("b"), other, next_slot(slot), True, False)

        lives = {live.run: live for live in a.live}
        assert len(lives) == len(a.live) == 4
        live = lives[running.run.id]
        assert (live.state, live.worker, live.cancelling, live.slot) == (RunState.RUNNING, WORKER, True, slot)
        assert (live.attempt, live.failures, live.due_at, live.retrying) == (1, 0, None, False)
        live = lives[run(of, "retried").id]
        assert (live.state, live.worker, live.retrying, live.slot) == (RunState.WAITING, None, True, None)
        assert live.failures == 1
        assert live.due_at is not None
        assert near(live.due_at, snapshot.now + HOUR)
        assert a.retry_at == live.due_at
        live = lives[run(of, "released").id]
        assert (live.state, live.worker, live.retrying, live.failures) == (RunState.WAITING, None, False, 0)
        live = lives[run(of, "queued").id]
        assert (live.state, live.worker, live.due_at) == (RunState.QUEUED, None, None)
        assert [live.state for live in b.live] == [RunState.QUEUED, RunState.HELD]

        assert (await store.history.snapshot([key("b"), key("unknown")])).tasks == (b,)
        assert (await store.history.snapshot([key("b"), of.key, key("b")])).tasks == (a, b)
        assert (await store.history.snapshot([])).tasks == ()
        assert (await store.history.snapshot([key("unknown")])).tasks == ()

    @law("history", 5)
    async def test_a_snapshot_names_the_term_while_its_lease_lives(self, store: Store) -> None:
        term = await store.lead(ttl=TTL)
        assert await store.term() == term
        await store.advance(TTL - 10 * SECOND)
        assert await store.leadership.renew(term, TTL)
        await store.advance(TTL - 10 * SECOND)
        assert await store.term() == term
        await store.advance(10 * SECOND)
        assert await store.term() is None
        successor = await store.lead(NodeId("successor"), TTL)
        assert await store.term() == successor
        assert await store.leadership.resign(successor)
        assert await store.term() is None

    @law("history", 6)
    async def test_the_store_writes_what_no_worker_can(self, store: Store) -> None:
        """A line that the store itself writes has no failure, and names the claim's worker and token, or "" and 0 if
        there was no claim. A LOST line lasts from the last heartbeat until the reaping; a CANCELLED line begins when it
        is written and has no duration."""
        of, slot, term = exclusive(), await store.slot(-MINUTE), await store.lead()
        version = await store.define(of, slot)
        dispatched = of.run_of_slot(slot, version)
        assert await store.commit_one(term, decision(of, version, slot, dispatch=[dispatched], then=slot + HOUR))
        [silent] = await store.claim()
        await store.advance(SECOND)
        before = await store.now()
        assert await store.extend_one(silent, TTL)
        beat = await store.now()
        await store.advance(TTL)
        assert await store.reap(term, TTL) == (silent,)
        [lost] = await store.records(of.key)
        assert (lost.status, lost.run, lost.slot, lost.attempt) == (AttemptStatus.LOST, dispatched.id, slot, 1)
        assert (lost.worker, lost.token, lost.failure) == (WORKER, silent.token, None)
        assert before <= lost.started_at <= beat
        assert TTL <= lost.duration <= await store.now() - lost.started_at

        [claim] = await store.claim(NodeId("other"))
        await store.queue.cancel([(of.key, dispatched.id)])
        await store.enqueue(run(of, "queued"), run(of, "held"))
        before = await store.now()
        assert await store.release(claim)
        [waits] = await store.claim()
        assert await store.settle(waits, Retried(HOUR))
        for request in ("held", "queued"):
            requests = [(of.key, run(of, request).id)]
            assert await store.queue.cancel(requests) == (Cancelling.CANCELLED,)
        waiting, held, retried, released, _ = await store.records(of.key)
        after = await store.now()
        assert retried.status is AttemptStatus.RETRIED
        assert (released.run, released.slot, released.attempt) == (dispatched.id, slot, 2)
        assert (released.worker, released.token) == (NodeId("other"), claim.token)
        for line in (waiting, held, released):
            assert (line.status, line.failure, line.duration) == (AttemptStatus.CANCELLED, None, NOTHING)
            assert before <= line.started_at <= after
        for line, request, attempt in ((waiting, "queued", 2), (held, "held", 1)):
            assert (line.run, line.slot, line.attempt) == (run(of, request).id, None, attempt)
            assert (line.worker, line.token) == (NodeId(""), 0)

    @law("history", 5)
    async def test_an_empty_store_has_an_empty_snapshot(self, store: Store) -> None:
        snapshot = await store.history.snapshot()
        assert (snapshot.term, snapshot.tasks, snapshot.nodes, snapshot.queued) == (None, (), (), 0)

    @law("history", 5)
    async def test_reading_changes_nothing(self, store: Store) -> None:
        of = exclusive()
        await store.define(of)
        await store.enqueue(run(of, "first"), run(of, "second"))
        before = await store.state()
        for _ in range(3):
            assert await store.state() == before
        [claim] = await store.claim(NodeId("worker"))
        assert claim.attempt == 1
        assert await store.settle(claim, Succeeded())
        assert len(await store.history.read(of.key, EVERYTHING)) == 1
