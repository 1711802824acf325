"""taskiq with taskiq-redis: a stream with acknowledgements, the scheduler and the receiver in one process."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from taskiq import TaskiqScheduler
from taskiq.api import run_receiver_task, run_scheduler_task
from taskiq.schedule_sources import LabelScheduleSource
from taskiq_redis import RedisStreamBroker

from tests.benchmarks.driver import Meter, Settings, serve


class TaskiqDriver:
    packages = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop", "pydantic")

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        # redis-py gives up a read after five seconds, which ends a receiver whose loop is as busy as a burst makes it.
        tuned = {} if settings.defaults else {"socket_timeout": 60.0}
        self._broker = RedisStreamBroker(
            settings.url, queue_name=settings.name, consumer_group_name=settings.name, **tuned
        )
        self._source = LabelScheduleSource(self._broker)
        self._redis = Redis.from_url(settings.url)
        self._tasks: list[asyncio.Task[None]] = []

        async def body() -> None:
            await meter.body()

        async def numbered(number: int) -> None:
            meter.mark(number)

        async def second() -> None:
            meter.effect()

        self._body = self._broker.register_task(body, task_name="body")
        self._numbered = self._broker.register_task(numbered, task_name="numbered")
        if settings.kind == "second":
            self._broker.register_task(second, task_name="second", schedule=[{"interval": timedelta(seconds=1)}])
        elif settings.kind in {"idle", "burst"}:
            cron = settings.idle_cron if settings.kind == "idle" else settings.slot_cron[1]
            for number in range(settings.tasks):
                self._broker.register_task(self._marker(number), task_name=f"t{number}", schedule=[{"cron": cron}])

    def _marker(self, number: int) -> Any:
        async def marked() -> None:
            self._meter.mark(number)

        return marked

    async def queue(self, runs: int) -> None:
        await self._broker.startup()
        for _ in range(runs // 100):
            await asyncio.gather(*(self._body.kiq() for _ in range(100)))

    async def start(self) -> None:
        if not self._settings.works:
            await self._broker.startup()
            return
        prefetch = 0 if self._settings.defaults else self._settings.concurrency
        receiver = run_receiver_task(
            self._broker,
            run_startup=True,
            max_async_tasks=self._settings.concurrency,
            max_prefetch=prefetch,
            validate_params=self._settings.defaults,
        )
        self._tasks.append(asyncio.ensure_future(receiver))
        if self._settings.kind != "runs" and self._settings.schedules:
            scheduler = TaskiqScheduler(self._broker, [self._source])
            self._tasks.append(asyncio.ensure_future(run_scheduler_task(scheduler)))

    async def ready(self) -> bool:
        """The receiver has its consumer group, and the scheduler has read its tasks."""
        scheduled = not self._settings.schedules or len(self._source.schedules) >= self._settings.tasks
        return scheduled and bool(await self._redis.exists(self._settings.name))

    async def trigger(self, number: int) -> None:
        await self._numbered.kiq(number)

    async def left(self) -> int:
        groups = await self._redis.xinfo_groups(self._settings.name)
        return sum(group["pending"] + (group["lag"] or 0) for group in groups)

    async def facts(self) -> dict[str, Any]:
        return {}

    async def stop(self) -> None:
        await self._broker.shutdown()


if __name__ == "__main__":
    serve(TaskiqDriver)
