"""APScheduler 3 with its in-memory store: one process, and its data is lost when it ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger

from tests.benchmarks.driver import Meter, Settings, serve


class ApschedulerDriver:
    packages = ("apscheduler", "uvloop", "tzlocal")

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        # With the grace of one second that is its default, a burst would be discarded as misfired.
        defaults = {} if settings.defaults else {"misfire_grace_time": None}
        self._scheduler = AsyncIOScheduler(timezone=UTC, job_defaults=defaults)
        if settings.kind == "burst":
            second, minutes = settings.slot_cron
            trigger = CronTrigger(second=second, minute=minutes.split()[0], timezone=UTC)
        else:
            trigger = CronTrigger.from_crontab(settings.idle_cron, timezone=UTC)
        for number in range(settings.tasks):
            self._scheduler.add_job(self._marker(number), trigger, id=f"t{number}")

    def _marker(self, number: int) -> Any:
        async def marked() -> None:
            self._meter.mark(number)

        return marked

    async def queue(self, runs: int) -> None:
        """In memory: in the process that runs them, before it starts."""
        at = datetime.now(UTC)
        for number in range(runs):
            self._scheduler.add_job(self._meter.body, DateTrigger(at), id=f"queued {number}")

    async def start(self) -> None:
        self._scheduler.start()

    async def ready(self) -> bool:
        return bool(self._scheduler.running)

    async def trigger(self, number: int) -> None:
        raise NotImplementedError

    async def left(self) -> int:
        return len(self._scheduler.get_jobs())

    async def facts(self) -> dict[str, Any]:
        return {}

    async def stop(self) -> None:
        self._scheduler.shutdown(wait=False)


if __name__ == "__main__":
    serve(ApschedulerDriver)
