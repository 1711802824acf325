"""Tests of the law about the removal of tasks that are over."""

from __future__ import annotations

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import Fenced
from task_manager_core.domain.run import Retried
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import HOUR, TTL, definition, exclusive, key, run, task
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store


async def define_without_slot(store: Store, of: TaskDefinition) -> int:
    """Write a task whose schedule has ended."""
    [version] = await store.catalogue.put([definition(of)])
    assert isinstance(version, int)
    return version


class EndedTasks(Contract):
    @law("catalogue", 15)
    async def test_only_tasks_that_are_over_are_removed(self, store: Store) -> None:
        """The removal of ended tasks is fenced by the term, and removes a task only if it has the given version, no
        next slot, and neither a live nor a held run."""
        term = await store.lead()
        names = ("over", "changed", "planned", "queued", "waiting", "delayed", "running")
        versions = {key(name): await define_without_slot(store, task(name)) for name in names if name != "planned"}
        versions[key("planned")] = await store.define(task("planned"))
        await store.enqueue(run(task("running")))
        await store.claim()
        await store.settle(await store.claim_new(run(task("waiting"))), Retried(HOUR))
        await store.enqueue(run(task("queued")))
        await store.queue.enqueue([run(task("delayed"))], delay=HOUR)
        asked = {**versions, key("changed"): versions[key("changed")] - 1, key("unknown"): 1}
        assert await store.catalogue.remove_ended(term, asked) == frozenset({key("over")})
        assert await store.catalogue.remove_ended(term, asked) == frozenset()
        left = {view.key for view in (await store.history.snapshot()).tasks}
        assert left == {key(name) for name in names if name != "over"}
        assert len(await store.live(key("running"))) == len(await store.live(key("delayed"))) == 1

    @law("catalogue", 15)
    async def test_a_stale_term_removes_no_ended_task(self, store: Store) -> None:
        version = await define_without_slot(store, task())
        older = await store.lead(NodeId("older"), TTL)
        await store.advance(TTL)
        assert await store.catalogue.remove_ended(older, {key(): version}) == Fenced()
        term = await store.lead()
        assert await store.catalogue.remove_ended(older, {key(): version}) == Fenced()
        assert await store.catalogue.remove_ended(older, {}) == Fenced()
        assert (await store.view(key())).version == version
        assert await store.catalogue.remove_ended(term, {key(): version}) == frozenset({key()})

    @law("catalogue", 15)
    async def test_an_ended_task_goes_with_its_history_and_readers_learn_of_it(self, store: Store) -> None:
        term, of = await store.lead(), exclusive()
        version = await define_without_slot(store, of)
        claim = await store.claim_new(run(of, "first"))
        await store.enqueue(run(of, "held"))
        assert await store.catalogue.remove_ended(term, {of.key: version}) == frozenset()
        await store.settle(claim)
        [held] = await store.claim()
        await store.settle(held)
        known = await store.catalogue.load(-1)
        assert known is not None
        assert await store.catalogue.remove_ended(term, {of.key: version}) == frozenset({of.key})
        changes = await store.catalogue.load(known.version)
        assert changes is not None
        assert changes.removed == frozenset({of.key})
        await store.define(of)
        assert await store.records(of.key) == ()
