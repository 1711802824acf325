"""How managers join the lifespan of an application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from fastapi_task_manager.lifecycle import ManagerLifecycle

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from fastapi_task_manager.task_manager import TaskManager


class _AppManagers:
    """The managers in one run of an application's lifespan. Their lifespans are nested. The first one that ends stops
    all managers at the same time, so that they wait for their running tasks together."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._lifecycles: list[ManagerLifecycle] = []

    async def add(self, lifecycle: ManagerLifecycle) -> None:
        await lifecycle.hold(self)
        self._lifecycles.append(lifecycle)

    async def leave(self) -> None:
        leaving, self._lifecycles = self._lifecycles, []
        # An error of one manager must not keep the others from stopping in order.
        answers = await asyncio.gather(*(lifecycle.release(self) for lifecycle in leaving), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if len(errors) > 1:
            raise ExceptionGroup("several task managers could not be stopped in order", errors)
        for error in errors:
            raise error


_entering: ContextVar[_AppManagers | None] = ContextVar("entering", default=None)
"""The managers of the lifespan that is being entered. The lifespans inside it share them."""


_managers: WeakKeyDictionary[FastAPI, WeakSet[TaskManager]] = WeakKeyDictionary()
"""The managers that have joined an application."""


def managers_of(app: FastAPI) -> list[TaskManager]:
    """The managers that have joined this application."""
    return list(_managers.get(app, ()))


def join(app: FastAPI, lifecycle: ManagerLifecycle, manager: TaskManager) -> None:
    """Start after the application's own lifespan has started, stop before it stops."""
    _managers.setdefault(app, WeakSet()).add(manager)
    lifecycle.joined = True
    inner = app.router.lifespan_context
    forget = _notify_of_first_request(app, lifecycle)

    @asynccontextmanager
    async def lifespan(scope: Any) -> AsyncGenerator[Any]:
        forget()
        entering = _entering.get()
        managers = entering if entering is not None and entering.app is app else _AppManagers(app)
        async with AsyncExitStack() as stack:
            token = _entering.set(managers)
            try:
                state = await stack.enter_async_context(inner(scope))
            finally:
                _entering.reset(token)
            stack.push_async_callback(managers.leave)
            await managers.add(lifecycle)
            yield state

    app.router.lifespan_context = lifespan


def _notify_of_first_request(app: FastAPI, lifecycle: ManagerLifecycle) -> Callable[[], None]:
    """Notify the manager of the first request; the returned function undoes this. A mounted application is served
    although its lifespan never runs, and without this no message would say that its tasks do not run."""
    inner = app.router.middleware_stack

    async def first(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            forget()
            lifecycle.on_request()
        await inner(scope, receive, send)

    def forget() -> None:
        if app.router.middleware_stack is first:
            app.router.middleware_stack = inner

    app.router.middleware_stack = first
    return forget
