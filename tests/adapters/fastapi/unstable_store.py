"""A store that can be away: the memory store behind a switch."""

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


class Line(Enum):
    """How the way to the store is."""

    UP = "up"
    DOWN = "down"
    SILENT = "silent"
    BROKEN = "broken"
    FULL = "full"
    DEAF = "deaf"
    """Every request takes effect, and its answer is lost."""


_READINGS = frozenset({"agenda", "load", "read", "skips", "snapshot", "wait"})


class SwitchedStore:
    def __init__(self, line: Line = Line.UP) -> None:
        self.line = line
        self.store = MemoryStore()

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        async with self.store.open(clock=clock, retention=retention) as backend:
            ports = {
                field.name: _Port(self, getattr(backend, field.name))
                for field in fields(backend)
                if field.name not in {"name", "capabilities", "unreadable"}
            }
            yield replace(backend, **ports)  # type: ignore[arg-type]  # a port is known by its verbs


class _Port:
    def __init__(self, switch: SwitchedStore, port: object) -> None:
        self._switch = switch
        self._port = port

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if self._switch.line is Line.DOWN:
                raise BackendUnavailable("connection refused")
            if self._switch.line is Line.FULL and verb not in _READINGS:
                raise BackendUnavailable("used memory > 'maxmemory'")
            if self._switch.line is Line.BROKEN:
                raise ZeroDivisionError("a bug in the store")
            if self._switch.line is Line.SILENT:
                await asyncio.Event().wait()
            answer = await getattr(self._port, verb)(*args, **kwargs)
            if self._switch.line is Line.DEAF and verb not in _READINGS:
                raise BackendUnavailable("the answer was lost")
            return answer

        return call
