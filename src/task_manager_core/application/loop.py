"""Repeats the tick of a service. An exception of one pass does not end the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from task_manager_core.domain.events import TickFailed, TickRecovered
from task_manager_core.domain.identity import NodeId
from task_manager_core.ports import Observer

Tick = Callable[[], Awaitable[float | None]]
"""One pass of a service. Returns how many seconds to rest before the next pass; None: rest until `wake`."""

SHORTEST_REST = 0.001
"""Seconds. With a slow clock the rests before an instant become ever shorter, and the loop would spin until then."""

FIRST_RETRY = 0.1
"""Seconds before the pass after the first failure. Doubled with each failure, up to the `patience` of the loop."""


class Loop:
    """Repeats a tick until it is closed. `wake` ends a rest early."""

    def __init__(self, name: str, tick: Tick, *, node: NodeId, observer: Observer, patience: float = 5.0) -> None:
        self.name = name
        self._tick = tick
        self._node = node
        self._observer = observer
        self._patience = patience
        self._woken = asyncio.Event()
        self._stopping = False
        self._running: asyncio.Task[None] | None = None
        self.failures = 0
        """How many passes in a row have failed."""
        self.on_recovered: Callable[[], None] = lambda: None
        """Called after the first pass that succeeds after a failure."""

    @property
    def alive(self) -> bool:
        return self._running is not None and not self._running.done()

    def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._repeat(), name=f"{self.name} of {self._node}")

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        """Begin no further tick. May be called repeatedly."""
        self._stopping = True
        self.wake()

    async def finish(self, within: float | None = None) -> None:
        """Close, and wait until the current tick ends. Cancel it after `within` seconds."""
        self.close()
        if self._running is None:
            return
        await asyncio.wait({self._running}, timeout=within)
        if not self._running.done():
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _repeat(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                rest = await self._tick()
            except Exception as error:  # noqa: BLE001 - a failed pass does not end a service
                rest = min(FIRST_RETRY * 2 ** min(self.failures, 10), self._patience)
                self.failures += 1
                self._observer.notice(
                    TickFailed(
                        node=self._node,
                        service=self.name,
                        error=error,
                        repeats=self.failures,
                        retry_in=timedelta(seconds=rest),
                    )
                )
            else:
                if self.failures:
                    self._observer.notice(TickRecovered(node=self._node, service=self.name, repeats=self.failures))
                    self.on_recovered()
                self.failures = 0
            await self._rest(rest)

    async def _rest(self, seconds: float | None) -> None:
        if self._stopping:
            return
        if seconds is not None and seconds <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(None if seconds is None else max(seconds, SHORTEST_REST)):
                await self._woken.wait()
        except TimeoutError:
            return


async def first_of(*events: asyncio.Event, timeout: float | None) -> None:
    """Wait until one of the events is set, at most for so many seconds."""
    waits = {asyncio.ensure_future(event.wait()) for event in events}
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread; None if none runs here."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def once(name: str, step: Awaitable[None], *, node: NodeId, observer: Observer, within: float) -> None:
    """Run one step of a sequence. If it fails or takes longer than `within` seconds, the observer is notified and the
    sequence goes on."""
    try:
        async with asyncio.timeout(within):
            await step
    except Exception as error:  # noqa: BLE001 - the next step must run, too
        observer.notice(TickFailed(node=node, service=name, error=error, repeats=1, retry_in=timedelta(0)))
