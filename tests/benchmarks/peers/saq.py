"""saq: one list; each slot of a worker's concurrency waits for a job of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from saq import CronJob, Queue, Worker
from saq.queue.redis import RedisQueue

from tests.benchmarks.driver import Meter, Settings, serve

NOT_KEPT = -1
OPERATIONS = 200


class SaqDriver:
    packages = ("saq", "redis", "hiredis", "uvloop", "croniter")

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        tuned = {} if settings.defaults else {"max_concurrent_ops": OPERATIONS}
        self._queue: Queue = RedisQueue(Redis.from_url(settings.url), name=settings.name, **tuned)
        self._crons = [CronJob(function, cron=cron, ttl=NOT_KEPT) for function, cron in self._declared()]
        self._running: asyncio.Task[None] | None = None

    def _declared(self) -> Any:
        settings = self._settings
        if settings.kind == "second":
            yield self._named("second", self._effect), "* * * * * *"
        elif settings.kind in {"idle", "burst"}:
            # The seconds are the sixth field.
            second, minutes = settings.slot_cron
            cron = settings.idle_cron if settings.kind == "idle" else f"{minutes} {second}"
            for number in range(settings.tasks):
                yield self._named(f"t{number}", self._marker(number)), cron

    @staticmethod
    def _named(name: str, function: Any) -> Any:
        async def named(ctx: Any) -> None:
            await function(ctx)

        named.__qualname__ = name
        return named

    async def _effect(self, ctx: Any) -> None:
        self._meter.effect()

    async def _body(self, ctx: Any) -> None:
        await self._meter.body()

    async def _mark(self, ctx: Any, *, number: int) -> None:
        self._meter.mark(number)

    def _marker(self, number: int) -> Any:
        async def marked(ctx: Any) -> None:
            self._meter.mark(number)

        return marked

    async def queue(self, runs: int) -> None:
        for _ in range(runs // 100):
            await asyncio.gather(*(self._queue.enqueue("body", ttl=NOT_KEPT) for _ in range(100)))

    async def start(self) -> None:
        if not self._settings.works:
            await self._queue.connect()
            return
        worker = Worker(
            self._queue,
            functions=[("body", self._body), ("numbered", self._mark)],
            concurrency=self._settings.concurrency,
            cron_jobs=self._crons,
        )
        self._running = asyncio.ensure_future(worker.start())

    async def ready(self) -> bool:
        """It has told of itself, and every cron job waits for its time."""
        told = await self._queue.redis.exists(self._queue.namespace("stats"))
        return bool(told) and await self._queue.count("incomplete") >= len(self._crons)

    async def trigger(self, number: int) -> None:
        await self._queue.enqueue("numbered", number=number, ttl=NOT_KEPT)

    async def left(self) -> int:
        return await self._queue.count("queued") + await self._queue.count("active")

    async def facts(self) -> dict[str, Any]:
        return {}

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()


if __name__ == "__main__":
    serve(SaqDriver)
