"""The context of a run, for the task that executes it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias, TypeGuard, TypeVar

from task_manager_core.application.log_fields import fields_of_attempt, prefix_of
from task_manager_core.application.remembering import Cursor, Memory, Reading, remembering
from task_manager_core.application.reporter import Reporter
from task_manager_core.application.result import plain_json
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.memory import LastSuccess, TaskMemory
from task_manager_core.domain.progress import Progress

if TYPE_CHECKING:
    RunLogger = logging.LoggerAdapter[logging.Logger]
else:
    RunLogger = logging.LoggerAdapter


S = TypeVar("S")

_ExcInfo: TypeAlias = (
    bool
    | BaseException
    | tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | None
)


_kept_already: ContextVar[bool] = ContextVar("kept_already", default=False)


def is_kept_already() -> bool:
    """Is the record that is being made one of `context.log`, whose line is kept already?"""
    return _kept_already.get()


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
        run = prefix_of(extra.get("task"), extra.get("run_id"), extra.get("attempt"))
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

    `task` has the attributes `group` and `name`. `run_id` is the idempotency key: the same for every attempt of the
    run. `fencing_token` strictly increases from one attempt to the next; a resource that remembers the greatest token
    it saw can refuse an attempt that lost its claim. `slot` is the planned instant (UTC), None for a triggered run.
    `deadline` is the instant at which the attempt times out (UTC, by this worker's clock). `worker` names the process.
    The worker sets `cancelled` when the run should stop: a synchronous function cannot be interrupted and has to check
    it.
    """

    task: TaskKey
    run_id: str
    slot: datetime | None
    attempt: int
    fencing_token: int
    deadline: datetime | None
    worker: str
    logger: RunLogger
    cancelled: threading.Event = field(default_factory=threading.Event)
    state: object = None
    _memory: Memory = field(default_factory=lambda: remembering(TaskMemory()), repr=False, compare=False)
    _reporter: Reporter = field(default_factory=Reporter, init=False, repr=False, compare=False)

    def previous(self) -> Reading[LastSuccess | None]:
        """The last success of the task: its slot, and the instant at which it ended. None before the first one.

        `await context.previous()`, or `context.previous().wait()` in a synchronous function. The store is asked when
        the function asks.
        """
        return self._memory.success()

    @property
    def cursor(self) -> Cursor:
        """A small value that the task keeps: `await context.cursor.get(str)` and `context.cursor.set("…")`."""
        return self._memory.cursor

    def state_of(self, kind: type[S]) -> S:
        """What the startup hook of the worker returned, for a type checker.

        Args:
            kind: The class that it has.

        Raises:
            TypeError: It has another class, or the worker has no startup hook.
        """
        if not isinstance(self.state, kind):
            raise TypeError(f"the state of the worker is {self.state!r}, not a {kind.__name__}")
        return self.state

    def progress(self, done: float | None = None, total: float | None = None, text: str | None = None) -> None:
        """Show how far the attempt is, within a heartbeat, to callers of `GET /tasks/{group}/{name}/runs`.

        It replaces the progress before, and never waits for the store. May be called in any thread, and often.

        Args:
            done: How much is done.
            total: How much there is to do.
            text: What is being done, up to 300 characters.

        Raises:
            ValueError: A number is not finite.
        """
        self._reporter.progress(done, total, text)

    def log(self, line: str) -> None:
        """Show a line beside the progress, and log it at level INFO. The newest 20 lines are shown, each with up to 300
        characters."""
        self._reporter.line(line)
        before = _kept_already.set(True)
        try:
            self.logger.info("%s", line, stacklevel=2)
        finally:
            _kept_already.reset(before)

    def reported(self) -> Progress | None:
        """What the attempt has reported: its last progress and its newest lines; None if it has reported nothing."""
        return self._reporter.reported()

    @classmethod
    def of(
        cls,
        *,
        task: TaskKey,
        run_id: str,
        slot: datetime | None,
        attempt: int,
        fencing_token: int,
        deadline: datetime | None,
        worker: str,
        logger: logging.Logger,
        state: object = None,
        memory: Memory | None = None,
    ) -> RunContext:
        """The context of an attempt. Its logger adds the fields of the run to every record of `logger`."""
        fields = fields_of_attempt(task, run_id, slot, attempt, fencing_token, worker)
        return cls(
            task=task,
            run_id=run_id,
            slot=slot,
            attempt=attempt,
            fencing_token=fencing_token,
            deadline=deadline,
            worker=worker,
            logger=ContextLogger(logger, fields),
            state=state,
            _memory=remembering(TaskMemory()) if memory is None else memory,
        )

    @classmethod
    def for_test(
        cls,
        *,
        task: TaskKey | tuple[str, str] = ("tests", "task"),
        run_id: str = "test-run",
        slot: datetime | None = None,
        attempt: int = 1,
        fencing_token: int | None = None,
        deadline: datetime | None = None,
        worker: str = "test-worker",
        logger: logging.Logger | None = None,
        state: object = None,
        previous: LastSuccess | None = None,
        cursor: object = None,
    ) -> RunContext:
        """A context for a test that calls a task function itself. The defaults are those of a run that a caller
        triggered, in its first attempt.

        Args:
            task: The task, or its group and name.
            run_id: The idempotency key.
            slot: The planned instant, with a time zone.
            attempt: Number of the attempt, from 1.
            fencing_token: Default: the number of the attempt, so that a later attempt has a greater token.
            deadline: The instant at which the attempt times out, with a time zone.
            worker: Name of the process.
            logger: Gets the records of `context.logger`. Default: a logger of this package.
            state: What the startup hook of the worker would have returned.
            previous: The last success of the task.
            cursor: The stored cursor.

        Raises:
            RuntimeError: A name that no task can have, an instant without a time zone, an attempt below 1.
        """
        for name, instant in (("slot", slot), ("deadline", deadline)):
            if instant is not None and instant.utcoffset() is None:
                raise DefinitionError(name, instant, "must have a time zone")
        if attempt < 1:
            raise DefinitionError("attempt", attempt, "must be at least 1")
        return cls.of(
            task=task if isinstance(task, TaskKey) else TaskKey(*task),
            run_id=run_id,
            slot=slot,
            attempt=attempt,
            fencing_token=attempt if fencing_token is None else fencing_token,
            deadline=deadline,
            worker=worker,
            logger=logging.getLogger(__name__) if logger is None else logger,
            state=state,
            memory=remembering(TaskMemory(success=previous, cursor=None if cursor is None else plain_json(cursor))),
        )


def reporter_of(context: RunContext) -> Reporter:
    """What collects the reports of this context."""
    return context._reporter  # pyright: ignore[reportPrivateUsage] - of the class above, hidden from users
