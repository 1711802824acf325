"""What a running task may know about itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from task_manager_core.domain.identity import NodeId, RunId, TaskKey

if TYPE_CHECKING:
    RunLogger = logging.LoggerAdapter[logging.Logger]
else:
    RunLogger = logging.LoggerAdapter


class ContextLogger(RunLogger):
    """Adds the fields of the run to every record and shows the run in front of the message."""

    def process(self, msg: object, kwargs: MutableMapping[str, object]) -> tuple[object, MutableMapping[str, object]]:
        extra = self.extra or {}
        kwargs["extra"] = extra
        return f"[{extra.get('task')} run {extra.get('run_id')} attempt {extra.get('attempt')}] {msg}", kwargs


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Given to a task that asks for it by annotating a parameter with `RunContext`.

    `run_id` is the idempotency key: the same for every attempt of the run. `fencing_token` strictly increases from one
    attempt to the next; a resource that remembers the greatest token it saw can refuse an attempt that lost its claim.
    `slot` is the planned instant (UTC), None for a triggered run. `deadline` (UTC, this worker's clock) is when the
    attempt times out. `cancelled` is set when the run should stop: a synchronous function cannot be interrupted and has
    to look at it.
    """

    task: TaskKey
    run_id: RunId
    slot: datetime | None
    attempt: int
    fencing_token: int
    deadline: datetime | None
    worker: NodeId
    logger: RunLogger
    cancelled: threading.Event = field(default_factory=threading.Event)
