"""What can be wrong with a manager itself; everything else is an error of the core."""

from __future__ import annotations

from task_manager_core.domain.errors import BackendUnavailable


class NotRunningError(BackendUnavailable):
    """The manager has not been started, or has been stopped."""

    def __init__(self) -> None:
        super().__init__("the task manager is not running")


class StartTimedOutError(BackendUnavailable):
    """The store did not become usable within `start_timeout`."""
