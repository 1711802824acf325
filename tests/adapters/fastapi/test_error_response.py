"""Endpoints of the application answer the errors of the library as the management API does."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI, Request

from fastapi_task_manager import TaskGroup, TaskManagerError, error_response
from tests.adapters.fastapi.application import build


def endpoints() -> FastAPI:
    """An application whose endpoints let the errors of the manager pass."""
    group = TaskGroup("g")

    @group.register_function()
    async def work(number: int) -> None: ...

    app, manager = build(group)
    app.add_exception_handler(TaskManagerError, error_response)

    @app.get("/runs/{run_id}")
    async def state(run_id: str) -> str:
        return (await manager.run_handle(("g", "work"), run_id).status()).value

    @app.post("/late")
    async def late() -> None:
        await manager.add_dynamic_task("g", "work", kwargs={"number": 1}, run_at=datetime(2020, 1, 1, tzinfo=UTC))

    @app.post("/twice")
    async def twice() -> None:
        for _ in range(2):
            await manager.add_dynamic_task("g", "work", "0 0 1 1 *", {"number": 1}, name="once")

    return app


async def test_an_endpoint_of_the_application_answers_like_the_management_api() -> None:
    app = endpoints()
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        down = await client.get("/runs/unknown")
        assert (down.status_code, down.headers["Retry-After"]) == (503, "5")
        async with app.router.lifespan_context(app):
            unknown = await client.get("/runs/unknown")
            late = await client.post("/late")
            twice = await client.post("/twice")
    assert (unknown.status_code, unknown.json()["field"]) == (404, None)
    assert unknown.json()["detail"].startswith("run 'unknown' not found")
    assert (late.status_code, late.json()["field"]) == (400, "run_at")
    assert (twice.status_code, "already exists" in twice.json()["detail"]) == (409, True)


async def test_an_error_of_another_kind_stays_an_error() -> None:
    request = Request({"type": "http"})
    with pytest.raises(ValueError, match="mine"):
        await error_response(request, ValueError("mine"))
