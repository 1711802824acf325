"""Applications whose tests look at the settlement of an attempt."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_core.domain.events import RunSettled
from task_manager_core.domain.run import Succeeded
from task_manager_core.ports import OpenBackend
from task_manager_core.testing.recorder import Recorder
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import PREFIX, QUICK, answer, serving
from tests.waiting import wait_until_async


class Application:
    """A served application with the events of its node."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient, events: Recorder) -> None:
        self.app = app
        self.client = client
        self.events = events

    async def settled(self, count: int = 1) -> list[RunSettled]:
        await wait_until_async(lambda: len(self.events.of(RunSettled)) >= count, f"{count} attempts are settled")
        return self.events.of(RunSettled)

    async def run(self, task: str, **kwargs: Any) -> RunSettled:
        """Trigger the task and return the settlement of its first attempt."""
        self.events.clear()
        body = {"json": {"kwargs": kwargs}} if kwargs else {}
        await answer(self.client, "POST", "/tasks/trigger", params={"task_name": task}, **body)
        return (await self.settled())[0]


@asynccontextmanager
async def application(
    *groups: TaskGroup, backend: OpenBackend | None = None, **settings: Any
) -> AsyncGenerator[Application]:
    app, events = FastAPI(), Recorder()
    config = OperationalConfig(**(QUICK | settings))
    manager = TaskManager(app, config, backend=backend or MemoryStore().open, observers=[events])
    for group in groups:
        manager.add_task_group(group)
    app.include_router(manager.get_manager_router(), prefix=PREFIX)
    async with serving(app) as client:
        yield Application(app, client, events)


def succeeded(settled: RunSettled) -> bool:
    assert settled.error is None, settled.error
    return isinstance(settled.settlement.outcome, Succeeded)
