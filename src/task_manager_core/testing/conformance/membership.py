"""Tests of the laws of membership."""

from __future__ import annotations

from task_manager_core.domain.duties import Duties, Role
from task_manager_core.domain.identity import NodeId
from task_manager_core.testing.conformance.contract import Contract
from task_manager_core.testing.conformance.factories import HOUR, MINUTE, ODD, SECOND, TTL, key, presence
from task_manager_core.testing.conformance.laws import law
from task_manager_core.testing.conformance.store import SLACK, Store


class MembershipContract(Contract):
    @law("membership", 1)
    async def test_a_node_lives_until_its_announcement_ends(self, store: Store) -> None:
        """A node is among the living nodes of a snapshot until `ttl` after its last announcement, or until it
        departs."""
        for node in ("silent", "speaking", "departing"):
            await store.membership.announce(presence(node), TTL)
        assert await store.living() == ["departing", "silent", "speaking"]
        await store.membership.depart(NodeId("departing"))
        assert await store.living() == ["silent", "speaking"]
        await store.advance(TTL - 10 * SECOND)
        await store.membership.announce(presence("speaking"), TTL)
        assert await store.living() == ["silent", "speaking"]
        await store.advance(10 * SECOND)
        assert await store.living() == ["speaking"]
        await store.advance(TTL - 10 * SECOND)
        assert await store.living() == []

    @law("membership", 1)
    async def test_the_length_of_an_announcement_is_kept_to_the_millisecond(self, store: Store) -> None:
        await store.advance(ODD)
        before = await store.now()
        await store.membership.announce(presence("node"), TTL + ODD)
        await store.advance(TTL)
        assert await store.living() == ["node"] or await store.now() >= before + TTL + ODD
        await store.advance(ODD)
        assert await store.living() == []

    @law("membership", 1)
    async def test_departing_again_or_unknown_changes_nothing(self, store: Store) -> None:
        await store.membership.announce(presence("node"), TTL)
        await store.membership.depart(NodeId("unknown"))
        assert await store.living() == ["node"]
        for _ in range(2):
            await store.membership.depart(NodeId("node"))
            assert await store.living() == []
        await store.membership.announce(presence("node"), TTL)
        assert await store.living() == ["node"]

    @law("membership", 2)
    async def test_the_last_announcement_counts(self, store: Store) -> None:
        """The last announcement of a node replaces its earlier ones."""
        first = presence("node", tasks=frozenset({key("a"), key("b")}), functions=frozenset({"f", "g"}))
        duties = Duties(roles=frozenset({Role.EXECUTE}), queues=frozenset({"default", "mail"}))
        last = presence("node", tasks=frozenset({key("b"), key("c")}), duties=duties)
        other = presence("other", tasks=frozenset({key("a")}), functions=frozenset({"ƒ: {x}"}))
        await store.membership.announce(first, 10 * TTL)
        await store.membership.announce(other, TTL)
        assert (await store.history.snapshot()).nodes == (first, other)
        await store.membership.announce(last, TTL)
        assert (await store.history.snapshot()).nodes == (last, other)
        await store.membership.announce(last, TTL)
        assert (await store.history.snapshot()).nodes == (last, other)
        await store.advance(TTL)
        assert await store.living() == []

    @law("membership", 2)
    async def test_a_node_lives_for_the_length_of_its_last_announcement(self, store: Store) -> None:
        await store.membership.announce(presence("node"), TTL)
        await store.membership.announce(presence("node"), TTL + 10 * MINUTE)
        await store.advance(10 * MINUTE)
        assert await store.living() == ["node"]

    @law("membership", 2)
    async def test_the_living_are_shown_in_the_order_of_their_names(self, store: Store) -> None:
        for node in ("b", "a", "c", "B"):
            await store.membership.announce(presence(node), TTL)
        nodes = (await store.history.snapshot()).nodes
        assert [one.node for one in nodes] == sorted(one.node for one in nodes)
        assert len(nodes) == 4

    @law("membership", 3)
    async def test_a_node_does_not_live_longer_by_a_clock_that_is_set_back(self, store: Store) -> None:
        """A presence ends after its length, also if the store's clock is set back meanwhile."""
        await store.membership.announce(presence("silent"), TTL)
        await store.membership.announce(presence("speaking"), TTL)
        await store.set_back(HOUR)
        await store.advance(TTL - 10 * SECOND)
        assert await store.living() == ["silent", "speaking"]
        await store.membership.announce(presence("speaking"), TTL)
        await store.advance(10 * SECOND + SLACK)
        assert await store.living() == ["speaking"]
        await store.advance(TTL)
        assert await store.living() == []
