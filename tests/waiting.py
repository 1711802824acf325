"""Waiting for a condition where processes are real. A bare sleep is a guess; this is a deadline with a name."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

_PAUSE = 0.01


class NotReached(AssertionError):
    """The condition did not come true in time."""

    def __init__(self, description: str, timeout: float, last_error: Exception | None) -> None:
        self.description = description
        reason = f"; the last look raised {last_error!r}" if last_error is not None else ""
        super().__init__(f"not reached within {timeout:g} s: {description}{reason}")


def wait_until(
    predicate: Callable[[], object],
    description: str,
    timeout: float = 10.0,
    *,
    ignore: type[Exception] | tuple[type[Exception], ...] = (),
) -> None:
    """Look until `predicate` is true. Errors of the kinds in `ignore` count as "not yet"."""
    deadline = time.monotonic() + timeout
    last_error: Exception | None = None
    while True:
        try:
            if predicate():
                return
        except ignore as error:
            last_error = error
        if time.monotonic() >= deadline:
            raise NotReached(description, timeout, last_error)
        time.sleep(_PAUSE)


async def wait_until_async(
    predicate: Callable[[], object | Awaitable[object]],
    description: str,
    timeout: float = 10.0,
    *,
    ignore: type[Exception] | tuple[type[Exception], ...] = (),
) -> None:
    """The same inside an event loop, for a plain or a coroutine function. One look may not outlast the deadline."""
    deadline = time.monotonic() + timeout
    last_error: Exception | None = None
    while True:
        try:
            answer = predicate()
            if inspect.isawaitable(answer):
                async with asyncio.timeout(max(deadline - time.monotonic(), _PAUSE)):
                    answer = await answer
            if answer:
                return
        except ignore as error:
            last_error = error
        except TimeoutError as error:
            last_error = error
        if time.monotonic() >= deadline:
            raise NotReached(description, timeout, last_error)
        await asyncio.sleep(_PAUSE)
