"""Request bodies: a route reads a body after its dependencies ran, limits its length, and accepts only JSON."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from fastapi_task_manager.api import bodies
from fastapi_task_manager.schema.task import (
    ChangeDynamicTaskRequest,
    CreateDynamicTaskRequest,
    TriggerRequest,
)
from tests.adapters.fastapi.application import PREFIX, answer, build, serving
from tests.adapters.fastapi.served import connect, uvicorn_of
from tests.adapters.fastapi.test_attached import WAYS, Check, served

LIMIT = OperationalConfig.model_fields["api_max_body_bytes"].default
NEW = {"task_group_name": "g", "function_name": "greet", "cron_expression": "0 0 1 1 *", "name": "n"}
READING = [
    ("POST", "/tasks"),
    ("PUT", "/tasks/g/n"),
    ("POST", "/tasks/trigger"),
    ("POST", "/schedules/preview"),
]


def check_token(x_token: str = Header("")) -> None:
    if x_token != "right":
        raise HTTPException(401, "wrong token")


def requiring_a_token(x_token: str = Header()) -> None:
    """FastAPI itself answers 422 if the request has no token."""
    check_token(x_token)


def application(**settings: Any) -> FastAPI:
    group = TaskGroup("g")

    @group.register_function("greet")
    async def greet(recipient: str = "x") -> None:
        """Does nothing."""

    group.add_task("0 0 1 1 *", name="static")(greet)
    app, _ = build(group, dependencies=[Depends(check_token)], **settings)
    return app


TOKEN = {"X-Token": "right"}


async def unread_body() -> dict[str, Any]:
    raise AssertionError("the application read the body")


async def asgi_status(
    app: FastAPI,
    method: str,
    path: str,
    headers: dict[str, str],
    receive: Callable[[], Awaitable[dict[str, Any]]] = unread_body,
) -> int:
    """The status of a request. The application must not read its body, unless the test passes `receive`."""
    statuses: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": method,
        "path": f"{PREFIX}{path}",
        "raw_path": f"{PREFIX}{path}".encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    await app(scope, receive, send)
    return statuses[0]


@pytest.mark.parametrize("attach", WAYS)
@pytest.mark.parametrize(("check", "status"), [(check_token, 401), (requiring_a_token, 422)])
async def test_dependencies_run_before_a_byte_of_a_body_is_read(
    attach: Callable[[TaskManager, Check], FastAPI], check: Check, status: int
) -> None:
    app = served(attach, check)
    headers = {"Content-Type": "application/json", "Content-Length": "20000000"}
    async with app.router.lifespan_context(app):
        for method, path in READING:
            assert await asgi_status(app, method, path, headers) == status, path


async def test_a_declared_length_above_the_limit_is_413_before_a_byte_is_read() -> None:
    app = application()
    headers = {"Content-Type": "application/json", "Content-Length": str(LIMIT + 1), **TOKEN}
    async with app.router.lifespan_context(app):
        for method, path in READING:
            assert await asgi_status(app, method, path, headers) == 413, path


def test_a_server_answers_before_a_long_body_has_been_sent() -> None:
    with uvicorn_of(application()) as port:
        for token, status in (("wrong", 401), ("right", 413)):
            with connect(port) as connection:
                connection.send(_head("Content-Length: 74000000", token))
                assert connection.status() == status


def test_a_body_in_chunks_is_refused_as_soon_as_their_sum_is_too_long() -> None:
    with uvicorn_of(application()) as port, connect(port) as connection:
        connection.send(_head("Transfer-Encoding: chunked", "right"))
        for _ in range(LIMIT // 16384 + 1):
            connection.send(b"4000\r\n" + b" " * 16384 + b"\r\n")
        assert connection.status() == 413  # The test never sent the last chunk.


def test_a_body_that_does_not_arrive_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    with uvicorn_of(application()) as port, connect(port) as connection:
        connection.send(_head("Content-Length: 100", "right") + b"{")
        assert connection.status() == 408


def _head(length: str, token: str) -> bytes:
    lines = (f"POST {PREFIX}/tasks HTTP/1.1", "Host: h", "Content-Type: application/json", f"X-Token: {token}", length)
    return "\r\n".join((*lines, "", "")).encode()


async def test_a_caller_that_disconnects_while_it_sends_its_body_causes_no_error() -> None:
    app = application()
    headers = {"Content-Type": "application/json", "Content-Length": "100", **TOKEN}

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async with app.router.lifespan_context(app):
        for method, path in READING:
            assert await asgi_status(app, method, path, headers, receive) == 400, path


async def test_the_limit_is_a_field_of_the_configuration() -> None:
    body = json.dumps(NEW | {"description": "x" * 3000}).encode()
    for limit, status in ((len(body) - 1, 413), (len(body), 200)):
        async with serving(application(api_max_body_bytes=limit)) as client:
            response = await client.post("/tasks", content=body, headers={"Content-Type": "application/json", **TOKEN})
            assert response.status_code == status, response.text
            assert status == 200 or response.json() == {
                "detail": f"the body is longer than {limit} bytes (api_max_body_bytes)",
                "field": None,
            }
            names = [task["name"] for task in await answer(client, "GET", "/tasks", headers=TOKEN)]
            assert names == (["static"] if status == 413 else ["n", "static"])


async def test_a_dependency_may_read_the_bounded_body_before_the_route_reads_it() -> None:
    """For example, a dependency that checks a signature needs the bytes."""

    async def check(request: Request) -> None:
        if b"static" not in await request.body():
            raise HTTPException(401, "wrong signature")

    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="static")(lambda: None)
    app, _ = build(group, dependencies=[Depends(check)])
    headers = {"Content-Type": "application/json"}
    async with serving(app) as client:
        created = await client.post("/tasks", json=NEW | {"function_name": "static"})
        assert created.status_code == 200, created.text
        assert (await client.post("/tasks", content=b" " * (LIMIT + 1), headers=headers)).status_code == 413


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "sent_as", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", None]
)
async def test_a_body_without_the_content_type_json_is_415_and_changes_nothing(
    method: str, sent_as: str | None
) -> None:
    headers = TOKEN | ({} if sent_as is None else {"Content-Type": sent_as})
    paths = {"POST": ["/tasks", "/tasks/trigger", "/tasks/disable", "/tasks/cancel"], "PUT": ["/tasks/g/static"]}
    async with serving(application()) as client:
        for path in paths[method]:
            response = await client.request(method, path, content=json.dumps(NEW), headers=headers)
            assert (response.status_code, response.json()["field"]) == (415, None)
        (task,) = await answer(client, "GET", "/tasks", headers=TOKEN)
        assert (task["name"], task["is_active"]) == ("static", True)


async def test_a_compressed_body_is_415_with_the_reason() -> None:
    async with serving(application()) as client:
        headers = TOKEN | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        response = await client.post("/tasks", content=gzip.compress(json.dumps(NEW).encode()), headers=headers)
        assert (response.status_code, "Content-Encoding" in response.json()["detail"]) == (415, True)
        headers = TOKEN | {"Content-Type": "application/json", "Content-Encoding": "identity"}
        assert (await client.post("/tasks", content=json.dumps(NEW), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [("POST", "/tasks/trigger", "Idempotency-Key"), ("PUT", "/tasks/g/static", "If-Match")],
)
async def test_a_header_that_decides_about_an_action_is_given_once(method: str, path: str, name: str) -> None:
    async with serving(application()) as client:
        headers = [*TOKEN.items(), ("Content-Type", "application/json"), (name, '"1"'), (name, '"2"')]
        response = await client.request(method, path, content=json.dumps(NEW), headers=headers)
        assert (response.status_code, response.json()["detail"]) == (400, f"{name} must be given once")


@pytest.mark.parametrize("sent_as", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"])
async def test_every_content_type_of_json_is_accepted(sent_as: str) -> None:
    async with serving(application()) as client:
        response = await client.post("/tasks", content=json.dumps(NEW), headers=TOKEN | {"Content-Type": sent_as})
        assert response.status_code == 200, response.text


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Length": "0"}])
async def test_an_action_without_a_body_needs_no_content_type(headers: dict[str, str]) -> None:
    async with serving(application()) as client:
        for path in ("/tasks/disable", "/tasks/trigger"):
            assert (await client.post(path, headers=TOKEN | headers)).status_code == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"tags": [1] * 60_000}, "tags"),
        ({"cron_expression": [1] * 60_000}, "cron_expression"),
        ({"run_at": [""] * 60_000}, "run_at"),
        ({"retry_on": [1] * 60_000}, "retry_on"),
        ({"no_retry_on": [1] * 60_000}, "no_retry_on"),
        ({f"{number:x}": 0 for number in range(20_000)}, "unknown"),
    ],
)
async def test_a_list_that_is_too_long_is_refused_before_its_items_are_validated(body: Any, named: str) -> None:
    async with serving(application()) as client:
        for method, path in (("POST", "/tasks"), ("PUT", "/tasks/g/static")):
            response = await client.request(method, path, json=body, headers=TOKEN)
            assert response.status_code in {400, 422}, response.text
            assert named in response.text
            assert len(response.text) < 1000


@pytest.mark.parametrize("model", [CreateDynamicTaskRequest, ChangeDynamicTaskRequest, TriggerRequest])
def test_the_openapi_document_describes_each_body_without_references(model: type[Any]) -> None:
    """The document does not contain a model that only a body uses, so a reference to it would be broken."""
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]
        for operations in application().openapi()["paths"].values()
        for operation in operations.values()
        if "requestBody" in operation
    ]
    found, *others = [body for body in bodies if body["title"] == model.__name__]  # PATCH and PUT share theirs.
    assert all(other == found for other in others)
    assert found["properties"].keys() == model.model_fields.keys()
    assert "$ref" not in json.dumps(bodies)
