"""Limits long computations: the number of requests at once, and the time that each one holds the event loop.

Threads would not help. They compute under the same interpreter lock, and many of them block the event loop for longer
than slices do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from fastapi_task_manager.errors import ProcessBusyError

T = TypeVar("T")

SLICE_SECONDS = 0.005


class Sliced(Protocol):
    """A computation that goes on slice by slice."""

    @property
    def ended(self) -> bool: ...

    def go_on(self, enough: Callable[[], bool], /) -> None:
        """Compute until `enough` answers that the slice is over."""
        ...


class Limiter:
    """At most `width` requests at once. `waiting` more requests wait for a place for `patience` seconds, and the others
    are refused with ProcessBusyError. Its status is 503 and not 429: the limit is that of the process, not of a caller,
    and another process may have time.

    Between two slices the event loop runs its other callbacks, for at least `rest` seconds.
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
        """Wait for a place, and hold it. Errors: ProcessBusyError."""
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

    async def run(self, work: Sliced, seconds: float) -> None:
        """Let `work` compute in slices until it has ended, or this time is over."""
        time = asyncio.get_running_loop().time
        deadline = time() + seconds
        while not work.ended:
            await self.run_slice(work.go_on)
            if time() >= deadline:
                break

    async def run_slice(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """Let `work` compute for SLICE_SECONDS: it calls its argument to learn when they are over."""
        loop = asyncio.get_running_loop()
        async with self._slices:
            end = loop.time() + SLICE_SECONDS
            done = work(lambda: loop.time() >= end)
            await asyncio.sleep(self._rest)
        return done

    def _enter_loop(self) -> None:
        """Begin anew in another event loop: a manager may serve in several, one after the other."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._waiting = loop, 0
            self._places, self._slices = asyncio.Semaphore(self._width), asyncio.Lock()

    def _busy(self) -> ProcessBusyError:
        return ProcessBusyError(f"{self._waiting} requests wait for {self._what}, {self._width} at a time")
