"""How managers join the lifespan of an application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from fastapi_task_manager.lifecycle import ManagerLifecycle

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send


class _AppManagers:
    """The managers that run in one run of an application's lifespan. The lifespans that hold them stand inside each
    other; the outermost one ends first, and lets all of them go beside each other: their tasks drain at the same
    time."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._lifecycles: list[ManagerLifecycle] = []

    async def add(self, lives: ManagerLifecycle) -> None:
        await lives.hold(self)
        self._lifecycles.append(lives)

    async def leave(self) -> None:
        leaving, self._lifecycles = self._lifecycles, []
        # A manager whose store cannot be closed keeps no other from leaving in order.
        answers = await asyncio.gather(*(lives.release(self) for lives in leaving), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if len(errors) > 1:
            raise ExceptionGroup("several task managers could not be stopped in order", errors)
        for error in errors:
            raise error


_entering: ContextVar[_AppManagers | None] = ContextVar("residents", default=None)
"""The run of a lifespan that is being entered: the lifespans inside it belong to the same run."""


def join(app: FastAPI, lives: ManagerLifecycle) -> None:
    """Start after the application's own lifespan has started, stop before it stops."""
    lives.joined = True
    inner = app.router.lifespan_context
    forget = _tell_of_requests(app, lives)

    @asynccontextmanager
    async def lifespan(scope: Any) -> AsyncGenerator[Any]:
        forget()
        entering = _entering.get()
        residents = entering if entering is not None and entering.app is app else _AppManagers(app)
        async with AsyncExitStack() as stack:
            token = _entering.set(residents)
            try:
                state = await stack.enter_async_context(inner(scope))
            finally:
                _entering.reset(token)
            stack.push_async_callback(residents.leave)
            await residents.add(lives)
            yield state

    app.router.lifespan_context = lifespan


def _tell_of_requests(app: FastAPI, lives: ManagerLifecycle) -> Callable[[], None]:
    """Let the manager hear of the first request; the answer undoes it. An application whose lifespan never runs is
    served all the same if it is mounted in another one, and nothing else would tell that its tasks do not run."""
    inner = app.router.middleware_stack

    async def first(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            forget()
            lives.on_request()
        await inner(scope, receive, send)

    def forget() -> None:
        if app.router.middleware_stack is first:
            app.router.middleware_stack = inner

    app.router.middleware_stack = first
    return forget
