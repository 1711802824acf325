"""What no single law says: names never meet, no run gets lost, and asking twice is harmless."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.run import AttemptStatus, Exhausted
from task_manager_core.testing.conformance.build import HOUR, decision, key, run, skipped, task
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.play import (
    OPENING,
    REPEATABLE,
    Player,
    assert_conserved,
    chosen,
)
from task_manager_core.testing.conformance.store import Store
from task_manager_core.testing.simulation import Decider

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
"""Pairs of group and name that a careless encoding would take for one another."""


class WholeContract(Contract):
    async def test_tasks_whose_names_look_alike_share_nothing(self, store: Store) -> None:
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
                assert await store.schedule.pause([of.key]) == {of.key}
            if number % 5 == 0:
                skips = [skipped(slot, count=number + 1)]
                assert await store.kept(term, decision(of, version, slot, skips=skips, then=slot + 2 * HOUR))
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

    async def test_names_are_told_apart_where_they_are_looked_up(self, store: Store) -> None:
        await store.define(task("b", "a"))
        for group, name in MEETING:
            other = TaskKey(group, name)
            if other == TaskKey("a", "b"):
                continue
            assert (await store.history.snapshot([other])).tasks == (), other
            assert await store.catalogue.remove([other]) == frozenset(), other
            assert await store.schedule.pause([other]) == frozenset(), other
            assert await store.history.clear([other]) == frozenset(), other
        assert not (await store.view(key("b", "a"))).paused

    async def test_the_time_of_a_store_is_in_whole_milliseconds(self, store: Store) -> None:
        await store.define(task(), await store.slot())
        for _ in range(3):
            await store.advance(timedelta(microseconds=123_457))
            assert (await store.now()).microsecond % 1000 == 0
            assert (await store.history.snapshot()).now.microsecond % 1000 == 0
            await store.schedule.pause([key()])
            await store.schedule.resume([key()])
            resumed_at = (await store.view(key())).resumed_at
            assert resumed_at is not None
            assert resumed_at.microsecond % 1000 == 0

    @pytest.mark.parametrize("seed", range(12))
    async def test_every_live_run_is_in_exactly_one_place_whatever_happens(self, store: Store, seed: int) -> None:
        player = Player(store, await store.slot())
        for step in (*OPENING, *chosen(Decider(seed), 80)):
            await player.play(step)
            assert_conserved(await store.history.snapshot())

        live = [live.run for view in (await store.history.snapshot()).tasks for live in view.live]
        assert Counter(run.id for run in await player.drain()) == Counter(live)
        assert [view.live for view in (await store.history.snapshot()).tasks if view.live] == []

    @pytest.mark.parametrize("seed", range(100, 106))
    async def test_asking_again_changes_nothing_more(self, store: Store, seed: int) -> None:
        player = Player(store, await store.slot())
        for step in (*OPENING, *chosen(Decider(seed), 60)):
            ask = await player.call(step)
            await ask()
            if step.verb in REPEATABLE:
                before = await store.picture()
                await ask()
                assert await store.picture() == before, step
