"""The context of a run, for the task that executes it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

from task_manager_core.domain.identity import NodeId, RunId, TaskKey

if TYPE_CHECKING:
    RunLogger = logging.LoggerAdapter[logging.Logger]
else:
    RunLogger = logging.LoggerAdapter


_ExcInfo: TypeAlias = (
    bool
    | BaseException
    | tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | None
)


@dataclass(frozen=True, slots=True)
class _Template:
    """A message with places for arguments."""

    text: object


class ContextLogger(RunLogger):
    """Adds the fields of the run to every record, and puts the run before the message. A field that the caller gives
    wins over a field of the run with the same name."""

    def process(self, msg: object, kwargs: MutableMapping[str, object]) -> tuple[object, MutableMapping[str, object]]:
        extra, given = self.extra or {}, kwargs.get("extra")
        kwargs["extra"] = {**extra, **given} if _is_mapping(given) else extra
        run = f"[{extra.get('task')} run {extra.get('run_id')} attempt {extra.get('attempt')}] "
        if isinstance(msg, _Template):
            return f"{run.replace('%', '%%')}{msg.text}", kwargs
        return f"{run}{msg}", kwargs

    def log(
        self,
        level: int,
        msg: object,
        *args: object,
        exc_info: _ExcInfo = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
        **kwargs: object,
    ) -> None:
        """Log like the logger itself. A `%` in the name of a task is text, not a place for an argument."""
        super().log(
            level,
            _Template(msg) if args else msg,
            *args,
            exc_info=exc_info,
            stack_info=stack_info,
            stacklevel=stacklevel + 1,  # The record names the caller, not this frame.
            extra=extra,
            **kwargs,
        )


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The worker passes it to a task that annotates a parameter with `RunContext`.

    `run_id` is the idempotency key: the same for every attempt of the run. `fencing_token` strictly increases from one
    attempt to the next; a resource that remembers the greatest token it saw can refuse an attempt that lost its claim.
    `slot` is the planned instant (UTC), None for a triggered run. `deadline` is the instant at which the attempt times
    out (UTC, by this worker's clock). The worker sets `cancelled` when the run should stop: a synchronous function
    cannot be interrupted and has to check it.
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
