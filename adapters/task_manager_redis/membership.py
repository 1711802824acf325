"""Membership in Redis: for each node the instant at which it expires, and its presence."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.observation import Presence
from task_manager_core.ports import Membership
from task_manager_core.ports.codec import encode_presence
from task_manager_redis.client import RedisClient
from task_manager_redis.scripts import script

_MILLISECOND = timedelta(milliseconds=1)
_ANNOUNCE = script("announce")
_DEPART = script("depart")


class RedisMembership(Membership):
    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._announced: dict[NodeId, Presence] = {}

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        """Send the presence only if the store does not have it; else send a heartbeat. A presence may name thousands of
        tasks."""
        node, ttl_ms = presence.node, ttl // _MILLISECOND
        if self._announced.get(node) == presence and await self._client.run(_ANNOUNCE, node.value, ttl_ms, "") == 1:
            return
        await self._client.run(_ANNOUNCE, node.value, ttl_ms, encode_presence(presence))
        self._announced[node] = presence

    async def depart(self, node: NodeId) -> None:
        self._announced.pop(node, None)
        await self._client.run(_DEPART, node.value)
