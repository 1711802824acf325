"""What a task raised, as a record that any store can keep."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from task_manager_core.domain.run import Failure

LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 8_000


class RunTimedOut(TimeoutError):
    """The attempt took longer than its task allows."""


class WorkerLost(Exception):
    """More attempts of a run ended without a word of their workers than its task allows."""


def class_names(error: BaseException) -> tuple[str, ...]:
    """The qualified names that a retry policy may mention."""
    return tuple(f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__)


def failure_of(error: BaseException) -> Failure:
    """Bounded, so that a task cannot fill the store by failing; a traceback keeps its end, which names the place."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    message = shown(lambda: str(error), "(its message cannot be shown)")
    parts = shown(
        lambda: "".join(_bounded(part) for part in traceback.format_exception(error)),
        # Frames are the interpreter's own, whatever the exception does when it is shown.
        "".join((*traceback.format_tb(error.__traceback__), f"{kind}: {message}\n")),
    )
    text = _valid(parts)
    return Failure(
        type=_bounded(_valid(kind)),
        message=_bounded(_valid(message)),
        traceback=text if len(text) <= LONGEST_TRACEBACK else "…" + text[-LONGEST_TRACEBACK:],
    )


def shown(show: Callable[[], str], otherwise: str) -> str:
    """What an exception of the user says of itself, or something else if that raises: a SyntaxError whose numbers are
    texts has no traceback, and a `__str__` may do anything."""
    try:
        return show()
    except BaseException:  # noqa: BLE001 - the user's code, as much as the function that raised it
        return otherwise


def _bounded(text: str) -> str:
    """Of a traceback the parts are frames and messages: a long message must not push out the frames."""
    return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "…"


def _valid(text: str) -> str:
    """A store keeps UTF-8, which has no lone surrogates."""
    return text.encode("utf-8", "replace").decode()
