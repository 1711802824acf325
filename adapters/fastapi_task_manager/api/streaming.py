"""Writes long answers as JSON, a few milliseconds at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from fastapi import Response
from pydantic import BaseModel

from fastapi_task_manager.api.limiter import Limiter
from task_manager_core.application.control import Selection

T = TypeVar("T")


async def write_list(limiter: Limiter, show: Callable[[T], BaseModel], items: Iterable[T]) -> str:
    """The list of these items in JSON."""
    left = iter(items)

    def write(enough: Callable[[], bool]) -> list[str]:
        shown: list[str] = []
        for item in left:
            shown.append(show(item).model_dump_json())
            if enough():
                break
        return shown

    pieces: list[str] = []
    while piece := await limiter.run_slice(write):
        pieces.extend(piece)
    return f"[{','.join(pieces)}]"


def json_object(**parts: str) -> str:
    """A JSON object of parts that are JSON already."""
    return "{" + ",".join(f'"{name}":{part}' for name, part in parts.items()) + "}"


def json_response(json: str, beside: Response) -> Response:
    """A response with the headers that dependencies have set, as FastAPI adds them to its own responses."""
    answer = Response(json, media_type="application/json")
    answer.headers.raw.extend(beside.headers.raw)
    return answer


class SharedLists:
    """Reads lists of tasks, one at a time. Equal requests that wait for their turn share one reading."""

    def __init__(self, write: Callable[[Limiter, Selection], Awaitable[str]]) -> None:
        self._write = write
        self._limiter = Limiter("lists of tasks", width=1, waiting=64, patience=15.0)
        self._readings: dict[tuple[asyncio.AbstractEventLoop, Selection], asyncio.Task[str]] = {}

    async def of(self, selection: Selection) -> str:
        """Errors: ProcessBusyError, and what the reading raises."""
        key = asyncio.get_running_loop(), selection
        reading = self._readings.get(key)
        if reading is None:
            reading = self._readings[key] = asyncio.create_task(self._next(key))
            reading.add_done_callback(_read_exception)  # also if all callers have gone
        return await asyncio.shield(reading)

    async def _next(self, key: tuple[asyncio.AbstractEventLoop, Selection]) -> str:
        try:
            async with self._limiter.admit():
                del self._readings[key]  # the reading begins: a later request gets a later reading
                return await self._write(self._limiter, key[1])
        finally:
            if self._readings.get(key) is asyncio.current_task():
                del self._readings[key]


def _read_exception(done: asyncio.Task[str]) -> None:
    if not done.cancelled():
        done.exception()
