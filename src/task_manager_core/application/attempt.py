"""One attempt on its way through a worker, and what is left of it until it is settled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from task_manager_core.application.context import RunContext
from task_manager_core.domain.identity import RunId
from task_manager_core.domain.run import Claim, Settlement

AttemptKey: TypeAlias = tuple[RunId, int]
"""Not the run alone: a claim that was lost without our knowing may come back to us while its attempt executes."""


def key_of(claim: Claim) -> AttemptKey:
    """The attempt that this claim allows."""
    return claim.run.id, claim.token


class Interruption(Enum):
    """Why we interrupted an attempt ourselves. LEAVING: its worker leaves, and will hand it back."""

    LOST = "lost"
    CANCELLED = "cancelled"
    LEAVING = "leaving"
    RELEASED = "handed back"


@dataclass(slots=True, eq=False)
class Attempt:
    """A claimed run on its way through this worker. `context` is None unless its function asks for one: to make one
    costs as much as the rest of a start."""

    claim: Claim
    started_at: datetime
    began: float
    context: RunContext | None
    task: asyncio.Task[BaseException | None] | None = None
    interruption: Interruption | None = None

    @property
    def key(self) -> AttemptKey:
        return key_of(self.claim)

    def interrupt(self, ending: Interruption) -> None:
        """Stop the attempt, unless it was stopped before or has ended by itself."""
        if self.interruption is None and (self.task is None or not self.task.done()):
            self.interruption = ending
            if self.context is not None:
                self.context.cancelled.set()
            if self.task is not None:
                self.task.cancel()


@dataclass(slots=True, eq=False)
class Finished:
    """A settlement to be written. `asked`: a request for it has been sent, and may have succeeded."""

    settlement: Settlement
    error: BaseException | None
    asked: bool = False
