"""Which processes live, what they declare and what they can call."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.observation import Presence


class Membership(Protocol):
    """Laws:

    1. A node is among the living of a snapshot until `ttl` after its last announcement, or until it departs.
    2. The last announcement of a node replaces its earlier ones.
    3. A presence ends after its length, also if the store's clock is set back meanwhile.
    """

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        """Say that this node lives. Errors: BackendUnavailable."""
        ...

    async def depart(self, node: NodeId) -> None:
        """Say that this node is gone. Errors: BackendUnavailable."""
        ...
