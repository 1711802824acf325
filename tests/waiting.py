"""Waits for a condition in tests with real processes. A sleep would be a guess; this has a deadline and a
description."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

_PAUSE = 0.01


class NotReached(AssertionError):
    """The condition did not become true before the deadline."""

    def __init__(self, description: str, timeout: float, last_error: Exception | None) -> None:
        self.description = description
        reason = f"; the last check raised {last_error!r}" if last_error is not None else ""
        super().__init__(f"not reached within {timeout:g} s: {description}{reason}")


def wait_until(
    predicate: Callable[[], object],
    description: str,
    timeout: float = 10.0,
    *,
    ignore: type[Exception] | tuple[type[Exception], ...] = (),
) -> None:
    """Call `predicate` until it is true. An error of a type in `ignore` counts as "not yet"."""
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
    """The same in an event loop, for a function or a coroutine function. One call may not last longer than the
    deadline."""
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
