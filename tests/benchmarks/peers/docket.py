"""docket (pydocket): one stream and one sorted set; a cron task schedules its own next run."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from docket import Docket, Worker
from docket.dependencies import Cron

from tests.benchmarks.driver import Meter, Settings, serve

FAST = timedelta(milliseconds=5)
NOT_KEPT = timedelta(0)


class DocketDriver:
    packages = ("pydocket", "redis", "hiredis", "uvloop", "cronsim", "cloudpickle")

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None
        tuned = {} if settings.defaults else {"execution_ttl": NOT_KEPT}
        # redis-py allows a pool a hundred connections, and every job of a worker may need one.
        url = f"{settings.url}?max_connections={5 * settings.concurrency}"
        self._docket = Docket(name=settings.name, url=url, **tuned)
        self._opened = False
        self._declared = 0

        async def body() -> None:
            await meter.body()

        async def numbered(number: int) -> None:
            meter.mark(number)

        self._docket.register(body)
        self._docket.register(numbered)
        if settings.kind == "second":
            self._cron("second", "* * * * * *", meter.effect)
        elif settings.kind in {"idle", "burst"}:
            for number in range(settings.tasks):
                self._cron(f"t{number}", settings.cron, lambda number=number: meter.mark(number))

    def _cron(self, name: str, expression: str, seen: Any) -> None:
        schedule = Cron(expression)

        async def marked(cron: Cron = schedule) -> None:
            seen()

        marked.__name__ = name
        self._docket.register(marked)
        self._declared += 1

    async def _open(self) -> None:
        if not self._opened:
            self._opened = True
            await self._stack.enter_async_context(self._docket)

    async def queue(self, runs: int) -> None:
        await self._open()
        await self._docket.add_many(self._docket.call("body")() for _ in range(runs))

    async def start(self) -> None:
        await self._open()
        if not self._settings.works:
            return
        tuned = {} if self._settings.defaults else {"minimum_check_interval": FAST, "scheduling_resolution": FAST}
        worker = Worker(self._docket, concurrency=self._settings.concurrency, **tuned)
        await self._stack.enter_async_context(worker)
        self._running = asyncio.ensure_future(worker.run_forever())

    async def ready(self) -> bool:
        """It has told of itself, and every cron task waits for its time."""
        async with self._docket.redis() as redis:
            told = await redis.exists(self._docket.workers_set)
            return bool(told) and await redis.zcard(self._docket.queue_key) >= self._declared

    async def trigger(self, number: int) -> None:
        await self._docket.add("numbered")(number)

    async def left(self) -> int:
        async with self._docket.redis() as redis:
            return int(await redis.xlen(self._docket.stream_key))

    async def facts(self) -> dict[str, Any]:
        return {}

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()


if __name__ == "__main__":
    serve(DocketDriver)
