"""The exception of a task, as a record that any store can keep."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from task_manager_core.domain.run import Failure

LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 8_000


class RunTimedOut(TimeoutError):
    """The attempt took longer than its task allows."""


class WorkerLost(Exception):
    """More attempts of a run lost their worker than its task allows."""


class ProcessCrashed(Exception):
    """The process in which a function executed has ended: the function ended it, or the system did."""


class ChildTraceback(Exception):
    """The cause of an exception that a function raised in a process of its own: it shows the traceback there."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"\n\n{failure.traceback}")


class RaisedInProcess(Exception):
    """Replaces an exception that cannot be sent from one process to another."""

    def __init__(self, message: str, names: tuple[str, ...]) -> None:
        self.class_names = names
        super().__init__(message)


class ArgumentsRefused(TypeError):
    """The arguments of a run do not fit its function. The run is not retried: they will fit no better."""


def class_names(error: BaseException) -> tuple[str, ...]:
    """The qualified names that a retry policy may mention."""
    if isinstance(error, RaisedInProcess):
        return error.class_names
    return tuple(f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__)


def failure_of(error: BaseException) -> Failure:
    """The record of an exception. Its length is bounded, so that a task cannot fill the store by failing. A long
    traceback keeps its end, which names the place of the error."""
    if isinstance(error.__cause__, ChildTraceback):
        return error.__cause__.failure
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    message = text_of(lambda: str(error), "(its message cannot be shown)")
    parts = text_of(
        lambda: "".join(_bounded(part) for part in traceback.format_exception(error)),
        # The frames come from the interpreter: they do not depend on the methods of the exception.
        "".join((*traceback.format_tb(error.__traceback__), f"{kind}: {message}\n")),
    )
    text = valid_text(parts)
    return Failure(
        type=_bounded(valid_text(kind)),
        message=_bounded(valid_text(message)),
        traceback=text if len(text) <= LONGEST_TRACEBACK else "…" + text[-LONGEST_TRACEBACK:],
    )


def text_of(show: Callable[[], str], otherwise: str) -> str:
    """The text that `show` returns, or `otherwise` if it raises. The `__str__` of a user's exception may raise, and a
    SyntaxError whose line number is a text cannot be formatted."""
    try:
        return show()
    except BaseException:  # noqa: BLE001 - user code, like the function that raised the exception
        return otherwise


def _bounded(text: str) -> str:
    """One part of a traceback. A long message must not push out the frames."""
    return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "…"


def valid_text(text: str) -> str:
    """A store keeps UTF-8, which has no lone surrogates."""
    return text.encode("utf-8", "replace").decode()
