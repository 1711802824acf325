"""Tests of the law about values that this release cannot read, because a later release wrote them.

Here such a value is a text with a mark: the codec of the core refuses it. A store that keeps no texts can read the
value. It must not hide other values either.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.run import Exhausted, Failure, RunState
from task_manager_core.ports import codec, reader
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import HOUR, TTL, key, presence, run, runs, settlement, task
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import Store

MARK = "written by a later release"


def _nothing(_: str) -> None:
    """No text is read in the fast way."""


@contextmanager
def a_later_release_wrote_the_marked() -> Generator[None]:

    def refusing(what: str, text: str) -> object:
        if MARK in text:
            raise BackendCorrupt(what, MARK)
        found: object = json.loads(text)
        return found

    codec.forget_decoded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_parsed", refusing)
        patch.setattr(codec, "_plain_run", _nothing)  # The fast way passes by the readers.
        yield
    codec.forget_decoded()


class BackendUnreadable(Contract):
    @law("backend", 9)
    async def test_a_run_that_cannot_be_read_hides_no_other(self, store: Store) -> None:
        """A stored value that cannot be read makes no verb fail and hides no other value: its run is postponed without
        a failure or a loss, its node stays among the living nodes, its definition is named."""
        await store.define(task())
        others, marked = runs(task(), 4), run(task(), "marked", kwargs=f'{{"text":"{MARK}"}}')
        await store.enqueue(*others[:2], marked, *others[2:])
        with a_later_release_wrote_the_marked():
            claims = await store.claim()
            assert {claim.run for claim in claims} | {marked} == {*others, marked}
            assert len((await store.live(key())) or ()) == 5
        for claim in claims:
            if claim.run == marked:
                assert await store.release(claim)
        [live] = [one for one in await store.live(key()) if one.run == marked.id]
        assert live.state is not RunState.RUNNING
        assert (live.attempt, live.failures, live.losses) == (1, 0, 0)
        await store.advance(HOUR)
        [claim] = await store.claim()
        assert (claim.run, claim.attempt, claim.failures, claim.losses) == (marked, 1, 0, 0)

    @law("backend", 9)
    async def test_a_claimed_run_that_cannot_be_read_keeps_no_other_from_being_reaped(self, store: Store) -> None:
        term = await store.lead()
        await store.define(task())
        marked = run(task(), "marked", kwargs=f'{{"text":"{MARK}"}}')
        await store.enqueue(*runs(task(), 2), marked)
        claims = await store.claim()
        await store.advance(TTL)
        with a_later_release_wrote_the_marked():
            reaped = await store.reap(term, TTL)
        assert {claim.run for claim in reaped} | {marked} == {claim.run for claim in claims}
        assert {(live.attempt, live.losses) for live in await store.live(key())} == {(2, 1)}

    @law("backend", 9)
    async def test_a_definition_that_cannot_be_read_hides_no_other(self, store: Store) -> None:
        slot = await store.slot()
        await store.define(task("plain"), slot)
        await store.define(task("marked", description=MARK), slot)
        with a_later_release_wrote_the_marked():
            changes = await store.catalogue.load(0)
            assert changes is not None
            assert changes.keys == {key("plain"), key("marked")}
            assert changes.unreadable <= {key("marked")}
            assert {one.definition.key for one in changes.changed} == changes.keys - changes.unreadable
            assert {due.key for due in (await store.dispatch.agenda(10)).due} == changes.keys
            assert {view.key for view in (await store.history.snapshot()).tasks} == changes.keys

    @law("backend", 9)
    async def test_a_line_that_cannot_be_read_hides_no_other(self, store: Store) -> None:
        await store.define(task())
        requests = runs(task(), 3)
        for number, one in enumerate(requests):
            failure = Failure(type="Error", message=MARK if number == 1 else "plain", traceback="")
            await store.queue.settle([settlement(await store.claim_new(one), Exhausted(), failure=failure)])
        with a_later_release_wrote_the_marked():
            lines = [line.run for line in await store.records(key())]
        assert [line for line in lines if line != requests[1].id] == [requests[2].id, requests[0].id]

    @law("backend", 9)
    async def test_a_node_whose_presence_cannot_be_read_is_among_the_living(self, store: Store) -> None:
        await store.membership.announce(presence("plain"), HOUR)
        await store.membership.announce(presence("marked", functions=frozenset({MARK})), HOUR)
        with a_later_release_wrote_the_marked():
            snapshot = await store.history.snapshot()
        nodes = frozenset(node.node for node in snapshot.nodes)
        assert snapshot.unreadable <= {NodeId("marked")}
        assert NodeId("plain") in nodes
        assert nodes | snapshot.unreadable == {NodeId("plain"), NodeId("marked")}
        await store.membership.depart(NodeId("marked"))
        snapshot = await store.history.snapshot(())
        assert ([node.node.value for node in snapshot.nodes], snapshot.unreadable) == (["plain"], frozenset())
