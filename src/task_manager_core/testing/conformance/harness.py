"""The harness: the open store, and functions that move its time. The author of a store provides it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, OpenBackend, ReopenBackend
from task_manager_core.testing.clock import ManualClock

RETENTION = Retention(runs=10)
"""A small number, because a law is about the lines beyond it."""

PATIENCE = 20.0
"""Seconds. Long enough for a busy machine, and short enough for a person who waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """An open and empty store whose time the tests can move.

    Attributes:
        backend: The open store.
        advance: Moves the store's time forward. The time may run by itself too: no test depends on less than a few
            seconds.
        wipe: Deletes the content of the store, as a flush does, and returns the backend to use from then on. Without it
            the laws about a wiped store are not judged.
        set_back: Sets the store's clock back while no time passes, as an operator does. Without it the laws about a
            clock that is set back are not judged.
        reopen: Opens a durable store once more, with the same time. Without it the law about another thread is not
            judged for such a store.
        retention: The retention with which the store was opened.
        patience: Seconds of real time. A verb has to answer within them; a verb that waits has its wait in addition.
    """

    backend: Backend
    advance: Callable[[timedelta], Awaitable[None]]
    wipe: Callable[[], Awaitable[Backend]] | None = None
    set_back: Callable[[timedelta], Awaitable[None]] | None = None
    reopen: ReopenBackend | None = None
    retention: Retention = RETENTION
    patience: float = PATIENCE


@asynccontextmanager
async def clock_harness(open_backend: OpenBackend, *, retention: Retention = RETENTION) -> AsyncGenerator[Harness]:
    """The harness of a store that takes its time from a clock.

    To wipe a store that is not durable, the harness opens another one.
    """
    clock = ManualClock()
    async with AsyncExitStack() as opened:

        async def open_another() -> Backend:
            return await opened.enter_async_context(open_backend(clock=clock, retention=retention))

        async def advance(delta: timedelta) -> None:
            clock.advance(delta)

        async def set_back(delta: timedelta) -> None:
            clock.set_wall(clock.now() - delta)

        backend = await open_another()
        yield Harness(
            backend=backend,
            advance=advance,
            wipe=None if backend.capabilities.durable else open_another,
            set_back=set_back,
            reopen=lambda: open_backend(clock=clock, retention=retention),
            retention=retention,
        )
