"""What a task remembers from one run to the next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSuccess:
    """The last success of a task: the planned instant of the run (None for a triggered run), and the instant at which
    the attempt ended, by its worker's clock."""

    slot: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a settlement leaves in the memory of its task. `cursor` is JSON; None leaves the stored cursor."""

    success: LastSuccess
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMemory:
    """The memory of a task. A part that was never written is None."""

    success: LastSuccess | None = None
    cursor: str | None = None
