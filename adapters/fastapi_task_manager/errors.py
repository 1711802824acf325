"""The errors of a manager. All other errors come from the core."""

from __future__ import annotations

from task_manager_core.domain.errors import BackendUnavailable, RefusedError, TaskManagerError

DISABLED = "the task manager of this process is disabled (enabled=False): it lists its tasks and executes nothing"


class NotRunningError(BackendUnavailable):
    """The manager has not been started, or has been stopped. `why` is the reason, if it is known."""

    def __init__(self, why: str = "") -> None:
        super().__init__("the task manager is not running" + (f": {why}" if why else ""))
        self.args = (self.reason,)  # without the words of BackendUnavailable: the store may work


class ManagerDisabledError(RefusedError):
    """The configuration disables this manager: it keeps and executes nothing."""

    def __init__(self) -> None:
        super().__init__(DISABLED)


class ProcessBusyError(TaskManagerError):
    """This process is too busy. The store may work, and another process may have time."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"this process is busy: {reason}")


class StartTimedOutError(BackendUnavailable):
    """The store did not become usable within `start_timeout`."""


class StartInterruptedError(BackendUnavailable):
    """The manager was stopped before its start had ended."""

    def __init__(self) -> None:
        super().__init__("the task manager was stopped while it was starting")


class WouldBlockError(RefusedError):
    """A blocking call in the thread of an event loop."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} would block the event loop of its thread: await the asynchronous form there")


class ForeignLoopError(RefusedError):
    """The manager runs in another event loop."""

    def __init__(self) -> None:
        super().__init__("this manager runs in another event loop: give each application one of its own")
