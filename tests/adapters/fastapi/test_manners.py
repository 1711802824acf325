"""What clients expect of HTTP: HEAD for each GET, a 503 that says when to retry, own error handlers."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse

from fastapi_task_manager import TaskGroup
from tests.adapters.fastapi.application import PREFIX, build, client_of, serving
from tests.adapters.fastapi.test_bodies import application as protected
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore

READING = ["/health", "/config", "/task-groups", "/functions", "/tasks", "/tasks/g/t/statistics", "/tasks/g/t/explain"]


def application() -> FastAPI:
    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="t")(lambda: None)
    return build(group)[0]


@pytest.mark.parametrize("path", [*READING, "/tasks/g/t/upcoming"])
async def test_head_answers_as_get_does_without_a_body(path: str) -> None:
    async with serving(application()) as client:
        head, get = await client.head(path), await client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        if path not in {"/health", "/tasks/g/t/statistics"}:
            assert head.headers["content-length"] == get.headers["content-length"]


async def test_head_checks_the_dependencies_and_the_filters_too() -> None:
    async with serving(protected()) as client:
        for path in READING:
            assert (await client.head(path)).status_code == 401
        head = await client.head("/tasks?task_name=t", headers={"X-Token": "right"})
        assert head.status_code == 422


def test_the_openapi_document_has_no_head() -> None:
    assert not [path for path, methods in application().openapi()["paths"].items() if "head" in methods]


async def test_a_503_says_when_to_retry() -> None:
    app, _ = build(TaskGroup("g"))
    async with client_of(app) as client:
        for method, path in (("GET", "/health"), ("GET", "/tasks"), ("POST", "/tasks/disable"), ("HEAD", "/health")):
            response = await client.request(method, path)
            assert (response.status_code, int(response.headers["Retry-After"])) == (503, 5), path
    store = SwitchedStore(Link.DOWN)
    app, _ = build(TaskGroup("g"), backend=store.open)
    async with serving(app) as client:
        for path in ("/health", "/tasks"):
            response = await client.get(path)
            assert (response.status_code, int(response.headers["Retry-After"])) == (503, 5), path


async def test_an_error_handler_of_the_application_still_handles_errors_outside_this_router() -> None:
    app = application()

    @app.exception_handler(RequestValidationError)
    async def own(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"own": len(error.errors())}, 418)

    @app.exception_handler(404)
    async def not_found(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("lost", 404)

    @app.get("/number")
    async def number(value: int) -> int:
        return value

    @app.get(f"{PREFIX}/neighbour")
    async def neighbour(value: int) -> int:
        return value

    async with serving(app) as client:
        for path in ("http://test/number?value=x", "/neighbour?value=x"):
            response = await client.get(path)
            assert (response.status_code, response.json()) == (418, {"own": 1})
        assert (await client.get("http://test/nowhere")).text == "lost"
        ours = await client.get("/tasks/g/t/upcoming?count=x")
        assert (ours.status_code, ours.json()["detail"][0]["loc"]) == (422, ["query", "count"])
        assert (await client.get("/tasks/g/missing/upcoming")).json()["detail"].startswith("task 'missing' not found")
