"""The driver of this project. Only this module uses internals of the project: keys, one event and live runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi_task_manager import Config, TaskGroup, TaskManager
from task_manager_core.application.control import Selection
from task_manager_core.domain.events import Event, SlotsDecided
from task_manager_core.domain.identity import TaskKey
from tests.benchmarks.driver import Meter, Settings, serve

GROUP = "bench"
NUMBER_OF_TASKS = 200
"""The number of tasks among which the queued runs are divided."""


class Dispatches:
    """An observer that records when the leader decided about slots."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def notice(self, event: Event) -> None:
        if isinstance(event, SlotsDecided) and event.decision.dispatch:
            self.at.append(time.time())


class TaskManagerDriver:
    packages: tuple[str, ...] = (
        "hexagonal-task-manager",
        "redis",
        "hiredis",
        "uvloop",
        "fastapi",
        "pydantic",
        "croniter",
    )

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        self._dispatches = Dispatches()
        self._occupied = asyncio.Event()
        self._free = asyncio.Event()
        config: dict[str, Any] = {
            "redis_host": settings.url,
            "redis_key_prefix": settings.name,
            "redis_cluster": settings.cluster,
        }
        if not settings.defaults:
            config["concurrent_tasks"] = settings.concurrency if settings.works else 1
        self._manager = TaskManager(config=Config(**config), observers=[self._dispatches])
        self._group = TaskGroup(GROUP)
        self._keys: list[TaskKey] = []
        self._declare()
        self._manager.add_task_group(self._group)

    def _declare(self) -> None:
        settings, meter = self._settings, self._meter
        if settings.kind == "runs":
            self._keys = [self._add(settings.idle_cron, f"t{n}", meter.body) for n in range(NUMBER_OF_TASKS)]
            self._add(settings.idle_cron, "numbered", self._numbered)
            self._add(settings.idle_cron, "occupy", self._occupy)
        elif settings.kind == "second":
            self._add("* * * * * *", "second", self._effect)
        else:
            for number in range(settings.tasks):
                self._add(settings.cron, f"t{number}", self._marker(number))

    def _add(self, cron: str, name: str, function: Callable[..., Awaitable[None]]) -> TaskKey:
        self._group.add_task(cron, name=name, register=False)(function)
        return TaskKey(GROUP, name)

    async def _numbered(self, number: int = -1) -> None:
        self._meter.mark(number)

    async def _effect(self) -> None:
        self._meter.effect()

    async def _occupy(self) -> None:
        self._occupied.set()
        await self._free.wait()

    def _marker(self, number: int) -> Callable[[], Awaitable[None]]:
        async def marked() -> None:
            self._meter.mark(number)

        return marked

    async def queue(self, runs: int) -> None:
        """Queue runs in a process whose only worker slot is busy, so that it claims none of them itself."""
        await self.start()
        for number in range(runs // len(self._keys)):
            await self._manager.control.trigger(self._keys, f"queued {number}")

    async def start(self) -> None:
        await self._manager.start()
        if not self._settings.works:
            await self._manager.control.trigger([TaskKey(GROUP, "occupy")], "occupy")
            await self._occupied.wait()

    async def ready(self) -> bool:
        """Whether the definitions are in the store: the process is healthy then. A single process must also lead."""
        health = await self._manager.health_check()
        return health.status == "healthy" and (health.is_leader or not self._settings.schedules)

    async def trigger(self, number: int) -> None:
        await self._manager.trigger((GROUP, "numbered"), number=number)

    async def left(self) -> int:
        statuses, _ = await self._manager.control.list_tasks(self._manager.control.select(Selection()))
        return sum(len(status.view.live) for status in statuses)

    async def facts(self) -> dict[str, Any]:
        at, self._dispatches.at = self._dispatches.at, []
        return {"dispatched": at, "leads": (await self._manager.health_check()).is_leader}

    async def stop(self) -> None:
        """Stop the manager. The worker slot becomes free when the process has stopped claiming."""
        stopping = asyncio.ensure_future(self._manager.stop())
        await asyncio.sleep(0.2)
        self._free.set()
        await stopping


if __name__ == "__main__":
    serve(TaskManagerDriver)
