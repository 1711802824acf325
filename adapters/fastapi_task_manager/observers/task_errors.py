"""The exception of a task, as the log shows it."""

from __future__ import annotations

import traceback

from task_manager_core.application.failure import LONGEST_TRACEBACK, text_of
from task_manager_core.domain.events import RunSettled
from task_manager_core.domain.run import Settlement

LONGEST_ERROR = 300
"""Characters of the last error in the line about a run that has failed for good."""


class AbridgedError(Exception):
    """Replaces in the log an exception whose traceback is too long or cannot be formatted. Its text is the one that the
    history keeps."""


def loggable(event: RunSettled) -> BaseException | None:
    """The exception of the task, abridged if its traceback is too long or cannot be formatted."""
    error, failure = event.error, event.settlement.failure
    if error is None or failure is None:
        return error
    text = text_of(lambda: "".join(traceback.format_exception(error)), "")
    return error if 0 < len(text) <= LONGEST_TRACEBACK else AbridgedError(failure.traceback)


def last_error(settlement: Settlement) -> str:
    """The last error of a run in one line. The traceback beside it has the whole text."""
    failure = settlement.failure
    if failure is None:
        return "no error is known"
    text = " ".join(f"{failure.type}: {failure.message}".split())
    return text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]}…"
