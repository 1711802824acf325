"""The REST routes that read and act: fields, filters and statuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from fastapi.security import APIKeyQuery
from pydantic import BaseModel

from fastapi_task_manager import RunContext, TaskGroup, TaskManager
from task_manager_core.application.control import Control, Triggered
from task_manager_core.ports import REPEAT_MEMORY, REQUEST_MEMORY
from tests.adapters.fastapi.application import answer, build, client_of, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore
from tests.waiting import wait_until_async

TASK_FIELDS = (
    *("task_group_name", "name", "description", "tags", "expression", "high_priority", "retry_backoff"),
    *("retry_backoff_max", "dynamic", "allow_parallel", "kwargs", "function_name", "next_run", "is_active"),
    *("is_running", "retry_after", "retry_delay"),
)


@dataclass
class Scene:
    """A running application. Its tasks run only when a test triggers them."""

    app: FastAPI
    client: httpx.AsyncClient
    manager: TaskManager
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def get(self, path: str, **params: Any) -> Any:
        return await answer(self.client, "GET", path, params=params)

    async def task(self, name: str) -> Any:
        (found,) = await self.get("/tasks", name=name)
        return found

    async def runs(self, group: str, name: str) -> list[dict[str, Any]]:
        return list((await self.get(f"/tasks/{group}/{name}/statistics"))["runs"])


@pytest.fixture
async def scene() -> AsyncGenerator[Scene]:
    calls: list[tuple[str, dict[str, Any]]] = []
    reports = TaskGroup("Reports", tags=["reports"])
    upkeep = TaskGroup("Upkeep", allow_parallel=False)

    @reports.add_task("0 0 1 1 *", tags=["yearly"], description="d", high_priority=True, kwargs={"recipient": "a"})
    async def send(recipient: str) -> None:
        calls.append(("send", {"recipient": recipient}))

    @upkeep.add_task("0 0 1 1 *", tags=["yearly", "db"], retry_backoff=30, retry_backoff_max=90)
    async def fail() -> None:
        calls.append(("fail", {}))
        raise ValueError("no luck: \u00e9")

    @upkeep.add_task("0 0 2 1 *", name="long")
    async def sleep() -> None:
        calls.append(("long", {}))
        await asyncio.Event().wait()

    app, manager = build(reports, upkeep, shutdown_timeout=0)
    async with serving(app) as client:
        yield Scene(app, client, manager, calls)


async def test_tasks_have_the_documented_fields(scene: Scene) -> None:
    task = await scene.task("send")
    assert [name for name in TASK_FIELDS if name not in task] == []
    assert task["next_run"].endswith("-01-01T00:00:00Z")
    assert {name: task[name] for name in TASK_FIELDS if name != "next_run"} == {
        "task_group_name": "Reports",
        "name": "send",
        "description": "d",
        "tags": ["reports", "yearly"],
        "expression": "0 0 1 1 *",
        "high_priority": True,
        "retry_backoff": 0.05,
        "retry_backoff_max": 60.0,
        "dynamic": False,
        "allow_parallel": True,
        "kwargs": {"recipient": "a"},
        "function_name": "send",
        "is_active": True,
        "is_running": False,
        "retry_after": None,
        "retry_delay": None,
    }
    assert (await scene.task("fail"))["allow_parallel"] is False


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["send", "fail", "long"]),
        ({"task_group_name": "Upkeep"}, ["fail", "long"]),
        ({"name": "send"}, ["send"]),
        ({"tag": "yearly"}, ["send", "fail"]),
        ({"tag": "yearly", "task_group_name": "Upkeep"}, ["fail"]),
        ({"tag": "db", "name": "send"}, []),
        ({"tag": ""}, []),
        ({"name": "\0"}, []),
    ],
)
async def test_filters_combine(scene: Scene, filters: dict[str, str], names: list[str]) -> None:
    assert [task["name"] for task in await scene.get("/tasks", **filters)] == names


async def test_groups_and_functions_are_listed(scene: Scene) -> None:
    assert await scene.get("/task-groups") == [
        {"name": "Reports", "tags": ["reports"], "allow_parallel": None, "task_count": 1},
        {"name": "Upkeep", "tags": [], "allow_parallel": False, "task_count": 2},
    ]
    assert [group["name"] for group in await scene.get("/task-groups", tag="reports")] == ["Reports"]
    assert await scene.get("/task-groups", tag="") == []
    for filters in ({"tag": "reports"}, {"name": "send"}, {"task_group_name": "Reports"}):
        assert (await scene.get("/functions", **filters))["count"] == 1
    assert (await scene.get("/functions", tag=""))["count"] == 0
    functions = await scene.get("/functions", task_group_name="Upkeep")
    assert functions == {
        "functions": [
            {"task_group_name": "Upkeep", "function_name": "fail"},
            {"task_group_name": "Upkeep", "function_name": "long"},
        ],
        "count": 2,
    }


async def test_disable_and_enable_change_is_active_and_name_what_they_changed(scene: Scene) -> None:
    disabled = await answer(scene.client, "POST", "/tasks/disable", params={"tag": "yearly"})
    assert disabled == {
        "affected_tasks": [{"task_group": "Reports", "task": "send"}, {"task_group": "Upkeep", "task": "fail"}],
        "count": 2,
    }
    assert [task["is_active"] for task in await scene.get("/tasks")] == [False, False, True]
    await answer(scene.client, "POST", "/tasks/enable", params={"task_name": "send"})
    assert [task["is_active"] for task in await scene.get("/tasks")] == [True, False, True]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/tasks/disable"),
        ("POST", "/tasks/enable"),
        ("POST", "/tasks/trigger"),
        ("POST", "/tasks/reset-retry"),
        ("POST", "/tasks/cancel"),
        ("DELETE", "/tasks/statistics"),
    ],
)
async def test_an_action_that_matches_nothing_is_404(scene: Scene, method: str, path: str) -> None:
    for filters in ({"task_name": "missing"}, {"tag": "nowhere"}, {"task_name": "send", "task_group_name": "Upkeep"}):
        response = await scene.client.request(method, path, params=filters)
        assert response.status_code == 404
        shown = ", ".join(f"{name}={value!r}" for name, value in sorted(filters.items()))
        assert response.json()["detail"] == f"task not found: none matches {shown}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tasks?task_name=send"),
        ("POST", "/tasks/disable?name=send"),
        ("POST", "/tasks/enable?task_group=Reports"),
        ("POST", "/tasks/trigger?task_name=send&Tag=x"),
        ("POST", "/tasks/reset-retry?run_id=x"),
        ("POST", "/tasks/cancel?group=Reports"),
        ("DELETE", "/tasks/statistics?name=send&limit=5"),
    ],
)
async def test_a_filter_that_the_route_does_not_have_is_422_and_changes_nothing(
    scene: Scene, method: str, path: str
) -> None:
    response = await scene.client.request(method, path)
    assert response.status_code == 422
    problem = response.json()["detail"][0]
    assert problem["loc"] == ["query", path.replace("&", "?").split("?")[-1 if "trigger" in path else 1].split("=")[0]]
    assert "tag, task_group_name" in problem["msg"]
    assert all(task["is_active"] for task in await scene.get("/tasks"))
    assert scene.calls == []


@pytest.mark.parametrize(
    "filters", ["task_name=send&task_name=x", "tag=a&tag=b", "task_group_name=a&task_group_name=a"]
)
async def test_a_filter_that_is_given_twice_is_422_and_changes_nothing(scene: Scene, filters: str) -> None:
    response = await scene.client.post(f"/tasks/disable?{filters}")
    assert (response.status_code, response.json()["detail"][0]["msg"]) == (422, "Given more than once")
    assert all(task["is_active"] for task in await scene.get("/tasks"))


async def test_every_route_but_health_and_config_refuses_parameters_that_it_does_not_read(scene: Scene) -> None:
    """The test also covers routes that are added later. Of two values FastAPI would take the last one."""
    paths = scene.app.openapi()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            url = f"http://test{path.format(task_group_name='Upkeep', task_name='fail', run_id='r')}"
            own = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
            response = await scene.client.request(method, f"{url}?unknown=1")
            if path.endswith(("/health", "/config")):
                assert response.status_code == 200, (method, path)
                continue
            assert response.status_code == 422, (method, path, response.text)
            assert response.json()["detail"][0]["loc"] == ["query", "unknown"]
            for name in own:
                response = await scene.client.request(method, f"{url}?{name}=1&{name}=1")
                assert response.status_code == 422, (method, path, name, response.text)
                assert response.json()["detail"][0]["msg"] == "Given more than once"
    assert {task["name"] for task in await scene.get("/tasks")} == {"send", "fail", "long"}


async def test_a_removal_that_names_two_tasks_removes_none(scene: Scene) -> None:
    for name in ("a", "b"):
        body = {"task_group_name": "Upkeep", "function_name": "fail", "name": name, "cron_expression": "0 0 1 1 *"}
        await answer(scene.client, "POST", "/tasks", json=body)
    for filters in ("task_name=a&task_name=b", "task_name=b&tag=nope"):
        response = await scene.client.delete(f"/tasks?task_group_name=Upkeep&{filters}")
        assert response.status_code == 422
    assert {"a", "b"} <= {task["name"] for task in await scene.get("/tasks")}


class Credentials(BaseModel):
    """FastAPI reads this model from the query."""

    token: str
    tenant: str = "x"


async def test_a_parameter_of_a_dependency_of_the_application_is_accepted() -> None:
    def check_one(credentials: Annotated[Credentials, Query()]) -> None:
        if (credentials.token, credentials.tenant) != ("t", "y"):
            raise HTTPException(401, "who are you?")

    def check_two(
        trace: Annotated[list[str], Query(alias="trace-id")], key: str = Depends(APIKeyQuery(name="api_key"))
    ) -> None:
        if (trace, key) != (["1", "2"], "k"):
            raise HTTPException(401, "who are you?")

    app, _ = build(TaskGroup("g"), dependencies=[Depends(check_one), Depends(check_two)])
    said = "token=t&tenant=y&trace-id=1&trace-id=2&api_key=k"
    async with serving(app) as client:
        assert (await client.get(f"/tasks?{said}")).status_code == 200
        assert (await client.post(f"/tasks/disable?{said}")).json()["detail"] == "task not found: there is none"
        assert (await client.post(f"/tasks/disable?{said}&name=n")).status_code == 422


async def test_trigger_runs_the_task_now_and_its_statistics_show_the_outcome(scene: Scene) -> None:
    triggered = await answer(scene.client, "POST", "/tasks/trigger", params={"task_name": "send"})
    assert (triggered["affected_tasks"], triggered["count"]) == ([{"task_group": "Reports", "task": "send"}], 1)
    await wait_until_async(lambda: scene.runs("Reports", "send"), "a run is recorded")
    (run,) = await scene.runs("Reports", "send")
    assert run["run_id"] == triggered["runs"][0]["run_id"]
    assert (run["status"], run["attempt"], run["slot"], run["error_type"]) == ("succeeded", 1, None, None)
    assert run["durations_second"] >= 0
    assert run["run_date"].endswith("Z")
    assert run["worker"] == (await scene.get("/health"))["worker_id"]


async def test_trigger_takes_arguments_for_one_run(scene: Scene) -> None:
    body = {"kwargs": {"recipient": "b"}}
    await answer(scene.client, "POST", "/tasks/trigger", params={"task_name": "send"}, json=body)
    await wait_until_async(lambda: scene.calls, "the run")
    assert scene.calls == [("send", {"recipient": "b"})]
    assert (await scene.task("send"))["kwargs"] == {"recipient": "a"}
    refused = await scene.client.post(
        "/tasks/trigger", params={"task_name": "send"}, json={"kwargs": {"recipent": "b"}}
    )
    assert (refused.status_code, refused.json()["field"]) == (400, "kwargs")


async def test_the_store_remembers_a_request_without_a_key_for_minutes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    retentions: list[timedelta] = []
    trigger = Control.trigger

    async def seen(*arguments: Any) -> tuple[Triggered, ...]:
        retentions.append(arguments[-1])
        return await trigger(*arguments)

    monkeypatch.setattr(Control, "trigger", seen)
    for headers in ({}, {"Idempotency-Key": "order 8"}):
        await answer(scene.client, "POST", "/tasks/trigger", params={"task_name": "send"}, headers=headers)
    assert retentions == [REPEAT_MEMORY, REQUEST_MEMORY]


async def test_the_same_idempotency_key_is_the_same_run(scene: Scene) -> None:
    first, second = [
        await answer(
            scene.client,
            "POST",
            "/tasks/trigger",
            params={"task_name": "send"},
            headers={"Idempotency-Key": "order 7"},
        )
        for _ in range(2)
    ]
    assert first["runs"][0]["run_id"] == second["runs"][0]["run_id"]
    assert [first["runs"][0]["result"], second["runs"][0]["result"]] == ["queued", "duplicate"]
    await wait_until_async(lambda: scene.runs("Reports", "send"), "the run")
    assert len(scene.calls) == 1


async def test_the_same_idempotency_key_with_other_arguments_is_refused(scene: Scene) -> None:
    def ask(recipient: str | None) -> Any:
        body = None if recipient is None else {"kwargs": {"recipient": recipient}}
        headers = {"Idempotency-Key": "order 7"}
        return scene.client.post("/tasks/trigger", params={"task_name": "send"}, json=body, headers=headers)

    assert (await ask("b")).status_code == 200
    for recipient in ("c", None):
        refused = await ask(recipient)
        assert refused.status_code == 409
        assert refused.json() == {
            "detail": "request 'order 7' was made before with other arguments, for Reports/send",
            "field": None,
        }
    assert (await ask("b")).json()["runs"][0]["result"] == "duplicate"
    await wait_until_async(lambda: scene.runs("Reports", "send"), "the run")
    assert scene.calls == [("send", {"recipient": "b"})]


async def test_a_failure_leaves_its_traceback_and_a_backoff_that_reset_retry_ends(scene: Scene) -> None:
    await answer(scene.client, "POST", "/tasks/trigger", params={"task_name": "fail"})
    await wait_until_async(lambda: scene.runs("Upkeep", "fail"), "the failure is recorded")
    (run,) = await scene.runs("Upkeep", "fail")
    assert (run["status"], run["error_type"], run["error_message"]) == ("retried", "ValueError", "no luck: \u00e9")
    assert 'raise ValueError("no luck' in run["error_traceback"]
    task = await scene.task("fail")
    assert task["retry_delay"] == 30.0
    assert task["retry_after"].endswith("Z")
    await answer(scene.client, "POST", "/tasks/reset-retry", params={"task_name": "fail"})
    await wait_until_async(lambda: _length(scene.runs("Upkeep", "fail"), 2), "the retry has run")
    assert [run["attempt"] for run in await scene.runs("Upkeep", "fail")] == [2, 1]
    assert (await scene.task("fail"))["retry_delay"] == 60.0
    await answer(scene.client, "DELETE", "/tasks/statistics", params={"task_name": "fail"})
    assert await scene.runs("Upkeep", "fail") == []


async def _length(items: Any, length: int) -> bool:
    return len(await items) == length


async def test_cancel_interrupts_a_live_run(scene: Scene) -> None:
    await answer(scene.client, "POST", "/tasks/trigger", params={"task_name": "long"})
    await wait_until_async(lambda: scene.calls, "it runs")
    assert (await scene.task("long"))["is_running"] is True
    wrong = await scene.client.post("/tasks/cancel", params={"task_name": "long", "run_id": "missing"})
    assert wrong.json()["detail"] == "live run not found: none matches run_id='missing', task_name='long'"
    assert wrong.status_code == 404
    cancelled = await answer(scene.client, "POST", "/tasks/cancel", params={"task_name": "long"})
    assert (cancelled["count"], cancelled["runs"][0]["result"]) == (1, "requested")
    await wait_until_async(lambda: scene.runs("Upkeep", "long"), "the run has ended")
    assert (await scene.runs("Upkeep", "long"))[0]["status"] == "cancelled"
    assert (await answer(scene.client, "POST", "/tasks/cancel", params={"task_name": "long"}))["count"] == 0


async def test_the_statistics_of_an_unknown_task_are_404(scene: Scene) -> None:
    for path in ("Reports/missing", "missing/send", "Reports/" + "x" * 300, "Reports/%00", "a/b/c"):
        assert (await scene.client.get(f"/tasks/{path}/statistics")).status_code == 404, path


async def test_upcoming_slots_of_a_task(scene: Scene) -> None:
    answered = await scene.get("/tasks/Reports/send/upcoming", count=2)
    assert [slot["utc"][4:] for slot in answered["upcoming"]] == ["-01-01T00:00:00Z"] * 2
    assert answered["upcoming"][0]["note"] is None
    assert (await scene.client.get("/tasks/Reports/missing/upcoming")).status_code == 404
    assert (await scene.client.get("/tasks/Reports/send/upcoming", params={"count": 0})).status_code == 422


async def test_a_preview_shows_what_daylight_saving_does(scene: Scene) -> None:
    body = {
        "cron_expression": "30 2 * * *",
        "timezone": "Europe/Rome",
        "start": "2026-03-28T12:00:00Z",
        "count": 2,
    }
    first, second = (await answer(scene.client, "POST", "/schedules/preview", json=body))["upcoming"]
    assert first == {
        "utc": "2026-03-29T01:00:00Z",
        "local": "2026-03-29T03:00:00+02:00",
        "note": "02:30 does not exist on this day in Europe/Rome: shifted to 03:00",
    }
    assert second["note"] is None
    skipped = await answer(scene.client, "POST", "/schedules/preview", json=body | {"gap": "skip"})
    assert skipped["upcoming"][0]["utc"] == "2026-03-30T00:30:00Z"


@pytest.mark.parametrize("name", ["a/b", "a b", "100%", "ü", "a?b", "..", "a_b:c{d}", "x/statistics", "%2F"])
async def test_names_may_contain_any_character(name: str) -> None:
    group = TaskGroup(name)
    group.add_task("0 0 1 1 *", name=name)(lambda: None)
    app, _ = build(group)
    async with serving(app) as client:
        encoded = quote(name, safe="") if name != ".." else "%2E%2E"
        for what in ("statistics", "upcoming"):
            path = f"http://test/task-manager/tasks/{encoded}/{encoded}/{what}"
            assert (await client.get(path)).status_code == 200, path
        assert (await client.post("/tasks/disable", params={"task_name": name})).status_code == 200


async def test_dependencies_protect_every_route() -> None:
    def check(x_token: str = Header("")) -> None:
        if x_token != "right":
            raise HTTPException(401, "who are you?")

    app, _ = build(TaskGroup("g"), dependencies=[Depends(check)])
    async with serving(app) as client:
        schema = app.openapi()
        for path, operations in schema["paths"].items():
            for method in operations:
                response = await client.request(method, f"http://test{path}")
                assert response.status_code in {401, 422}, (method, path)
        assert (await client.get("/tasks", headers={"X-Token": "right"})).status_code == 200


async def test_without_a_running_manager_every_route_of_the_store_is_503() -> None:
    app, _ = build(TaskGroup("g"))
    async with client_of(app) as client:
        for path in ("/config", "/task-groups", "/functions"):
            assert (await client.get(path)).status_code == 200
        for method, path in (
            ("GET", "/tasks"),
            ("GET", "/tasks/g/n/statistics"),
            ("GET", "/tasks/g/n/upcoming"),
            ("POST", "/tasks/disable"),
            ("POST", "/tasks/trigger"),
            ("DELETE", "/tasks/statistics"),
            ("DELETE", "/tasks?task_group_name=g&task_name=n"),
        ):
            response = await client.request(method, path)
            assert response.status_code == 503, path
            assert "not running" in response.json()["detail"]


async def test_a_task_may_ask_for_its_context() -> None:
    seen: list[RunContext] = []
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", name="n")
    async def job(context: RunContext) -> None:
        seen.append(context)

    app, manager = build(group)
    async with serving(app) as client:
        triggered = await answer(client, "POST", "/tasks/trigger", params={"task_name": "n"})
        await wait_until_async(lambda: seen, "it runs")
        assert seen[0].run_id == triggered["runs"][0]["run_id"]
        assert seen[0].worker == (await manager.health_check()).worker_id


async def test_before_the_definitions_have_been_read_every_question_about_a_task_is_503() -> None:
    """The store has been unreachable since the start, so the process does not know whether a task exists."""
    store = SwitchedStore(Link.DOWN)
    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="t")(lambda: None)
    app, manager = build(group, backend=store.open)
    async with serving(app) as client:
        requests = [
            ("GET", "/tasks", None),
            ("GET", "/tasks/g/t/statistics", None),
            ("GET", "/tasks/g/t/explain", None),
            ("GET", "/tasks/g/t/upcoming", None),
            ("POST", "/tasks/disable", None),
            ("POST", "/tasks/enable", None),
            ("POST", "/tasks/trigger", None),
            ("POST", "/tasks/cancel", None),
            ("POST", "/tasks/reset-retry", None),
            ("DELETE", "/tasks/statistics", None),
            ("PUT", "/tasks/g/t", {"interval": 60}),
            ("DELETE", "/tasks?task_group_name=g&task_name=t", None),
        ]
        for method, path, body in requests:
            response = await client.request(method, path, json=body)
            assert (response.status_code, method, path) == (503, method, path), response.text
            assert "the store is not available" in response.json()["detail"]
        store.link = Link.UP
        await wait_until_async(manager.is_healthy, "the definitions are read and written")
        assert (await client.get("/tasks/g/t/upcoming")).status_code == 200
        assert (await client.get("/tasks/g/other/upcoming")).status_code == 404
