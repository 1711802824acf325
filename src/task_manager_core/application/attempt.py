"""One attempt of a worker, from its claim to its settlement."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from task_manager_core.application.context import RunContext, reporter_of
from task_manager_core.application.reporter import Reporter
from task_manager_core.domain.memory import LastSuccess, Remembered
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import Claim, Result, Settlement

AttemptKey: TypeAlias = tuple[str, int]
"""The id of the run and the token. A worker that lost a claim without noticing may claim the same run again while its
first attempt still executes."""


def key_of(claim: Claim) -> AttemptKey:
    """The attempt that this claim allows."""
    return claim.run.id.value, claim.token


class Interruption(Enum):
    """Why the worker interrupted an attempt. STOPPING: the worker stops and will release the claim."""

    LOST = "lost"
    CANCELLED = "cancelled"
    STOPPING = "stopping"
    RELEASED = "released"


@dataclass(slots=True, eq=False)
class Attempt:
    """A claimed run that this worker executes. `context` is None unless the function has a parameter for it: making a
    context costs as much as the rest of a start. `reporter` gets the lines that the function logs;
    None if they are not kept. `trace` is the trace context of the attempt, if it is traced."""

    claim: Claim
    started_at: datetime
    began: float
    context: RunContext | None
    task: asyncio.Task[BaseException | None] | None = None
    interruption: Interruption | None = None
    result: Result | None = None
    reporter: Reporter | None = None
    trace: str | None = None

    @property
    def key(self) -> AttemptKey:
        return key_of(self.claim)

    def reported(self) -> Progress | None:
        """What the attempt has reported; None if it has reported nothing."""
        if self.reporter is not None:
            return self.reporter.reported()
        return None if self.context is None else self.context.reported()

    def keep_lines(self) -> None:
        """From now on the lines that the function logs are kept, beside those of its context."""
        self.reporter = Reporter() if self.context is None else reporter_of(self.context)

    def remembered(self, now: datetime) -> Remembered | None:
        """What the task remembers of the success: nothing if its function cannot ask for it."""
        if self.context is None:
            return None
        return Remembered(success=LastSuccess(slot=self.claim.run.slot, at=now), cursor=self.context.cursor.text)

    def interrupt(self, reason: Interruption) -> None:
        """Interrupt the attempt, unless it was interrupted before or has ended by itself."""
        if self.interruption is None and (self.task is None or not self.task.done()):
            self.interruption = reason
            if self.context is not None:
                self.context.cancelled.set()
            if self.task is not None:
                self.task.cancel()


executing: ContextVar[Attempt | None] = ContextVar("executing", default=None)
"""The attempt that the current code belongs to. The tasks that it begins inherit it."""


@dataclass(slots=True, eq=False)
class Finished:
    """A settlement to be written. `requested`: the worker has sent a request for it, which may have succeeded."""

    settlement: Settlement
    error: BaseException | None
    requested: bool = False
