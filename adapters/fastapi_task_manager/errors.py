"""What can be wrong with a manager itself; everything else is an error of the core."""

from __future__ import annotations

from task_manager_core.domain.errors import BackendUnavailable, RefusedError, TaskManagerError


class NotRunningError(BackendUnavailable):
    """The manager has not been started, or has been stopped. `why` is the rest of the sentence, if more is known."""

    def __init__(self, why: str = "") -> None:
        super().__init__("the task manager is not running" + (f": {why}" if why else ""))
        self.args = (self.reason,)  # the store may be well


class ProcessBusyError(TaskManagerError):
    """This process has more to do than it can: the store may be well, and another process free."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"this process is busy: {reason}")


class StartTimedOutError(BackendUnavailable):
    """The store did not become usable within `start_timeout`."""


class StartInterruptedError(BackendUnavailable):
    """The manager was stopped before its start had ended."""

    def __init__(self) -> None:
        super().__init__("the task manager was stopped while it was starting")


class ForeignLoopError(RefusedError):
    """The queue and the locks of a manager that runs belong to another event loop."""

    def __init__(self) -> None:
        super().__init__("this manager runs in another event loop: give each application one of its own")
