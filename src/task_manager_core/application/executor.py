"""Calls the function of an attempt, in the event loop, in a thread or in a process, within the timeout of its task."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import json
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import ParamSpec, Protocol, TypeAlias, TypeGuard, TypeVar

from task_manager_core.application.attempt import Attempt, Interruption, executing
from task_manager_core.application.failure import RunTimedOut
from task_manager_core.application.function import Function
from task_manager_core.application.overruns import Overruns
from task_manager_core.application.process_call import Raised
from task_manager_core.application.processes import ProcessCall, ProcessPool
from task_manager_core.application.result import ToJson, plain_json, result_of
from task_manager_core.domain.run import Result
from task_manager_core.ports import Clock

P = ParamSpec("P")
T = TypeVar("T")

_Returned: TypeAlias = tuple[object, BaseException | None]
_Call: TypeAlias = Callable[[], Callable[[], None]]

IDLE_SECONDS = 30.0
"""A thread that got no call for so long ends."""


class Around(Protocol):
    """Code that is called around the function of each attempt, in the context of the attempt: the function sees the
    context variables that `begin` sets. It raises no exception of its own."""

    async def begin(self, attempt: Attempt) -> Callable[[BaseException | None], None]:
        """Called before the function.

        Returns:
            Called after the function, with its exception, or with that of its interruption.
        """
        ...


class Executor:
    """Law: every exception of a function is an answer. `call` raises CancelledError only after an interruption."""

    def __init__(
        self,
        clock: Clock,
        overruns: Overruns,
        to_json: ToJson = plain_json,
        processes: ProcessPool | None = None,
        around: Around | None = None,
        *,
        keep_lines: bool = False,
    ) -> None:
        self.overruns = overruns
        self._clock = clock
        self._processes = processes
        self._to_json = to_json
        self._threads = DaemonThreads()
        self._around = around
        self._keep_lines = keep_lines

    async def call(self, attempt: Attempt, function: Function) -> BaseException | None:
        """Call the user's function. Returns the exception that it raised, None if it returned. Then the attempt has the
        result."""
        executing.set(attempt)
        if self._keep_lines:
            attempt.keep_lines()
        if self._around is None:
            return await self._call(attempt, function)
        end = await self._around.begin(attempt)
        try:
            error = await self._call(attempt, function)
        except BaseException as interruption:
            end(interruption)
            raise
        end(error)
        return error

    async def _call(self, attempt: Attempt, function: Function) -> BaseException | None:
        run = attempt.claim.run
        limit = None if run.timeout is None else run.timeout.total_seconds()
        try:
            arguments: dict[str, object] = json.loads(run.kwargs) if run.kwargs != "{}" else {}
            if function.context is not None:
                arguments[function.context] = attempt.context
            if function.target is not None and self._processes is not None:
                return await self._in_process(limit, attempt, function.target.request(arguments), self._processes)
            if function.is_async:
                result = await self._within(limit, function.call(**arguments))
                if result is not None:
                    attempt.result = result_of(result, self._to_json)
            else:
                return await self._in_thread(limit, attempt, functools.partial(function.call, **arguments))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - every exception of a task is its failure, SystemExit too
            return error
        return None

    async def _within(self, limit: float | None, work: object) -> object:
        """What the work returns."""
        if not is_awaitable(work):
            return work
        if limit is None:
            return await work
        result: object = None
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                result = await work
        except TimeoutError:
            if not timeout.expired():
                raise
        if timeout.expired():  # Also if the task suppressed the interruption: it was stopped in the middle.
            raise RunTimedOut(f"timed out after {limit:g} s")
        return result

    async def _in_thread(
        self, limit: float | None, attempt: Attempt, call: Callable[[], object]
    ) -> BaseException | None:
        """A thread cannot be interrupted. The worker keeps the claim until the thread returns, and checks the timeout
        then."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            self._threads, functools.partial(contextvars.copy_context().run, functools.partial(self._outcome, call))
        )
        timer = None if limit is None else loop.call_later(limit, self._pass_timeout, attempt)
        try:
            result, error = await _returned(work, attempt)
        finally:
            if timer is not None:
                timer.cancel()
                self.overruns.end(attempt)
        if _ended_by_itself(attempt, result):
            attempt.interruption = None
        if error is not None:
            return error
        if limit is not None and self._clock.monotonic() - attempt.began > limit:
            raise RunTimedOut(f"took longer than {limit:g} s; a thread cannot be interrupted")
        if attempt.interruption is not None:
            raise asyncio.CancelledError
        result = await self._within(limit, result)
        if result is not None:
            attempt.result = result if isinstance(result, Result) else result_of(result, self._to_json)
        return None

    async def _in_process(
        self, limit: float | None, attempt: Attempt, request: bytes, processes: ProcessPool
    ) -> BaseException | None:
        """A process can be killed: at the timeout, and when the attempt is interrupted."""
        async with processes.places:
            call = ProcessCall(processes, request)
            work = asyncio.get_running_loop().run_in_executor(self._threads, call.execute, limit)
            try:
                answer = await asyncio.shield(work)
            except asyncio.CancelledError:
                call.kill()
                with contextlib.suppress(Exception):
                    await asyncio.shield(work)
                raise
        if isinstance(answer, Raised):
            return answer.error()
        attempt.result = answer.result
        return None

    def _pass_timeout(self, attempt: Attempt) -> None:
        """The function of a thread has passed its timeout: it is told, if it asks."""
        if attempt.context is not None:
            attempt.context.cancelled.set()
        self.overruns.begin(attempt)

    def _outcome(self, call: Callable[[], object]) -> _Returned:
        """The result, and the exception as a value: a future refuses StopIteration and would never be done. The thread
        converts the result, too: other attempts execute meanwhile."""
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - as in `call`, of which this is the part in the thread
            return None, error
        if result is None or is_awaitable(result):
            return result, None
        return result_of(result, self._to_json), None


