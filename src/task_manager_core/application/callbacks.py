"""Callbacks: functions of the user that a process calls after a run or a slot has had its outcome."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Protocol, TypeAlias

from task_manager_core.application.context import RunContext
from task_manager_core.application.executor import DaemonThreads, is_awaitable
from task_manager_core.application.log_fields import fields_of_claim, fields_of_task
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.events import Event, RunSettled, SlotsDecided
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.run import Exhausted, Retried, Succeeded

AT_ONCE = 10
"""So many callbacks of a process execute at one time."""

MOST_WAITING = 1000
"""So many wait. A further one is not called; the log says so."""

LONGEST_CALLBACK = 30.0
"""Seconds. A callback that takes longer is interrupted."""

OnSuccess: TypeAlias = Callable[[RunContext], object]
OnError: TypeAlias = Callable[[RunContext, BaseException], object]
OnSkip: TypeAlias = Callable[[TaskKey, Skipped], object]
_Call: TypeAlias = tuple[str, dict[str, object], Callable[[], object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """Functions to be called after an outcome, for a task, a group or a manager. Each is synchronous or asynchronous.

    The worker calls the first three after the store has accepted the settlement of the attempt: once, unless the
    process ends first, or the answer of the store was lost and the history was cleared meanwhile. The leader that has
    skipped slots calls `on_skip`. Exceptions are logged and change nothing.

    Attributes:
        on_success: Called with the RunContext of an attempt that succeeded.
        on_retry: Called with the RunContext of an attempt that failed, and its exception. Another attempt follows.
        on_failure: The same for a run that has failed for good.
        on_skip: Called with the task and the range of slots that the leader skipped, with the reason.
    """

    on_success: OnSuccess | None = None
    on_retry: OnError | None = None
    on_failure: OnError | None = None
    on_skip: OnSkip | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value: object = getattr(self, one.name)
            if value is not None and not callable(value):
                raise DefinitionError(one.name, value, "must be a function")


def checked(callbacks: object) -> Callbacks | None:
    """What code gives as `callbacks`. Errors: TypeError."""
    if callbacks is not None and not isinstance(callbacks, Callbacks):
        raise TypeError(f"callbacks must be Callbacks(...), not {callbacks!r}")
    return callbacks


class CallbackSource(Protocol):
    """Knows the callbacks of every task."""

    def callbacks_of(self, key: TaskKey) -> Iterable[Callbacks]:
        """The callbacks of a task: its own, those of its group, those of the manager."""
        ...


class CallbackRunner:
    """An observer that calls the callbacks, beside the work of the node. Each process has its own.

    Laws: a callback never delays a heartbeat or a settlement. At most AT_ONCE execute and at most MOST_WAITING wait.
    """

    def __init__(self, source: CallbackSource, logger: logging.Logger, state: object = None) -> None:
        self._source = source
        self._logger = logger
        self._state = state
        self._waiting: deque[_Call] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._threads = DaemonThreads()
        self._dropped = 0
        self._abandoned = asyncio.Event()

    # -- as an observer -----------------------------------------------------------------------------------------------

    def notice(self, event: Event) -> None:
        if isinstance(event, RunSettled):
            for callbacks in self._source.callbacks_of(event.settlement.claim.run.task):
                self._settled(callbacks, event)
        elif isinstance(event, SlotsDecided) and event.decision.skipped:
            for callbacks in self._source.callbacks_of(event.decision.key):
                if callbacks.on_skip is not None:
                    for skipped in event.decision.skipped:
                        self._add(
                            "on_skip",
                            fields_of_task(event.decision.key),
                            functools.partial(callbacks.on_skip, event.decision.key, skipped),
                        )

    def _settled(self, callbacks: Callbacks, event: RunSettled) -> None:
        outcome, error = event.settlement.outcome, event.error
        fields = fields_of_claim(event.settlement.claim)
        if isinstance(outcome, Succeeded):
            if callbacks.on_success is not None:
                self._add("on_success", fields, functools.partial(callbacks.on_success, self._context(event)))
        elif error is not None and isinstance(outcome, Retried | Exhausted):
            name = "on_retry" if isinstance(outcome, Retried) else "on_failure"
            call = callbacks.on_retry if isinstance(outcome, Retried) else callbacks.on_failure
            if call is not None:
                self._add(name, fields, functools.partial(call, self._context(event), error))

    def _context(self, event: RunSettled) -> RunContext:
        claim = event.settlement.claim
        return RunContext.of(
            task=claim.run.task,
            run_id=claim.run.id.value,
            slot=claim.run.slot,
            attempt=claim.attempt,
            fencing_token=claim.token,
            deadline=None,
            worker=event.node.value,
            logger=self._logger,
            state=self._state,
        )

    # -- calling ------------------------------------------------------------------------------------------------------

    def _add(self, name: str, fields: dict[str, object], call: Callable[[], object]) -> None:
        if len(self._waiting) >= MOST_WAITING:
            if self._dropped == 0:
                self._logger.error("%d callbacks wait: no more are called until some of them have ended", MOST_WAITING)
            self._dropped += 1
            return
        self._waiting.append((name, fields, call))
        if len(self._running) < AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._work(), name="task manager callback")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self) -> None:
        """Call what waits, one after the other."""
        while self._waiting and not self._abandoned.is_set():
            await self._call(*self._waiting.popleft())
            if self._dropped and len(self._waiting) < MOST_WAITING // 2:
                self._logger.error("%d callbacks were not called, because too many waited", self._dropped)
                self._dropped = 0

    async def _call(self, name: str, fields: dict[str, object], call: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(LONGEST_CALLBACK):
                result: object = call() if is_async(call) else await self._in_thread(call)
                if is_awaitable(result):
                    await result
        except TimeoutError:
            self._logger.exception(
                "a callback %s raised TimeoutError, or took longer than %g s", name, LONGEST_CALLBACK, extra=fields
            )
        except Exception:
            self._logger.exception("a callback %s raised an exception", name, extra=fields)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError | GeneratorExit):
                raise
            # SystemExit would end the event loop.
            self._logger.exception("a callback %s raised an exception", name, extra=fields)

    async def _in_thread(self, call: Callable[[], object]) -> object:
        """A thread cannot be interrupted. It keeps its place until it ends."""
        work = asyncio.get_running_loop().run_in_executor(self._threads, _outcome, call)
        try:
            result, error = await asyncio.shield(work)
        except asyncio.CancelledError:
            if not self._abandoned.is_set():
                await asyncio.shield(work)
            raise
        if error is not None:
            raise error
        return result

    @property
    def running(self) -> frozenset[asyncio.Task[None]]:
        """The tasks that call what waits."""
        return frozenset(self._running)

    # -- the stop -----------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Do not wait for callbacks any longer: the process has to end now."""
        self._abandoned.set()

    async def finish(self, within: float) -> None:
        """Wait for the callbacks, and interrupt those that are left then."""
        if self._running and within > 0 and not self._abandoned.is_set():
            abandoned = asyncio.ensure_future(self._abandoned.wait())
            everything = asyncio.ensure_future(asyncio.wait(set(self._running)))
            await asyncio.wait({abandoned, everything}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            abandoned.cancel()
            everything.cancel()
        self._abandoned.set()
        left = len(self._waiting) + len(self._running)
        if left:
            self._logger.error("%d callbacks have not ended with the process", left)
        self._waiting.clear()
        tasks = set(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


def is_async(call: Callable[..., object]) -> bool:
    """Is this a coroutine function, or an object that is called like one?"""
    inner: object = call
    while isinstance(inner, functools.partial):
        inner = inner.func
    own_call: object = getattr(type(inner), "__call__", None)  # noqa: B004 - the method, not whether there is one
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(own_call)


def _outcome(call: Callable[[], object]) -> tuple[object, BaseException | None]:
    """The result, and the exception as a value: a future refuses StopIteration."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - user code
        return None, error
