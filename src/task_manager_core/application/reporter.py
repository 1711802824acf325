"""Collects what an attempt reports, in any thread, until the worker sends it with its next heartbeat."""

from __future__ import annotations

import math
from collections import deque

from task_manager_core.application.failure import text_of, valid_text
from task_manager_core.domain.progress import LONGEST_TEXT, MOST_LINES, Progress


class Reporter:
    """Law: what it holds is bounded: the last progress, and the newest lines."""

    __slots__ = ("_lines", "_progress")

    def __init__(self) -> None:
        self._progress = _NOTHING
        self._lines: deque[str] | None = None

    def progress(self, done: float | None, total: float | None, text: object) -> None:
        """Replace the progress. Errors: ValueError for a number that is not finite."""
        for name, number in (("done", done), ("total", total)):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{name} must be a finite number, not {number!r}")
        self._progress = Progress(
            done=None if done is None else float(done),
            total=None if total is None else float(total),
            text=None if text is None else _short(text),
        )

    def line(self, text: object) -> None:
        """Add a line. The oldest line makes room."""
        if self._lines is None:
            self._lines = deque(maxlen=MOST_LINES)
        self._lines.append(_short(text))

    def reported(self) -> Progress | None:
        """The last report; None if the attempt has reported nothing."""
        progress, lines = self._progress, self._lines
        if lines is None:
            return None if progress == _NOTHING else progress
        return Progress(done=progress.done, total=progress.total, text=progress.text, lines=tuple(lines.copy()))


def _short(value: object) -> str:
    text = valid_text(text_of(lambda: str(value), "(cannot be shown)"))
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


_NOTHING = Progress()
