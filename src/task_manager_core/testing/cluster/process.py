"""A simulated process as the loop sees it: its queue and its tasks."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")

ENVIRONMENT = "env"
"""The node of the test itself, and of everything that belongs to no other node."""

node: contextvars.ContextVar[str] = contextvars.ContextVar("simulated_node", default=ENVIRONMENT)
"""The name of the node that the current code runs on."""

_FINISHED_TASKS = 64  # with fewer tasks it is not worth while to look for finished ones
_CLOSE_ATTEMPTS = 64  # a coroutine that awaits in `finally` must be closed once for every `await`


class SimTask(asyncio.Task[_T]):
    """A task that hashes by its number: sets of tasks (TaskGroup, asyncio.wait) have the same order in every run."""

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
        """The error of a finished task that no code has asked for yet."""
        return self._exception if self._log_traceback else None  # a call of `exception()` would count as asking

    def abandon(self) -> None:
        """Close an unfinished coroutine now. Otherwise its destructor would do it at an unknown moment."""
        self._log_traceback = False
        self._log_destroy_pending = False
        coro = self.get_coro()
        if not isinstance(coro, Coroutine):
            return
        for _ in range(_CLOSE_ATTEMPTS):
            try:
                self.home.run(coro.close)
            except BaseException:  # noqa: BLE001, S112 - the node is dead, and its coroutine may raise again
                continue
            return


class SimFuture(asyncio.Future[_T]):
    """A future that hashes by a number, too. The number is drawn at the first use, because most futures need none."""

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
    """One node. The loop enforces what a paused or dead node cannot do."""

    __slots__ = ("_sweep_at", "dead", "listed", "name", "paused", "queue", "tasks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[tuple[asyncio.Handle, str]] = deque()
        self.listed = False  # can run: its queue is not empty, and it is neither paused nor dead
        self.paused = False
        self.dead = False
        # Strong references: when the collector deletes a suspended coroutine, its `finally` runs at an unknown moment.
        self.tasks: list[SimTask[Any]] = []
        self._sweep_at = _FINISHED_TASKS

    def adopt(self, task: SimTask[Any]) -> None:
        """Keep a task until it has finished, and longer if its error was not asked for."""
        self.tasks.append(task)
        if len(self.tasks) > self._sweep_at:
            self.tasks = [known for known in self.tasks if not known.done() or known.forgotten_error is not None]
            self._sweep_at = 2 * len(self.tasks) + _FINISHED_TASKS


def label_of(callback: object) -> str:
    """A name that is the same in every run: without addresses and without counters of the Python process."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, SimTask):
        return owner.label
    return getattr(callback, "__qualname__", None) or type(callback).__qualname__