def is_awaitable(value: object) -> TypeGuard[Awaitable[object]]:
    """Is this the result of a coroutine function, that is still to be awaited?"""
    return isinstance(value, Awaitable)


def _ended_by_itself(attempt: Attempt, result: object) -> bool:
    """Did a synchronous function end in time to be settled, without a way to notice that its worker stops?"""
    return (
        attempt.interruption is Interruption.STOPPING and attempt.context is None and not isinstance(result, Awaitable)
    )


async def _returned(work: asyncio.Future[_Returned], attempt: Attempt) -> _Returned:
    """Wait for the thread, also after a first interruption."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if attempt.interruption is None:
            raise
    return await asyncio.shield(work)


class DaemonThreads(concurrent.futures.Executor):
    """Daemon threads that are used again. A call gets a new thread only if no thread is idle, so there are never more
    threads than calls at one time: the worker bounds those. A thread that is idle for long ends.

    The thread pool of the standard library joins its threads at exit, so a task that hangs would hang the shutdown.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._idle = 0
        self._counting = threading.Lock()

    @property
    def idle(self) -> int:
        """How many threads wait for a call that is not submitted yet."""
        return self._idle

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def call() -> Callable[[], None]:
            """Returns what is left to do when the thread counts as idle again: to tell the caller."""
            if not future.set_running_or_notify_cancel():
                return _nothing
            try:
                return functools.partial(future.set_result, fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - an executor hands every exception to its caller
                return functools.partial(future.set_exception, error)

        if self._take_idle():
            self._calls.put(call)
        else:
            threading.Thread(target=self._serve, args=(call,), name="task-manager run", daemon=True).start()
        return future

    def _take_idle(self) -> bool:
        """Let one idle thread less wait, if there is one."""
        with self._counting:
            taken = self._idle > 0
            self._idle -= taken
        return taken

    def _serve(self, call: _Call | None) -> None:
        """The work of one thread: this call, and then those that come before it was idle for too long."""
        while call is not None:
            tell = call()
            del call  # A waiting thread keeps no arguments and no result alive.
            # The caller may have its next call at once: this thread must be idle before the caller knows.
            with self._counting:
                self._idle += 1
            tell()
            del tell
            call = self._next()

    def _next(self) -> _Call | None:
        """The next call; None when this thread may end."""
        while True:
            try:
                return self._calls.get(timeout=self._idle_seconds)
            except queue.Empty:
                if self._take_idle():
                    return None
                # Every idle thread has been taken, this one too: its call comes in this moment.


def _nothing() -> None:
    """A call that was cancelled before it began has no result."""
