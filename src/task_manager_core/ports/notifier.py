"""The notifier: it wakes the nodes that wait for a change in the store."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol


class Notifier(Protocol):
    """Laws:

    1. A wait ends soon after a resignation, a deposition, a change of the catalogue or a request to cancel.
    2. A wait ends after the timeout at the latest. It may end without a cause, and a notification may get lost:
       correctness never depends on one.
    """

    async def wait(self, timeout: timedelta) -> None:
        """Wait for a notification.

        Args:
            timeout: The longest wait.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...
