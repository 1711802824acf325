"""What an attempt reports while it executes, for people who watch it."""

from __future__ import annotations

from dataclasses import dataclass

from task_manager_core.domain.run import Claim

LONGEST_TEXT = 300
"""Characters of a text or of a line."""

MOST_LINES = 20
"""The newest lines are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an attempt is: `done` of `total`, a text, and the newest lines that it logged. All may be missing."""

    done: float | None = None
    total: float | None = None
    text: str | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReport:
    """The progress of a claimed attempt."""

    claim: Claim
    progress: Progress
