"""The hooks of a worker: functions of the user that are called before it starts and after it has stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from fastapi_task_manager.observers.logs import logger_of
from task_manager_core.application.callbacks import is_async
from task_manager_core.application.executor import DaemonThreads, is_awaitable
from task_manager_core.domain.errors import DefinitionError

SHUTDOWN_SECONDS = 5.0
"""A shutdown hook that takes longer is interrupted."""

Startup: TypeAlias = Callable[[], object]
Shutdown: TypeAlias = Callable[[Any], object]
"""Its parameter has the type that the startup hook returns."""

_log = logger_of("runner")


class Hooks:
    """`startup` returns the state of the worker, and `shutdown` gets it. Each is synchronous, and then called in a
    thread, or asynchronous."""

    def __init__(self, startup: Startup | None = None, shutdown: Shutdown | None = None) -> None:
        for name, hook in (("startup", startup), ("shutdown", shutdown)):
            if hook is not None and not callable(hook):
                raise DefinitionError(name, hook, "must be a function")
        self._startup = startup
        self._shutdown = shutdown

    async def begin(self) -> object:
        """The state of the worker. Errors: those of the hook."""
        return None if self._startup is None else await _called(self._startup)

    async def end(self, state: object) -> None:
        """Raises nothing: the process ends whether the hook succeeds or not."""
        shutdown = self._shutdown
        if shutdown is None:
            return
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await _called(lambda: shutdown(state), asynchronous=is_async(shutdown))
        except Exception:  # noqa: BLE001 - user code: the process ends in any case
            _log.exception("the shutdown hook raised an exception, or took longer than %g s", SHUTDOWN_SECONDS)


async def _called(call: Callable[[], object], *, asynchronous: bool | None = None) -> object:
    if is_async(call) if asynchronous is None else asynchronous:
        result = call()
    else:
        result = await asyncio.get_running_loop().run_in_executor(DaemonThreads(), call)
    return await result if is_awaitable(result) else result
