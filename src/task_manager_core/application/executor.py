"""Calls the function of an attempt, in the event loop or in a thread, within the timeout of its task."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import json
import threading
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeAlias, TypeVar

from task_manager_core.application.attempt import Attempt, Interruption
from task_manager_core.application.failure import RunTimedOut
from task_manager_core.application.function import Function
from task_manager_core.ports import Clock

P = ParamSpec("P")
T = TypeVar("T")

_Returned: TypeAlias = tuple[object, BaseException | None]


class Executor:
    """Law: every exception of a function is an answer. `call` raises CancelledError only after an interruption."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threads = DaemonThreads()

    async def call(self, attempt: Attempt, function: Function) -> BaseException | None:
        """Call the user's function. Returns the exception that it raised, None if it returned."""
        run = attempt.claim.run
        limit = None if run.timeout is None else run.timeout.total_seconds()
        try:
            arguments: dict[str, object] = json.loads(run.kwargs) if run.kwargs != "{}" else {}
            if function.context is not None:
                arguments[function.context] = attempt.context
            if function.is_async:
                await self._within(limit, function.call(**arguments))
            else:
                return await self._in_thread(limit, attempt, functools.partial(function.call, **arguments))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - every exception of a task is its failure, SystemExit too
            return error
        return None

    async def _within(self, limit: float | None, work: object) -> None:
        if not isinstance(work, Awaitable):
            return
        if limit is None:
            await work
            return
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                await work
        except TimeoutError:
            if not timeout.expired():
                raise
        if timeout.expired():  # Also if the task suppressed the interruption: it was stopped in the middle.
            raise RunTimedOut(f"timed out after {limit:g} s")

    async def _in_thread(
        self, limit: float | None, attempt: Attempt, call: Callable[[], object]
    ) -> BaseException | None:
        """A thread cannot be interrupted. The worker keeps the claim until the thread returns, and checks the timeout
        then."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            self._threads, functools.partial(contextvars.copy_context().run, functools.partial(_outcome, call))
        )
        context = attempt.context
        timer = None if limit is None or context is None else loop.call_later(limit, context.cancelled.set)
        try:
            result, error = await _returned(work, attempt)
        finally:
            if timer is not None:
                timer.cancel()
        if _ended_by_itself(attempt, result):
            attempt.interruption = None
        if error is not None:
            return error
        if limit is not None and self._clock.monotonic() - attempt.began > limit:
            raise RunTimedOut(f"took longer than {limit:g} s; a thread cannot be interrupted")
        if attempt.interruption is not None:
            raise asyncio.CancelledError
        await self._within(limit, result)
        return None


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


def _outcome(call: Callable[[], object]) -> _Returned:
    """The result, and the exception as a value: a future refuses StopIteration and would never be done."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - as in `call`, of which this is the part in the thread
        return None, error


class DaemonThreads(concurrent.futures.Executor):
    """One daemon thread for each call: the worker bounds how many run, and a thread that hangs cannot keep the process
    from ending.

    The thread pool of the standard library joins its threads at exit, so a task that hangs would hang the shutdown.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - an executor hands every exception to its caller
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name="task-manager run", daemon=True).start()
        return future
