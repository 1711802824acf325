"""The exception of a task, as the log shows it."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import TypeAlias, TypeGuard

from task_manager_core.application.failure import LONGEST_TRACEBACK, RaisedInProcess, class_names, text_of
from task_manager_core.domain.events import RunSettled
from task_manager_core.domain.run import Settlement

LONGEST_ERROR = 300
"""Characters of the last error in the line about a run that has failed for good."""

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

_BOUNDS = ((20, 3, 2_000), (10, 2, 1_000), (5, 1, 300), (2, 0, 2_000))
"""Frames of each exception, how many causes deep it is shown, and characters of each message: less until the
traceback fits."""

_MOST_IN_A_GROUP = 3


class Abridged(Exception):
    """Stands in the log for an exception whose traceback is too long, or cannot be formatted. Each stand-in has a class
    of its own with the name and the module of the true class."""


class AbridgedGroup(BaseExceptionGroup[BaseException], Abridged):
    """The same for a group, with the first exceptions that are in it."""


def loggable(event: RunSettled) -> ExcInfo | None:
    """The exception of the task for a log record, as `sys.exc_info` gives it. Law: its type is the class of the
    exception, and its traceback can be formatted and is bounded."""
    error, failure = event.error, event.settlement.failure
    if error is None:
        return None
    true = (type(error), error, error.__traceback__)
    if failure is None:
        return true
    if isinstance(error, RaisedInProcess):  # Its class is in another process. Its cause shows the traceback there.
        named = _stand_in(error, failure.message, ())
        named.__cause__, named.__traceback__ = error.__cause__, None
        return type(named), named, None
    if 0 < len(_shown(error)) <= LONGEST_TRACEBACK:
        return true
    for bounds in _BOUNDS:
        abridged = _abridged(error, *bounds)
        if len(_shown(abridged)) <= LONGEST_TRACEBACK:
            return type(error), abridged, abridged.__traceback__
    abridged = _stand_in(error, failure.message, ())
    return type(error), abridged, None


def _shown(error: BaseException) -> str:
    return text_of(lambda: "".join(traceback.format_exception(error)), "")


def _abridged(error: BaseException, frames: int, depth: int, length: int) -> BaseException:
    """A stand-in with the last frames, and with stand-ins for the causes. A cycle of causes ends at the depth."""
    inner = _inner(error) if depth else ()
    shown = _stand_in(error, _message(error, length), tuple(_abridged(one, frames, depth - 1, length) for one in inner))
    shown.__traceback__ = _last_frames(error.__traceback__, frames)
    cause, context = error.__cause__, error.__context__
    if depth and cause is not None:
        shown.__cause__ = _abridged(cause, frames, depth - 1, length)
    elif depth and context is not None and not error.__suppress_context__:
        shown.__context__ = _abridged(context, frames, depth - 1, length)
    return shown


def _is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    return isinstance(error, BaseExceptionGroup)


def _inner(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions[:_MOST_IN_A_GROUP] if _is_group(error) else ()


def _message(error: BaseException, length: int) -> str:
    # The text of a group is its message and a count, which the stand-in adds itself.
    shown = error.message if _is_group(error) else error
    text = text_of(lambda: str(shown), "(its message cannot be shown)")
    return text if len(text) <= length else f"{text[:length]}…"


def _stand_in(error: BaseException, message: str, inner: tuple[BaseException, ...]) -> BaseException:
    module, name = type(error).__module__, type(error).__qualname__
    if isinstance(error, RaisedInProcess):
        module, _, name = class_names(error)[0].rpartition(".")
    members = {"__module__": module, "__qualname__": name}
    bases = (AbridgedGroup,) if inner else (Abridged,)
    made: object = type(name.rpartition(".")[2], bases, members)(message, *((inner,) if inner else ()))
    assert isinstance(made, Abridged)
    return made


def _last_frames(first: TracebackType | None, number: int) -> TracebackType | None:
    """The end of a traceback, which names the place of the error."""
    frames: list[TracebackType] = []
    while first is not None:
        frames.append(first)
        first = first.tb_next
    return frames[-number] if len(frames) > number else next(iter(frames), None)


def last_error(settlement: Settlement) -> str:
    """The last error of a run in one line. The traceback beside it has the whole text."""
    failure = settlement.failure
    if failure is None:
        return "no error is known"
    text = " ".join(f"{failure.type}: {failure.message}".split())
    return text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]}…"
