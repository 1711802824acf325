"""streaq: streams for due jobs, a sorted set for later jobs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from streaq import Worker

from tests.benchmarks.driver import Meter, Settings, serve

CHUNK = 1000
NOT_KEPT = 0


class StreaqDriver:
    packages = ("streaq", "coredis", "uvloop", "crontab", "anyio")

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None
        self._worker: Worker[None] = Worker(
            redis_url=settings.url, queue_name=settings.name, concurrency=settings.concurrency, handle_signals=False
        )
        self._kept = {} if settings.defaults else {"ttl": NOT_KEPT}
        self._body = self._worker.task(name="body", **self._kept)(meter.body)
        self._numbered = self._worker.task(name="numbered", **self._kept)(self._mark)
        self._declared = 0
        if settings.kind == "second":
            self._cron("second", "* * * * * * *", meter.effect)
        elif settings.kind in {"idle", "burst"}:
            # Seconds come first, the year last; six fields would be minutes to years.
            cron = f"0 {settings.idle_cron} *" if settings.kind == "idle" else f"{settings.cron} *"
            for number in range(settings.tasks):
                self._cron(f"t{number}", cron, lambda number=number: meter.mark(number))

    def _cron(self, name: str, tab: str, seen: Any) -> None:
        async def marked() -> None:
            seen()

        self._worker.cron(tab, name=name, **self._kept)(marked)
        self._declared += 1

    async def _mark(self, number: int) -> None:
        self._meter.mark(number)

    async def queue(self, runs: int) -> None:
        await self._stack.enter_async_context(self._worker)
        for _ in range(runs // CHUNK):
            await self._worker.enqueue_many([self._body.enqueue() for _ in range(CHUNK)])

    async def start(self) -> None:
        if self._settings.works:
            self._running = asyncio.ensure_future(self._worker.run_async())
        else:
            await self._stack.enter_async_context(self._worker)

    async def ready(self) -> bool:
        """It reads its stream, and every cron job waits for its time."""
        worker = self._worker
        if not worker._initialized:
            return False
        told = await worker.redis.exists([f"{worker.prefix}:health:{worker.id}"])
        return bool(told) and await worker.redis.zcard(worker.cron_schedule_key) >= self._declared

    async def trigger(self, number: int) -> None:
        await self._numbered.enqueue(number)

    async def left(self) -> int:
        return int(await self._worker.queue_size(include_scheduled=False))

    async def facts(self) -> dict[str, Any]:
        return {}

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()


if __name__ == "__main__":
    serve(StreaqDriver)
