"""The log of actions: which caller changed which tasks, and which callers the application refused."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request

from fastapi_task_manager import TaskGroup
from fastapi_task_manager.api.action_log import LONGEST_PART, TASKS_NAMED
from tests.adapters.fastapi.application import build, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore

BODY = {"task_group_name": "g", "function_name": "work", "name": "n", "cron_expression": "0 0 1 1 *"}


def _check(request: Request, x_user: Annotated[str, Header()] = "alice") -> None:
    if x_user in {"mallory", "eve"}:
        raise HTTPException(401 if x_user == "mallory" else 403, {"reason": "a secret of the application"})
    if x_user != "anonymous":
        request.state.task_manager_caller = x_user


@asynccontextmanager
async def _served(tasks: int = 1, **settings: Any) -> AsyncGenerator[httpx.AsyncClient]:
    group = TaskGroup("g")
    for number in range(tasks):
        group.add_task("0 0 1 1 *", name=f"t{number:02}", register=False)(lambda: None)
    group.register_function("work")(lambda: None)
    app, _ = build(group, dependencies=[Depends(_check)], **settings)
    async with serving(app) as client:
        yield client


@pytest.fixture
def log_lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    caplog.set_level(logging.INFO, "fastapi.task-manager.api")

    def take() -> list[tuple[str, str]]:
        lines = [
            (one.levelname, one.getMessage().replace("/task-manager/tasks", ""))
            for one in caplog.records
            if one.name == "fastapi.task-manager.api"
        ]
        caplog.clear()
        return lines

    return take


@pytest.mark.parametrize(
    ("method", "path", "body", "line"),
    [
        ("POST", "/disable?task_name=t00", None, "POST /disable by alice (127.0.0.1): 200, 1 tasks: g/t00"),
        (
            "POST",
            "/enable?tag=x",
            None,
            "POST /enable by alice (127.0.0.1): 404, 0 tasks; task not found: none matches tag='x'",
        ),
        ("POST", "/trigger", None, "POST /trigger by alice (127.0.0.1): 200, 2 tasks: g/t00, g/t01"),
        ("POST", "/cancel", None, "POST /cancel by alice (127.0.0.1): 200, 0 tasks"),
        ("POST", "/reset-retry", None, "POST /reset-retry by alice (127.0.0.1): 200, 2 tasks: g/t00, g/t01"),
        ("DELETE", "/statistics?task_name=t01", None, "DELETE /statistics by alice (127.0.0.1): 200, 1 tasks: g/t01"),
        ("POST", "", BODY, "POST  by alice (127.0.0.1): 200, 1 tasks: g/n"),
        (
            "POST",
            "",
            BODY | {"name": "t00"},
            ("POST  by alice (127.0.0.1): 409, 1 tasks: g/t00; name: a task of this name already exists in group 'g'"),
        ),
        (
            "POST",
            "",
            BODY | {"kwargs": {"x": "secret"}},
            (
                "POST  by alice (127.0.0.1): 400, 1 tasks: g/n; "
                "kwargs: <lambda>() does not accept them: got an unexpected keyword argument 'x'"
            ),
        ),
        (
            "POST",
            "",
            {"kwargs": "secret"},
            (
                "POST  by alice (127.0.0.1): 422, 0 tasks; cannot read body.kwargs (dict_type), "
                "body.task_group_name (missing), body.function_name (missing)"
            ),
        ),
        (
            "PUT",
            "/g/missing",
            {},
            "PUT /g/missing by alice (127.0.0.1): 404, 1 tasks: g/missing; task 'missing' not found in group 'g'",
        ),
        (
            "DELETE",
            "?task_group_name=g&task_name=t00",
            None,
            (
                "DELETE  by alice (127.0.0.1): 400, 1 tasks: g/t00; "
                "task 't00' of group 'g' is static and cannot be removed"
            ),
        ),
        (
            "POST",
            "/disable?nope=1",
            None,
            "POST /disable by alice (127.0.0.1): 422, 0 tasks; cannot read query.nope (extra_forbidden)",
        ),
    ],
)
async def test_the_log_line_of_an_action_names_its_caller_its_status_and_its_tasks(
    method: str, path: str, body: Any, line: str, log_lines: Callable[[], list[tuple[str, str]]]
) -> None:
    async with _served(tasks=2) as client:
        await client.request(method, f"/tasks{path}", json=body)
        assert log_lines() == [("INFO", line)]


async def test_a_request_that_only_reads_is_not_logged_as_an_action(
    log_lines: Callable[[], list[tuple[str, str]]],
) -> None:
    async with _served() as client:
        for path in ("/tasks", "/tasks/g/t00/statistics", "/tasks/g/missing/upcoming", "/functions"):
            await client.get(path)
        await client.post("/schedules/preview", json={"cron_expression": "* * * * *"})
        assert log_lines() == []


async def test_a_log_line_about_many_tasks_names_the_first_and_counts_all(
    log_lines: Callable[[], list[tuple[str, str]]],
) -> None:
    async with _served(tasks=TASKS_NAMED + 15) as client:
        await client.post("/tasks/disable")
        [(_, line)] = log_lines()
        assert line.endswith(
            f"200, {TASKS_NAMED + 15} tasks: {', '.join(f'g/t{n:02}' for n in range(TASKS_NAMED))} and 15 more"
        )


async def test_a_request_from_a_page_of_another_site_is_logged_with_its_origin(
    log_lines: Callable[[], list[tuple[str, str]]],
) -> None:
    async with _served() as client:
        await client.post("/tasks/disable", headers={"Origin": "https://evil.example"})
        [(_, line)] = log_lines()
        assert line.startswith("POST /disable by 127.0.0.1: 403, 0 tasks; https://evil.example may not act here")


@pytest.mark.parametrize(("user", "status"), [("mallory", 401), ("eve", 403)])
@pytest.mark.parametrize(("method", "path"), [("GET", "/tasks"), ("POST", "/tasks/disable"), ("DELETE", "/tasks")])
async def test_a_request_that_the_application_refuses_is_logged_on_every_route(
    user: str, status: int, method: str, path: str, log_lines: Callable[[], list[tuple[str, str]]]
) -> None:
    async with _served() as client:
        response = await client.request(method, path, headers={"X-User": user})
        assert response.status_code == status
        path = path.removeprefix("/tasks")
        assert log_lines() == [("WARNING", f"{method} {path} by 127.0.0.1: refused with {status}")]


@pytest.mark.parametrize("attached", ["application", "include_router"])
async def test_a_refusal_by_a_dependency_is_logged_wherever_the_dependency_is_attached(
    attached: str, log_lines: Callable[[], list[tuple[str, str]]]
) -> None:
    def deny() -> None:
        raise HTTPException(403)

    outside = [Depends(deny)]
    app = FastAPI(dependencies=outside if attached == "application" else None)
    _, manager = build(TaskGroup("g"))
    app.include_router(
        manager.get_manager_router(),
        prefix="/task-manager",
        dependencies=outside if attached == "include_router" else None,
    )
    async with serving(app) as client:
        await client.post("/tasks/disable")
        assert log_lines() == [("WARNING", "POST /disable by 127.0.0.1: refused with 403")]


async def test_the_log_line_of_an_action_with_unknown_outcome_names_its_tasks(
    log_lines: Callable[[], list[tuple[str, str]]],
) -> None:
    store = SwitchedStore()
    async with _served(backend=store.open) as client:
        store.link = Link.DOWN
        await client.post("/tasks/disable")
        store.link = Link.UP
        [(_, line)] = [one for one in log_lines() if "disable" in one[1]]
        assert line.startswith("POST /disable by alice (127.0.0.1): 503, 1 tasks: g/t00; the store is not available")


async def test_text_of_a_caller_starts_no_new_log_line_and_is_shortened(
    log_lines: Callable[[], list[tuple[str, str]]],
) -> None:
    async with _served() as client:
        await client.post(
            "/tasks/disable", params={"task_name": "x\ny" * 1000}, headers={b"X-User": b"a\x85" + b"b" * 5000}
        )
        await client.put(f"/tasks/g/{'%0A' * 1000}", json={})
        for _, line in log_lines():
            assert line.isprintable()
            assert len(line) < 4 * LONGEST_PART
