"""Builds applications for these tests: they have the memory store and short intervals, in the test's event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_core.ports import OpenBackend
from task_manager_memory import MemoryStore

QUICK: dict[str, Any] = {
    "poll_interval": 0.02,
    "stream_block_ms": 50,
    "leader_heartbeat_interval": 0.3,
    "leader_retry_interval": 0.1,
    "running_heartbeat_interval": 0.1,
    "refresh_interval": 0.05,
    "reconciliation_interval": 0.2,
    "shutdown_timeout": 2.0,
    "retry_backoff": 0.05,
}
PREFIX = "/task-manager"


def build(
    *groups: TaskGroup, backend: OpenBackend | None = None, dependencies: list[Any] | None = None, **settings: Any
) -> tuple[FastAPI, TaskManager]:
    """An application with its manager and its management API."""
    app = FastAPI()
    manager = TaskManager(app, OperationalConfig(**(QUICK | settings)), backend=backend or MemoryStore().open)
    for group in groups:
        manager.add_task_group(group)
    app.include_router(manager.get_manager_router(dependencies), prefix=PREFIX, tags=["task-manager"])
    return app, manager


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of an application whose lifespan does not run. An exception becomes a 500, as in production."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://test{PREFIX}") as client:
        yield client


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    """The application with its lifespan, and a client."""
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


async def answer(client: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> Any:
    """Send a request that must succeed, and return the JSON of its response."""
    response = await client.request(method, path, **arguments)
    assert response.status_code == 200, response.text
    return response.json()
