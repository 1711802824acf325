"""A memory store behind a link that a test can interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from enum import Enum
from typing import Any

from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Clock
from task_manager_memory import MemoryStore


class Link(Enum):
    """The state of the link to the store."""

    UP = "up"
    DOWN = "down"
    SILENT = "silent"
    BROKEN = "broken"
    FULL = "full"
    ANSWERS_LOST = "answers lost"
    """Every request takes effect, but its answer is lost."""


_READINGS = frozenset({"agenda", "load", "read", "recent", "skips", "snapshot", "wait"})


class SwitchedStore:
    """A memory store whose ports follow the state of the link."""

    def __init__(self, link: Link = Link.UP) -> None:
        self.link = link
        self.store = MemoryStore()

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        async with self.store.open(clock=clock, retention=retention) as backend:
            ports = {
                field.name: _Port(self, getattr(backend, field.name))
                for field in fields(backend)
                if field.name not in {"name", "capabilities", "unreadable"}
            }
            yield replace(backend, **ports)  # type: ignore[arg-type]  # `_Port` has every verb of the port that it wraps


class _Port:
    def __init__(self, switch: SwitchedStore, port: object) -> None:
        self._switch = switch
        self._port = port

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._switch.link is Link.DOWN:
                raise BackendUnavailable("connection refused")
            if self._switch.link is Link.FULL and verb not in _READINGS:
                raise BackendUnavailable("used memory > 'maxmemory'")
            if self._switch.link is Link.BROKEN:
                raise ZeroDivisionError("a bug in the store")
            if self._switch.link is Link.SILENT:
                await asyncio.Event().wait()
            answer = await getattr(self._port, verb)(*args, **kwargs)
            if self._switch.link is Link.ANSWERS_LOST and verb not in _READINGS:
                raise BackendUnavailable("the answer was lost")
            return answer

        return call
