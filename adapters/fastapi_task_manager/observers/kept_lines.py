"""Keeps the lines that a function logs with any logger, beside those of `context.log`.

A factory of log records sees every record that some logger makes, in every thread. A handler of the root logger would
see fewer, and would change what Python does without one: `logging.basicConfig` would set up nothing, and warnings would
not be printed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from task_manager_core.application.attempt import Attempt, executing
from task_manager_core.application.context import is_kept_already
from task_manager_core.application.failure import text_of
from task_manager_core.application.log_fields import prefix_of
from task_manager_core.application.reporter import Reporter

_PROBE = "fastapi.task-manager.probe"


class _Keeping:
    """Makes records like the factory before it. Managers share it; without one it keeps nothing."""

    def __init__(self) -> None:
        self._before: Callable[..., logging.LogRecord] = logging.LogRecord
        self._changing = threading.Lock()
        self._users = 0
        self._was_called = False

    def __call__(self, *args: object, **kwargs: object) -> logging.LogRecord:
        record = self._before(*args, **kwargs)
        attempt = executing.get()
        if attempt is not None and attempt.reporter is not None and self._users:
            _keep(record, attempt, attempt.reporter)
        if record.name == _PROBE:
            self._was_called = True
        return record

    def begin(self) -> None:
        with self._changing:
            self._users += 1
            if not self._is_reached():
                self._before = logging.getLogRecordFactory()
                logging.setLogRecordFactory(self)

    def end(self) -> None:
        with self._changing:
            self._users -= 1
            # Another library may have put its factory before this one meanwhile: then this one stays, and passes on.
            if not self._users and logging.getLogRecordFactory() is self:
                logging.setLogRecordFactory(self._before)

    def _is_reached(self) -> bool:
        """Does the present factory call this one? A factory that stands twice in the chain would call itself."""
        self._was_called = False
        logging.getLogRecordFactory()(_PROBE, logging.DEBUG, "", 0, "", (), None)
        return self._was_called


_keeping = _Keeping()


@contextmanager
def keeping_lines() -> Generator[None]:
    """Keep the lines of the attempts of this process meanwhile."""
    _keeping.begin()
    try:
        yield
    finally:
        _keeping.end()


def _keep(record: logging.LogRecord, attempt: Attempt, reporter: Reporter) -> None:
    if record.levelno < logging.INFO or is_kept_already():
        return
    claim = attempt.claim
    text = text_of(record.getMessage, "(a line that cannot be shown)")
    text = text.removeprefix(prefix_of(claim.run.task, claim.run.id, claim.attempt))
    level = "" if record.levelno == logging.INFO else f"{record.levelname}: "
    error = record.exc_info[1] if record.exc_info else None
    raised = (
        "" if error is None else text_of(lambda: f" ({type(error).__name__}: {error})", f" ({type(error).__name__})")
    )
    reporter.line(f"{level}{text}{raised}")
