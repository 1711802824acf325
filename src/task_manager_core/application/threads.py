"""Threads for the user's synchronous functions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """One daemon thread a call: the worker bounds how many run, and a stuck one cannot keep the process from ending.

    The executor of the standard library joins its threads at exit, so a task that hangs would hang the shutdown.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

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
