"""Membership in memory."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.observation import Presence
from task_manager_core.ports import Membership
from task_manager_memory.state import State


class MemoryMembership(Membership):
    def __init__(self, state: State) -> None:
        self._state = state

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        now = self._state.steady()
        self._state.present = {
            node: (other, until) for node, (other, until) in self._state.present.items() if now < until
        }
        self._state.present[presence.node] = (presence, now + ttl)

    async def depart(self, node: NodeId) -> None:
        self._state.present.pop(node, None)
