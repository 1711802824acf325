"""Membership: which processes live, which tasks they declare and which functions they can call."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.observation import Presence


class Membership(Protocol):
    """Laws:

    1. A node is among the living nodes of a snapshot until `ttl` after its last announcement, or until it departs.
    2. The last announcement of a node replaces its earlier ones.
    3. A presence ends after its length, also if the store's clock is set back meanwhile.
    """

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        """Announce that a node lives.

        Args:
            presence: The node, the tasks that it declares and the functions that it can call.
            ttl: The node counts as living for this long.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def depart(self, node: NodeId) -> None:
        """Announce that a node stops.

        Args:
            node: The node.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...
