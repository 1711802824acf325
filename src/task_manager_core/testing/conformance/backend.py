"""Tests of the laws of all verbs: names do not collide, no run gets lost, and a repeated call is harmless."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import HeldByOther
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import AttemptStatus, Exhausted, Retried
from task_manager_core.ports import Cancelling, Enqueued, Extension
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.conformance.conservation import assert_conserved
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import (
    HOUR,
    MINUTE,
    NOTHING,
    ODD,
    TTL,
    decision,
    key,
    presence,
    run,
    runs,
    settlement,
    skipped,
    task,
)
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.sequences import (
    REPEATABLE,
    SETUP_STEPS,
    StepRunner,
    random_steps,
)
from task_manager_core.testing.conformance.store import Store

MEETING = (
    ("a", "b:c"), ("a:b", "c"), ("a:", "b:c"), ("a", ":b:c"),
    ("a", "b/c"), ("a/b", "c"), ("a", "b|c"), ("a|b", "c"), ("a", "b\\c"), ("a\\b", "c"), ("a", "b.c"), ("a.b", "c"),
    ("a", "b%3Ac"), ("a%3Ab", "c"), ("a", "b%c"), ("a", "b%25c"), ("a", "b c"), ("a b", "c"), ("a ", "b c"),
    ("a", "b+c"),
    ("{a}", "b"), ("a", "{b}"), ("{a", "b}"), ("a}", "{b"), ("{}", "{}"), ("[a]", "*"), ("a", "*"), ("a", "?"),
    ("'", '"'), ('"', "'"), ("a", "None"), ("None", "a"), ("0", "1"), ("01", "1"), ("A", "b"), ("a", "b"), ("a", "B"),
    ("é", "b"), ("e\u0301", "b"), ("\u00a0", "b"), ("\u200b", "b"), (" ", "b"), ("日本", "語"), ("🙂", "\U0001f600"),
    ("a" * 200, "b"), ("a" * 199, "b"), ("ü" * 200, "ü" * 200),
)  # fmt: skip
"""Pairs of group and name that a careless encoding confuses."""

NODES = (
    *(
        "a",
        "A",
        "a ",
        " a",
        "a  ",
        "a:b",
        "a%3Ab",
        "a/b",
        "a b",
        "a+b",
        "{a}",
        "a@b:1:2",
        "'",
        '"',
        "\\",
        "*",
        "?",
        "0",
    ),
    *("00", "é", "e\u0301", "日本", "🙂", "None", "-", "+", "$", "a" * 200, "a" * 400, "ü" * 400),
)
"""Names of processes. They contain the names of a service and of a host."""


class BackendLaws(Contract):
    @law("backend", 1)
    async def test_tasks_whose_names_look_alike_share_nothing(self, store: Store) -> None:
        """Two tasks or two nodes whose names differ share nothing, however alike they look."""
        tasks = [task(name, group, priority=Priority.HIGH) for group, name in MEETING]
        assert len({of.key for of in tasks}) == len(MEETING)
        slot, term = await store.slot(-HOUR), await store.lead()
        versions = [await store.define(of, slot) for of in tasks]

        await store.enqueue(*(run(of, kwargs=f'{{"number":{number}}}') for number, of in enumerate(tasks)))
        claims = await store.claim()
        assert [(claim.run.task, claim.run.kwargs) for claim in claims] == [
            (of.key, f'{{"number":{number}}}') for number, of in enumerate(tasks)
        ]
        for number, (claim, of, version) in enumerate(zip(claims, tasks, versions, strict=True)):
            if number % 2:
                assert await store.settle(claim, Exhausted())
            if number % 3 == 0:
                assert await store.dispatch.pause([of.key]) == {of.key}
            if number % 5 == 0:
                skips = [skipped(slot, count=number + 1)]
                assert await store.commit_one(term, decision(of, version, slot, skips=skips, then=slot + 2 * HOUR))
        await store.catalogue.remove([of.key for of in tasks[6::7]])

        views = {view.key: view for view in (await store.history.snapshot()).tasks}
        assert len(views) == len(tasks) - len(tasks[6::7])
        for number, (of, version) in enumerate(zip(tasks, versions, strict=True)):
            if number % 7 == 6:
                assert of.key not in views
                continue
            view = views[of.key]
            assert (view.version, view.paused, len(view.live)) == (version, number % 3 == 0, 1 - number % 2)
            assert sum(view.skipped.values()) == (0 if number % 5 else number + 1)
            lines = await store.records(of.key)
            assert [(line.run, line.status) for line in lines] == [(run(of).id, AttemptStatus.FAILED)] * (number % 2)
        assert [stored.key for stored in sorted(views.values(), key=lambda view: view.version)] == [
            of.key for number, of in enumerate(tasks) if number % 7 != 6
        ]

    @law("backend", 1)
    async def test_names_are_told_apart_where_they_are_looked_up(self, store: Store) -> None:
        await store.define(task("b", "a"))
        for group, name in MEETING:
            other = TaskKey(group, name)
            if other == TaskKey("a", "b"):
                continue
            assert (await store.history.snapshot([other])).tasks == (), other
            assert await store.catalogue.remove([other]) == frozenset(), other
            assert await store.dispatch.pause([other]) == frozenset(), other
            assert await store.history.clear([other]) == frozenset(), other
        assert not (await store.view(key("b", "a"))).paused

    @law("backend", 1)
    async def test_nodes_whose_names_look_alike_share_nothing(self, store: Store) -> None:
        await store.define(task())
        nodes = [NodeId(name) for name in NODES]
        for number, node in enumerate(nodes):
            term = await store.lead(node, TTL)
            for other in nodes:
                answer = await store.leadership.campaign(other, TTL)
                assert answer == term if other == node else isinstance(answer, HeldByOther), (node, other)
            assert await store.leadership.resign(term)
            await store.membership.announce(presence(node.value, functions=frozenset({f"{number}"})), TTL)
        living = (await store.history.snapshot(())).nodes
        assert [(one.node, {function.name for function in one.functions}) for one in living] == [
            (node, {f"{number}"}) for number, node in sorted(enumerate(nodes), key=lambda named: named[1])
        ]
        await store.enqueue(*runs(task(), len(nodes)))
        claims = {node: await store.claim(node, 1) for node in nodes}
        for node in nodes:
            [claim] = claims[node]
            assert claim.worker == node
            assert await store.queue.claim(node, 10, NOTHING, known=()) == (claim,)
            assert not await store.settle(replace(claim, worker=nodes[nodes.index(node) - 1])), node
            await store.membership.depart(node)
            assert len((await store.history.snapshot(())).nodes) == len(nodes) - nodes.index(node) - 1
        assert await store.queue.settle([settlement(claim) for [claim] in claims.values()]) == frozenset()

    @law("backend", 2)
    async def test_the_time_of_a_store_is_in_whole_milliseconds(self, store: Store) -> None:
        """Every instant that a verb answers is in whole milliseconds."""
        await store.define(task(), await store.slot())
        for number in range(3):
            await store.advance(timedelta(microseconds=123_457))
            assert (await store.now()).microsecond % 1000 == 0
            assert (await store.history.snapshot()).now.microsecond % 1000 == 0
            await store.dispatch.pause([key()])
            await store.dispatch.resume([key()])
            await store.settle(await store.claim_new(run(task(), f"{number}")), Retried(ODD))
            view = await store.view(key())
            assert await store.queue.cancel([(key(), run(task(), f"{number}").id)]) == (Cancelling.CANCELLED,)
            line = (await store.records(key()))[0]
            for instant in (view.resumed_at, view.retry_at, line.started_at):
                assert instant is not None
                assert instant.microsecond % 1000 == 0

    @law("backend", 3)
    @pytest.mark.parametrize("seed", range(12))
    async def test_every_live_run_is_in_exactly_one_place_after_any_steps(self, store: Store, seed: int) -> None:
        """Every live run is in exactly one place: held, queued, running or waiting."""
        player = StepRunner(store, await store.slot(), settable=store.settable)
        for step in (*SETUP_STEPS, *random_steps(Decider(seed), 80)):
            await player.run_step(step)
            assert_conserved(await store.history.snapshot())

        live = [live.run for view in (await store.history.snapshot()).tasks for live in view.live]
        assert Counter(run.id for run in await player.drain()) == Counter(live)
        assert [view.live for view in (await store.history.snapshot()).tasks if view.live] == []

    @law("backend", 6)
    @pytest.mark.parametrize("seed", range(100, 106))
    async def test_asking_again_changes_nothing_more(self, store: Store, seed: int) -> None:
        """A verb that was answered may be called again with the same arguments, and changes nothing more; only `claim`
        gives more, and only the progress of a term advances again."""
        player = StepRunner(store, await store.slot(), settable=store.settable)
        for step in (*SETUP_STEPS, *random_steps(Decider(seed), 60)):
            ask = await player.prepare(step)
            await ask()
            if step.verb in REPEATABLE:
                before = await store.state()
                await ask()
                assert await store.state() == before, step

    @law("backend", 7)
    async def test_what_does_not_exist_changes_nothing(self, store: Store) -> None:
        """An item that does not exist is left out of the answer and changes nothing, and so does an empty batch."""
        known, unknown, term = task(), task("unknown"), await store.lead()
        version, slot = await store.define(known, await store.slot(-MINUTE)), await store.slot(-MINUTE)
        claim = await store.claim_new(run(known))
        over = replace(claim, run=run(unknown), token=claim.token + 1)
        before = await store.state()

        for keys in ([], [unknown.key]):
            assert await store.catalogue.remove(keys) == frozenset()
            assert await store.catalogue.retire(term, keys) == frozenset()
            assert await store.dispatch.pause(keys) == frozenset()
            assert await store.dispatch.resume(keys) == frozenset()
            assert await store.history.clear(keys) == frozenset()
            assert await store.queue.promote(keys) == 0
            assert (await store.history.snapshot(keys)).tasks == ()
        for claims in ([], [over]):
            assert await store.queue.extend(claims, TTL) == Extension(frozenset(claims), frozenset())
            assert await store.queue.settle([settlement(one) for one in claims]) == frozenset(claims)
            assert await store.queue.release(claims, NOTHING, started=False) == frozenset(claims)
        assert await store.catalogue.put([]) == ()
        assert await store.dispatch.commit(term, []) == ()
        assert await store.dispatch.commit(term, [decision(unknown, version, slot, then=slot + HOUR)]) == (False,)
        assert await store.enqueue() == ()
        assert await store.enqueue(run(unknown)) == (Enqueued.UNKNOWN_TASK,)
        assert await store.queue.cancel([]) == ()
        assert await store.queue.cancel([(unknown.key, run(unknown).id)]) == (Cancelling.NOT_LIVE,)
        assert await store.records(unknown.key) == ()
        assert await store.history.skips(unknown.key, 10) == ()
        await store.membership.depart(NodeId("unknown"))
        assert await store.state() == before
        assert await store.catalogue.load(version) is None

    @law("backend", 7)
    async def test_the_answer_names_what_exists(self, store: Store) -> None:
        await store.define(task("a"))
        await store.define(task("b"))
        assert await store.dispatch.pause([key("a"), key("unknown")]) == {key("a")}
        assert not (await store.view(key("b"))).paused
        assert await store.dispatch.resume([key("a"), key("b"), key("unknown")]) == {key("a"), key("b")}
        assert await store.history.clear([key("b"), key("unknown")]) == {key("b")}
        assert await store.catalogue.remove([key("unknown"), key("a")]) == {key("a")}

    @law("backend", 8)
    async def test_a_verb_that_waits_answers_at_the_end_of_its_wait(self, store: Store) -> None:
        """A verb answers in time, also while other verbs run; a verb that waits answers at the end of its wait."""
        assert await store.queue.claim(NodeId("worker"), 10, timedelta(milliseconds=20)) == ()
        await store.notifier.wait(timedelta(milliseconds=20))

    @law("backend", 8)
    async def test_batches_in_opposite_orders_do_not_wait_for_each_other_for_ever(self, store: Store) -> None:
        slot, term = await store.slot(-MINUTE), await store.lead()
        tasks = [task(f"task {number}") for number in range(10)]
        keys = [of.key for of in tasks]
        versions = [await store.define(of, slot) for of in tasks]
        decisions = [
            decision(of, version, slot, skips=[skipped(slot)], then=slot + HOUR)
            for of, version in zip(tasks, versions, strict=True)
        ]
        for number in range(10):
            await store.enqueue(*(run(of, f"{number}") for of in tasks))
            claims = await store.claim()
            later = [run(of, f"{number} later") for of in tasks]
            await asyncio.gather(
                store.dispatch.commit(term, decisions),
                store.dispatch.commit(term, decisions[::-1]),
                store.dispatch.pause(keys),
                store.dispatch.resume(keys[::-1]),
                store.queue.extend(claims, TTL),
                store.queue.extend(claims[::-1], TTL),
                store.queue.settle([settlement(claim, Retried(HOUR)) for claim in claims[:5]]),
                store.queue.settle([settlement(claim) for claim in claims[:4:-1]]),
                store.queue.enqueue(later),
                store.queue.enqueue(later[::-1]),
                store.queue.cancel([(claim.run.task, claim.run.id) for claim in claims[::-1]]),
                store.queue.promote(keys),
                store.queue.reap(term, HOUR, 100),
                store.history.clear(keys[::-1]),
                store.history.snapshot(),
                *(store.claim(NodeId(f"worker {worker}"), 5) for worker in range(4)),
            )
            assert_conserved(await store.history.snapshot())
