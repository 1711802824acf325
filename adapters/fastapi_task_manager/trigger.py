"""Ask for a run from code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, overload

from fastapi_task_manager.run_handle import BlockingRunHandle, RunHandle, in_loop
from fastapi_task_manager.run_requests import RunRequests
from task_manager_core.application.context import RunContext

P = ParamSpec("P")


class Trigger:
    """Queues runs, and finds them again. A manager is one; `TaskManager.with_options` makes others.

    The arguments are typed after the function. They share its call with nothing else: an option of the request could
    have the name of a parameter, and no type checker allows keywords beside those of another function.
    """

    def __init__(self, requests: RunRequests) -> None:
        self._requests = requests

    @overload
    async def trigger(
        self, task: Callable[Concatenate[RunContext, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> RunHandle: ...

    @overload
    async def trigger(self, task: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> RunHandle: ...

    @overload
    async def trigger(self, task: tuple[str, str], /, **kwargs: object) -> RunHandle: ...

    async def trigger(self, task: Any, /, *args: Any, **kwargs: Any) -> RunHandle:
        """Run a task now, whatever its schedule says, and also while it is disabled.

        The run is in the store when this returns, and any process may execute it. It ends no backoff: other runs of the
        task wait on for their retries.

        Args:
            task: A function that a group of this manager declares or registers, or `(group, name)` of a task.
            *args: Arguments of the function, as in a direct call. Leave out what a worker fills (RunContext, Depends).
            **kwargs: The same by name. They replace the arguments of the task; without any, the task's own are used.

        Returns:
            The run.

        Raises:
            RuntimeError: The function has no task here, or several; there is no such task; arguments that the function
                does not accept; an idempotency key that was used with other arguments; or the manager is not running.
            TypeError: `task` is neither a function nor a pair of names.
            TaskManagerError: The store is not available.
        """
        return await self._requests.trigger(task, args, kwargs)

    @overload
    def trigger_sync(
        self, task: Callable[Concatenate[RunContext, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> BlockingRunHandle: ...

    @overload
    def trigger_sync(self, task: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> BlockingRunHandle: ...

    @overload
    def trigger_sync(self, task: tuple[str, str], /, **kwargs: object) -> BlockingRunHandle: ...

    def trigger_sync(self, task: Any, /, *args: Any, **kwargs: Any) -> BlockingRunHandle:
        """The same for a synchronous endpoint or task: it blocks its thread until the run is in the store.

        Args:
            task: As in `trigger`.
            *args: As in `trigger`.
            **kwargs: As in `trigger`.

        Returns:
            The run, with methods that block.

        Raises:
            RuntimeError: As in `trigger`; or it is called in the thread of an event loop, which it would block.
            TypeError: As in `trigger`.
            TaskManagerError: As in `trigger`.
        """
        loop = self._requests.loop()
        handle = in_loop(loop, lambda: self._requests.trigger(task, args, kwargs), "trigger_sync()")
        return BlockingRunHandle(handle, loop)

    def run_handle(self, task: Callable[..., object] | tuple[str, str], run_id: str) -> RunHandle:
        """A run that was asked for before, in this process or in another one.

        Args:
            task: As in `trigger`.
            run_id: The id of the run.

        Returns:
            The run.

        Raises:
            RuntimeError: The function has no task here, or several.
            TypeError: `task` is neither a function nor a pair of names.
        """
        return self._requests.handle(self._requests.key_of(task), run_id)
