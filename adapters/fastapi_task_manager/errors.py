"""The errors of a manager, and the answers to all errors. The other errors come from the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from task_manager_core.domain.errors import BackendUnavailable, RefusedError, TaskManagerError

if TYPE_CHECKING:
    from fastapi import Request, Response

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


async def error_response(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette calls it
    """Answer an error of this library as the management API does: `app.add_exception_handler(TaskManagerError,
    error_response)`.

    Endpoints of the application that call the manager need no handlers of their own then. An unknown run is a 404, a
    value that is refused a 400 whose `field` names it, a name that is taken a 409, a store that is away a 503 with
    `Retry-After`.

    Args:
        request: The request.
        error: A TaskManagerError.

    Returns:
        JSON with `detail`, the text of the error, and `field`.

    Raises:
        Exception: The error itself, if it is of another kind.
    """
    if not isinstance(error, TaskManagerError):
        raise error
    from fastapi_task_manager.api.errors import refusal  # noqa: PLC0415 - FastAPI takes its time to import

    return refusal(error)


LONGEST_ECHO = 120


def echo(value: object) -> str:
    """A refused value, as a message repeats it."""
    text = repr(value)
    return text if len(text) <= LONGEST_ECHO else f"{text[:LONGEST_ECHO]}…"
