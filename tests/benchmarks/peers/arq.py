"""arq: jobs in a sorted set that every worker polls."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import Any

from arq import cron, func
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker
from redis.asyncio import BlockingConnectionPool

from tests.benchmarks.driver import Meter, Settings, serve

FAST_POLL = 0.01


class ArqDriver:
    packages = ("arq", "redis", "hiredis", "uvloop")

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        self._pool: ArqRedis | None = None
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None
        self._crons = list(self._declared())

    def _declared(self) -> Any:
        settings = self._settings
        if settings.kind == "second":
            yield cron(self._effect, name="second", second=None, microsecond=0)
        elif settings.kind in {"idle", "burst"}:
            idle = {"hour": settings.idle_hour, "minute": 0}
            second, minutes = settings.slot_cron
            due = {"minute": int(minutes.split()[0]), "second": second, "microsecond": 0}
            for number in range(settings.tasks):
                yield cron(self._marker(number), name=f"t{number}", **(idle if settings.kind == "idle" else due))

    async def _effect(self, ctx: Any) -> None:
        self._meter.effect()

    async def _body(self, ctx: Any) -> None:
        await self._meter.body()

    async def _mark(self, ctx: Any, number: int) -> None:
        self._meter.mark(number)

    def _marker(self, number: int) -> Any:
        async def marked(ctx: Any) -> None:
            self._meter.mark(number)

        return marked

    async def _connected(self) -> ArqRedis:
        """With as many connections as places: arq's own pool opens one for every cron job that is due."""
        if self._pool is None:
            self._pool = ArqRedis(
                BlockingConnectionPool.from_url(
                    self._settings.url, max_connections=self._settings.concurrency, timeout=None
                ),
                default_queue_name=self._settings.name,
            )
        return self._pool

    async def queue(self, runs: int) -> None:
        pool = await self._connected()
        for _ in range(runs // 100):
            await asyncio.gather(*(pool.enqueue_job("body", _queue_name=self._settings.name) for _ in range(100)))

    async def start(self) -> None:
        if not self._settings.works:
            await self._connected()
            return
        tuned = {"redis_settings": RedisSettings.from_dsn(self._settings.url)}
        if not self._settings.defaults:
            tuned = {"redis_pool": await self._connected(), "poll_delay": FAST_POLL, "keep_result": 0}
        self._worker = Worker(
            functions=[func(self._body, name="body"), func(self._mark, name="numbered")],
            cron_jobs=self._crons,
            queue_name=self._settings.name,
            max_jobs=self._settings.concurrency,
            handle_signals=False,
            log_results=False,
            timezone=UTC,
            **tuned,
        )
        self._running = asyncio.ensure_future(self._worker.async_run())

    async def ready(self) -> bool:
        """It is connected, and every cron job knows its next run."""
        return self._worker is not None and self._worker._pool is not None and all(one.next_run for one in self._crons)

    async def trigger(self, number: int) -> None:
        pool = await self._connected()
        await pool.enqueue_job("numbered", number, _queue_name=self._settings.name)

    async def left(self) -> int:
        pool = await self._connected()
        return int(await pool.zcard(self._settings.name))

    async def facts(self) -> dict[str, Any]:
        return {}

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()


if __name__ == "__main__":
    serve(ArqDriver)
