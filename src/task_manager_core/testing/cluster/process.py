"""What a simulated process is made of: its queue and its tasks."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")

ENVIRONMENT = "env"
"""The node of everything that belongs to no other: the test itself."""

node: contextvars.ContextVar[str] = contextvars.ContextVar("simulated_node", default=ENVIRONMENT)
"""The name of the node that the current code runs on."""

_FINISHED_TASKS = 64  # below this many it is not worth while to look for finished ones
_CLOSE_ATTEMPTS = 64  # a coroutine that awaits in `finally` must be closed once for every `await`


class SimTask(asyncio.Task[_T]):
    """A task that hashes by its number, so that sets of tasks (TaskGroup, asyncio.wait) have one order in all runs."""

    _log_destroy_pending: bool

    def __init__(
        self,
        coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
        *,
        loop: asyncio.AbstractEventLoop,
        name: str,
        number: int,
        context: contextvars.Context,
    ) -> None:
        self.number = number
        self.label = f"{getattr(coro, '__qualname__', type(coro).__qualname__)}#{number}"
        self.home = context
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self.number

    @property
    def forgotten_error(self) -> BaseException | None:
        """The error of a finished task, unless somebody has asked for it."""
        return self._exception if self._log_traceback else None  # `exception()` would count as having asked

    def abandon(self) -> None:
        """Close an unfinished coroutine here and now, so that no destructor does it at another moment."""
        self._log_traceback = False
        self._log_destroy_pending = False
        coro = self.get_coro()
        if not isinstance(coro, Coroutine):
            return
        for _ in range(_CLOSE_ATTEMPTS):
            try:
                self.home.run(coro.close)
            except BaseException:  # noqa: BLE001, S112 - dying words of a dead node, and it may have more
                continue
            return


class SimFuture(asyncio.Future[_T]):
    """A future that hashes by a number too, drawn when somebody first asks, because hardly anybody does."""

    draw_number: Callable[[], int]
    _number: int | None = None

    def __hash__(self) -> int:
        if self._number is None:
            self._number = self.draw_number()
        return self._number


class SimTimer(asyncio.TimerHandle):
    """A timer that knows whether the loop still holds it."""

    __slots__ = ("held",)

    held: bool


class LoopProcess:
    """A node as the loop sees it. What it cannot do any more after a kill is the loop's business."""

    __slots__ = ("_sweep_at", "dead", "listed", "name", "paused", "queue", "tasks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[tuple[asyncio.Handle, str]] = deque()
        self.listed = False  # among those that can run: the queue is not empty, and neither paused nor dead
        self.paused = False
        self.dead = False
        # Strong references: a suspended coroutine that is collected runs its `finally` at the collector's pleasure.
        self.tasks: list[SimTask[Any]] = []
        self._sweep_at = _FINISHED_TASKS

    def adopt(self, task: SimTask[Any]) -> None:
        """Keep a task until it has finished and nobody's error is lost with it."""
        self.tasks.append(task)
        if len(self.tasks) > self._sweep_at:
            self.tasks = [known for known in self.tasks if not known.done() or known.forgotten_error is not None]
            self._sweep_at = 2 * len(self.tasks) + _FINISHED_TASKS


def label_of(callback: object) -> str:
    """A name that is the same in every process: neither an address nor a process-wide counter."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, SimTask):
        return owner.label
    return getattr(callback, "__qualname__", None) or type(callback).__qualname__
