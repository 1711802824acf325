"""A run that code has asked for: its state, its result, its cancellation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from fastapi_task_manager.errors import WouldBlockError
from fastapi_task_manager.run_endings import RunEndings
from task_manager_core.application.control import Control
from task_manager_core.application.loop import running_loop
from task_manager_core.domain.errors import ResultNotKept, RunFailed
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import TERMINAL, RunState
from task_manager_core.ports import Cancelling

T = TypeVar("T")

FIRST_LOOK_SECONDS = 0.02
SLOWEST_LOOK_SECONDS = 1.0
"""A caller that waits asks the store again after the first of these times, then after longer ones up to the second. It
also asks when this process has settled the run."""


class RunHandle:
    """One run of a task. It holds no state of the run: each call asks the store."""

    def __init__(self, control: Callable[[], Control], endings: RunEndings, task: TaskKey, run_id: str) -> None:
        self._control = control
        self._endings = endings
        self._task = task
        self._run = RunId(run_id)

    @property
    def run_id(self) -> str:
        """The id of the run, which is also the idempotency key in its RunContext."""
        return self._run.value

    @property
    def task(self) -> tuple[str, str]:
        """Group and name of the task."""
        return self._task.group, self._task.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task={self.task!r}, run_id={self.run_id!r})"

    async def status(self) -> RunState:
        """The present state of the run.

        Raises:
            RunNotFound: The run does not live, and is not (or no longer) in the history of its task.
            TaskManagerError: The store is not available, or the manager is not running.
        """
        return (await self._control().requested_runs.status(self._task, self._run)).state

    async def progress(self) -> Progress | None:
        """What the function reports with `context.progress` and `context.log`, as of the last heartbeat of its worker.

        Returns:
            Its `done`, `total`, `text` and `lines`; None if the run does not execute now, or has reported nothing.

        Raises:
            TaskManagerError: As for `status`.
        """
        return await self._control().requested_runs.progress(self._task, self._run)

    async def wait(self, timeout: float | timedelta | None = None) -> RunState:
        """Wait until the run has ended, successfully or not.

        Args:
            timeout: The longest wait, in seconds or as a timedelta. None: as long as the run lives.

        Returns:
            The state in which it ended.

        Raises:
            TimeoutError: The run has not ended within the timeout. It goes on.
            RunNotFound: As for `status`.
            TaskManagerError: As for `status`.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        pause = FIRST_LOOK_SECONDS
        with self._endings.watch(self._run) as ended:
            async with asyncio.timeout(seconds):
                while (state := await self.status()) not in TERMINAL:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await ended.wait()
                    ended.clear()
                    pause = min(pause * 1.5, SLOWEST_LOOK_SECONDS)
        return state

    async def result(self, timeout: float | timedelta | None = None) -> Any:
        """Wait until the run has ended, and return what its function returned.

        Args:
            timeout: As for `wait`.

        Returns:
            The value that the function returned, as JSON: a model is a dict, a date is a text.

        Raises:
            RunFailed: The run failed for good, was cancelled, or was not started in time.
            ResultNotKept: The run succeeded, and its value is no JSON or was too long to be kept.
            TimeoutError: As for `wait`.
            TaskManagerError: As for `wait`.
        """
        await self.wait(timeout)
        ended = await self._control().requested_runs.status(self._task, self._run)
        failure = None if ended.record is None else ended.record.failure
        if ended.state is not RunState.SUCCEEDED:
            kind, message = (None, None) if failure is None else (failure.type, failure.message)
            raise RunFailed(self.run_id, ended.state.value, kind, message)
        result = None if ended.record is None else ended.record.result
        if result is None:
            return None
        if result.json is None:
            raise ResultNotKept(self.run_id, result.type, result.size)
        return json.loads(result.json)

    async def cancel(self) -> bool:
        """Cancel the run. A run that no worker executes ends at once; a running one is interrupted with the next
        heartbeat of its worker.

        Returns:
            True if the run lived, False if it has ended before.

        Raises:
            TaskManagerError: As for `status`.
        """
        (answer,) = await self._control().cancel([(self._task, self._run)])
        return answer is not Cancelling.NOT_LIVE


class BlockingRunHandle:
    """A `RunHandle` for threads: the same methods, which block the thread."""

    def __init__(self, handle: RunHandle, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = handle
        self._loop = loop

    @property
    def run_id(self) -> str:
        """As in `RunHandle`."""
        return self._handle.run_id

    @property
    def task(self) -> tuple[str, str]:
        """As in `RunHandle`."""
        return self._handle.task

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task={self.task!r}, run_id={self.run_id!r})"

    def status(self) -> RunState:
        """As in `RunHandle`."""
        return in_loop(self._loop, self._handle.status, "status()")

    def progress(self) -> Progress | None:
        """As in `RunHandle`."""
        return in_loop(self._loop, self._handle.progress, "progress()")

    def wait(self, timeout: float | timedelta | None = None) -> RunState:
        """As in `RunHandle`."""
        return in_loop(self._loop, lambda: self._handle.wait(timeout), "wait()")

    def result(self, timeout: float | timedelta | None = None) -> Any:
        """As in `RunHandle`."""
        return in_loop(self._loop, lambda: self._handle.result(timeout), "result()")

    def cancel(self) -> bool:
        """As in `RunHandle`."""
        return in_loop(self._loop, self._handle.cancel, "cancel()")


def in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
    """Call it in the event loop of the manager, and block this thread until it has ended. Errors: WouldBlockError in
    the thread of an event loop."""
    if running_loop() is not None:
        raise WouldBlockError(name)
    return asyncio.run_coroutine_threadsafe(call(), loop).result()
