"""A hint that it is worth looking again."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol


class Notifier(Protocol):
    """Laws:

    1. A waiter returns soon after a resignation, a change of the catalogue or a request to cancel.
    2. It returns after the timeout at the latest. It may return for nothing, and a signal may get lost: correctness
       never depends on one.
    """

    async def wait(self, timeout: timedelta) -> None:
        """Wait for a signal. Errors: BackendUnavailable."""
        ...
