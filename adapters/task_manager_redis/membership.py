"""Attendance in Redis: when each node ends unless it says otherwise, and what it said of itself."""

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
        self._told: dict[NodeId, Presence] = {}

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        """A presence may name thousands of tasks: it travels when it is new to the store, and later only a beat."""
        node, life = presence.node, ttl // _MILLISECOND
        if self._told.get(node) == presence and await self._client.run(_ANNOUNCE, node.value, life, "") == 1:
            return
        await self._client.run(_ANNOUNCE, node.value, life, encode_presence(presence))
        self._told[node] = presence

    async def depart(self, node: NodeId) -> None:
        self._told.pop(node, None)
        await self._client.run(_DEPART, node.value)
