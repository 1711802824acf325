"""The node of a disabled manager: it lists what the code declares, and executes nothing.

It writes the definitions into a store in memory that nothing else shares, so the store of the application is never
opened.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

from fastapi_task_manager.errors import ManagerDisabledError
from task_manager_core.application.control import Control
from task_manager_core.application.node import Node
from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Clock
from task_manager_memory import MemoryStore
from task_manager_memory.run_queue import MemoryRunQueue


class DisabledControl(Control):
    """Reads like every `Control`. A change is refused: it would be lost with this process."""

    async def _refuse(self, *_arguments: Any, **_keywords: Any) -> NoReturn:
        raise ManagerDisabledError

    pause = resume = reset_retry = clear = cancel = add = change = remove = _refuse


class DisabledNode(Node):
    """Only its registrar runs."""

    services: ClassVar[Collection[str] | None] = ("registrar",)

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.control = DisabledControl(
            backend=parts["backend"],
            declarations=parts["declarations"],
            definitions=self.definitions,
            registrar=self.registrar,
        )


class _RunQueue(MemoryRunQueue):
    """Takes no run: no worker would claim it."""

    async def enqueue(self, *_arguments: Any, **_keywords: Any) -> NoReturn:
        raise ManagerDisabledError


class _Store(MemoryStore):
    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        async with super().open(clock=clock, retention=retention) as backend:
            yield replace(backend, name="disabled", queue=_RunQueue(self._opened()))


def open_nothing(*, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]:
    """Open a store in memory of its own, in place of the store of the application."""
    return _Store().open(clock=clock, retention=retention)
