"""What the suite needs from the author of a store: the open store, and a way to move its time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, OpenBackend
from task_manager_core.testing.clock import ManualClock

RETENTION = Retention(runs=10)
"""Small, because a law is about what comes after the last line that is kept."""

PATIENCE = 20.0
"""Seconds: enough on a busy machine, and short enough to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """An open store that is empty, with its time in the hands of the tests.

    After `advance(delta)` the store's time is later by `delta`, or by a little more if it also runs by itself; no test
    depends on less than some seconds. `wipe` loses everything the store holds, as a flush does, and answers how to
    reach it from then on; without it the laws about a wiped store are not judged. `set_back(delta)` sets the store's
    clock back while no time passes, as an operator does; without it the laws about that are not judged. `retention` is
    what the store was opened with. `patience`: so many seconds of real time has a verb to answer, and has to happen
    what happens at once; what a verb is asked to wait comes on top.
    """

    backend: Backend
    advance: Callable[[timedelta], Awaitable[None]]
    wipe: Callable[[], Awaitable[Backend]] | None = None
    set_back: Callable[[timedelta], Awaitable[None]] | None = None
    retention: Retention = RETENTION
    patience: float = PATIENCE


@asynccontextmanager
async def clock_harness(open_backend: OpenBackend, *, retention: Retention = RETENTION) -> AsyncGenerator[Harness]:
    """The harness of a store that takes its time from the clock it is opened with.

    A store that says it is not durable is wiped by opening another one.
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
            retention=retention,
        )
