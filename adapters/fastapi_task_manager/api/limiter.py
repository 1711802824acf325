"""Work that takes long: so many requests at once, and in the event loop a few milliseconds at a time.

Threads would not help: they compute under the same interpreter lock, and many of them keep the loop waiting for longer
than slices do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi_task_manager.errors import ProcessBusyError

T = TypeVar("T")

SLICE_SECONDS = 0.005


class Limiter:
    """At most `width` requests at once; `waiting` more wait their turn for `patience` seconds, and the others hear that
    the process is busy. 503 and not 429: the limit is the process's and no caller's, and another process may be free.

    Between two slices the loop runs all else that is due, or does so for `rest`, whoever computes.
    """

    def __init__(self, what: str, *, width: int, waiting: int, patience: float, rest: float = 0.0) -> None:
        self._what = what
        self._rest = rest
        self._width = width
        self._most_waiting = waiting
        self._patience = patience
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = asyncio.Semaphore(width)
        self._slices = asyncio.Lock()

    @asynccontextmanager
    async def admit(self) -> AsyncGenerator[None]:
        """A place among those who compute. Errors: ProcessBusyError."""
        self._enter_loop()
        if self._waiting >= self._most_waiting:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    async def run_slice(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """A few milliseconds for `work`, which asks when they are over; then the rest of the process has the loop."""
        loop = asyncio.get_running_loop()
        async with self._slices:
            end = loop.time() + SLICE_SECONDS
            done = work(lambda: loop.time() >= end)
            await asyncio.sleep(self._rest)
        return done

    def _enter_loop(self) -> None:
        """A manager may serve in one event loop after the other; what waits belongs to one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._waiting = loop, 0
            self._places, self._slices = asyncio.Semaphore(self._width), asyncio.Lock()

    def _busy(self) -> ProcessBusyError:
        return ProcessBusyError(f"{self._waiting} requests wait for {self._what}, {self._width} at a time")
