"""Dynamic tasks: the API and code add, change and remove them, and every process sees the result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI

from fastapi_task_manager import TaskGroup, TaskManager
from fastapi_task_manager.container import SystemClock
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.task import DEEPEST_KWARGS
from task_manager_core.ports import OpenBackend
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import QUICK, answer, build, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore
from tests.waiting import wait_until_async

BODY = {"task_group_name": "g", "function_name": "greet", "cron_expression": "0 0 1 1 *", "name": "n"}


def _group(calls: list[str] | None = None) -> TaskGroup:
    group = TaskGroup("g", tags=["all"])

    @group.register_function()
    async def greet(recipient: str = "world") -> None:
        if calls is not None:
            calls.append(recipient)

    @group.add_task("0 0 1 1 *", register=False)
    async def static() -> None:
        """Declared by code."""

    return group


@asynccontextmanager
async def _process(
    backend: OpenBackend | None = None, calls: list[str] | None = None
) -> AsyncGenerator[tuple[httpx.AsyncClient, TaskManager, TaskGroup]]:
    group = _group(calls)
    app, manager = build(group, backend=backend)
    async with serving(app) as client:
        yield client, manager, group


async def _names(client: httpx.AsyncClient) -> list[str]:
    return [task["name"] for task in await answer(client, "GET", "/tasks", params={"task_group_name": "g"})]


async def test_post_creates_a_task_that_runs_and_delete_removes_it_with_all_its_state() -> None:
    calls: list[str] = []
    async with _process(calls=calls) as (client, _, group):
        created = await answer(
            client, "POST", "/tasks", json=BODY | {"cron_expression": "* * * * * *", "kwargs": {"recipient": "x"}}
        )
        assert created == {
            "task_group_name": "g",
            "task_name": "n",
            "function_name": "greet",
            "cron_expression": "* * * * * *",
            "kwargs": {"recipient": "x"},
            "dynamic": True,
        }
        assert await _names(client) == ["n", "static"]
        assert [task.name for task in group.tasks] == ["static", "n"]
        await wait_until_async(lambda: calls, "it runs")
        assert set(calls) == {"x"}
        removed = await answer(client, "DELETE", "/tasks", params={"task_group_name": "g", "task_name": "n"})
        assert removed == created
        assert await _names(client) == ["static"]
        assert [task.name for task in group.tasks] == ["static"]
        assert (await client.get("/tasks/g/n/statistics")).status_code == 404


async def test_every_process_knows_every_task_within_a_poll_and_any_of_them_removes_it() -> None:
    store = MemoryStore()
    async with _process(store.open) as (client, _, _), _process(store.open) as (other, _, other_group):
        await answer(client, "POST", "/tasks", json=BODY)
        await wait_until_async(lambda: _knows(other), "the other process lists it")
        assert "n" in [task.name for task in other_group.tasks]
        assert (await other.post("/tasks", json=BODY)).status_code == 409
        await answer(other, "DELETE", "/tasks", params={"task_group_name": "g", "task_name": "n"})
        await wait_until_async(lambda: _knows(client, known=False), "removed in every process")


async def _knows(client: httpx.AsyncClient, *, known: bool = True) -> bool:
    return ("n" in await _names(client)) is known


async def test_dynamic_tasks_survive_a_restart_of_every_process() -> None:
    store = MemoryStore()
    async with _process(store.open) as (client, manager, _):
        await answer(client, "POST", "/tasks", json=BODY)
        await manager.add_dynamic_task("g", "greet", "0 0 1 1 *", name="from code", tags=["own"])
    async with _process(store.open) as (client, _, group):
        assert await _names(client) == ["from code", "n", "static"]
        listed = {task.name: task for task in group.tasks}["from code"]
        assert (listed.tags, listed.function_name, listed.dynamic) == (["all", "own"], "greet", True)
        assert listed.function is group.function_registry["greet"]


async def test_the_synchronous_calls_reach_the_store_of_a_running_manager() -> None:
    async with _process() as (client, manager, group):
        group.add_dynamic_task("greet", "0 0 1 1 *", name="n")
        await wait_until_async(lambda: _knows(client), "written")
        group.remove_dynamic_task("n")
        await wait_until_async(lambda: _knows(client, known=False), "removed")
        group.add_task("0 0 1 1 *", name="late")(lambda: None)
        late = TaskGroup("late group")
        late.add_task("0 0 1 1 *", name="t")(lambda: None)
        manager.add_task_group(late)
        await wait_until_async(lambda: _has(client, {"late", "t"}), "tasks of code added while running")


async def test_an_awaited_call_sees_the_effect_of_a_synchronous_call_just_before_it() -> None:
    async with _process() as (client, manager, group):
        group.add_dynamic_task("greet", "0 0 1 1 *", name="n")
        await manager.change_dynamic_task("g", "n", cron_expression="0 0 2 2 *")
        (task,) = await answer(client, "GET", "/tasks", params={"name": "n"})
        assert task["expression"] == "0 0 2 2 *"
        group.remove_dynamic_task("n")
        await manager.add_dynamic_task("g", "greet", "0 0 3 3 *", name="n")
        (task,) = await answer(client, "GET", "/tasks", params={"name": "n"})
        assert task["expression"] == "0 0 3 3 *"
        await manager.remove_dynamic_task("g", "n")
        group.add_dynamic_task("greet", "0 0 1 1 *", name="n")
        await manager.remove_dynamic_task("g", "n")
        assert await _names(client) == ["static"]
        assert [one.name for one in group.tasks] == ["static"]


async def test_of_two_requests_for_one_name_the_second_is_refused() -> None:
    async with _process() as (client, _, _):
        answers = await asyncio.gather(*(client.post("/tasks", json=BODY) for _ in range(5)))
        assert sorted(response.status_code for response in answers) == [200, 409, 409, 409, 409]


async def test_a_task_that_code_adds_at_every_start_keeps_later_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()

    def application() -> tuple[FastAPI, TaskGroup]:
        group = _group()
        group.add_dynamic_task("greet", "0 6 1 1 *", name="n")
        return build(group, backend=store.open)[0], group

    app, group = application()
    async with serving(app) as client:
        await wait_until_async(lambda: _knows(client), "written")
        await answer(client, "PUT", "/tasks/g/n", json={"cron_expression": "0 7 1 1 *"})
    async with serving(app) as client:
        await wait_until_async(lambda: _listed(group, "0 7 1 1 *"), "the manager started again lists what is stored")
    app, group = application()
    caplog.clear()
    with caplog.at_level("WARNING", "fastapi.task-manager.group"):
        async with serving(app) as client:
            await wait_until_async(lambda: _listed(group, "0 7 1 1 *"), "another process lists what is stored")
            (shown,) = await answer(client, "GET", "/tasks", params={"name": "n"})
            assert shown["expression"] == "0 7 1 1 *"
            [warning] = caplog.messages
            assert warning.startswith("g/n is stored with another definition than code adds, and stays so")
            group.remove_dynamic_task("n")
            group.add_dynamic_task("greet", "0 8 1 1 *", name="n")
            await wait_until_async(lambda: _shows(client, "0 8 1 1 *"), "removed and added again")


async def _listed(group: TaskGroup, expression: str) -> bool:
    return {task.name: task.expression for task in group.tasks}.get("n") == expression


async def _shows(client: httpx.AsyncClient, expression: str) -> bool:
    return [task["expression"] for task in await answer(client, "GET", "/tasks", params={"name": "n"})] == [expression]


async def test_a_definition_that_is_changed_back_is_listed_as_code_added_it() -> None:
    store = MemoryStore()
    async with _process(store.open) as (client, _, _), _process(store.open) as (_, _, group):
        added = group.add_dynamic_task("greet", "0 6 1 1 *", name="n")
        await wait_until_async(lambda: _knows(client), "written")
        await wait_until_async(lambda: _changed(client, "0 7 1 1 *"), "the other process knows it")
        await wait_until_async(lambda: _listed(group, "0 7 1 1 *"), "changed elsewhere")
        await _changed(client, "0 6 1 1 *")
        await wait_until_async(lambda: _listed(group, "0 6 1 1 *"), "changed back elsewhere")
        assert {task.name: task for task in group.tasks}["n"] is added


async def _changed(client: httpx.AsyncClient, expression: str) -> bool:
    return (await client.put("/tasks/g/n", json={"cron_expression": expression})).status_code == 200


async def _has(client: httpx.AsyncClient, names: set[str]) -> bool:
    return names <= {task["name"] for task in await answer(client, "GET", "/tasks")}


async def test_a_group_added_late_lists_its_tasks_in_the_store() -> None:
    store = MemoryStore()
    async with _process(store.open) as (client, _, _):
        await answer(client, "POST", "/tasks", json=BODY)
        app, manager = build(backend=store.open)
        async with serving(app):
            group = _group()
            manager.add_task_group(group)
            assert [task.name for task in group.tasks] == ["static", "n"]


async def test_put_changes_the_given_fields_and_keeps_the_others_the_pause_and_the_history() -> None:
    async with _process() as (client, _, _):
        given = BODY | {
            "kwargs": {"recipient": "x"},
            "description": "d",
            "tags": ["own"],
            "max_retries": 3,
            "max_lost_attempts": 2,
            "expires": 90,
            "max_instances": 4,
            "start_deadline": 30.5,
        }
        await answer(client, "POST", "/tasks", json=given)
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "n"})
        await wait_until_async(lambda: _runs(client), "a run is recorded")
        await answer(client, "POST", "/tasks/disable", params={"task_name": "n"})
        changed = await answer(client, "PUT", "/tasks/g/n", json={"cron_expression": "0 0 2 1 *", "retry_backoff": 7})
        assert changed["cron_expression"] == "0 0 2 1 *"
        (task,) = await answer(client, "GET", "/tasks", params={"name": "n"})
        assert (task["description"], task["tags"], task["kwargs"]) == ("d", ["all", "own"], {"recipient": "x"})
        assert (task["retry_backoff"], task["max_retries"], task["is_active"]) == (7.0, 3, False)
        assert (task["max_lost_attempts"], task["expires"], task["start_deadline"]) == (2, 90.0, 30.5)
        assert "-01-02T" in task["next_run"]
        assert len(await _runs(client)) == 1
        assert (task["overlap"], task["max_instances"]) == ("allow", 4)
        refused = await client.put("/tasks/g/n", json={"allow_parallel": False})
        assert (refused.status_code, "max_instances" in refused.text) == (400, True)
        change = {"interval": 60, "description": None, "allow_parallel": False, "max_instances": None}
        await answer(client, "PUT", "/tasks/g/n", json=change)
        (task,) = await answer(client, "GET", "/tasks", params={"name": "n"})
        assert (task["expression"], task["description"], task["overlap"]) == ("every 60s", None, "buffer_one")
        await answer(client, "PUT", "/tasks/g/n", json={"cron_expression": "0 9 * * *", "timezone": "Asia/Tokyo"})
        await answer(client, "PUT", "/tasks/g/n", json={"cron_expression": "0 8 * * *"})
        (slot,) = (await answer(client, "GET", "/tasks/g/n/upcoming", params={"count": 1}))["upcoming"]
        assert slot["local"].endswith("T08:00:00+09:00")
        assert (await client.put("/tasks/g/n", json={"interval": 60})).status_code == 200


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"retry_backoff": 120}, (120, 120)),
        ({"retry_backoff": 5}, (5, 60)),
        ({"retry_backoff_max": 1}, (1, 1)),
        ({"retry_backoff_max": 90}, (2, 90)),
        ({"retry_backoff": 3, "retry_backoff_max": 4}, (3, 4)),
        ({"retry_backoff": None}, (QUICK["retry_backoff"], 60)),
    ],
)
async def test_a_change_of_one_backoff_limit_adjusts_the_other_unless_both_are_given(
    change: dict[str, Any], shown: tuple[float, float]
) -> None:
    async with _process() as (client, _, _):
        await answer(client, "POST", "/tasks", json=BODY | {"retry_backoff": 2})
        await answer(client, "PUT", "/tasks/g/n", json=change)
        (task,) = await answer(client, "GET", "/tasks", params={"name": "n"})
        assert (task["retry_backoff"], task["retry_backoff_max"]) == shown


async def test_put_with_the_version_that_was_read_overwrites_no_newer_one() -> None:
    """Two users read the same task and change it. The second one gets an error."""
    store = MemoryStore()
    async with _process(store.open) as (client, _, _), _process(store.open) as (other, _, _):
        created = await client.post("/tasks", json=BODY)
        await wait_until_async(lambda: _knows(other), "known to both")
        (task,) = await answer(other, "GET", "/tasks", params={"name": "n"})
        assert created.headers["ETag"] == f'"{task["version"]}"'
        first = await client.put(
            "/tasks/g/n", json={"kwargs": {"recipient": "a"}}, headers={"If-Match": created.headers["ETag"]}
        )
        assert first.status_code == 200
        assert first.headers["ETag"] != created.headers["ETag"]
        second = await other.put(
            "/tasks/g/n", json={"kwargs": {"recipient": "b"}}, headers={"If-Match": f'"{task["version"]}"'}
        )
        assert second.status_code == 409
        assert second.json()["detail"].startswith("task 'n' of group 'g' is at version ")
        (task,) = await answer(other, "GET", "/tasks", params={"name": "n"})
        assert (task["kwargs"], f'"{task["version"]}"') == ({"recipient": "a"}, first.headers["ETag"])
        change = {"kwargs": {"recipient": "b"}}
        again = [
            await other.put("/tasks/g/n", json=change, headers={"If-Match": etag})
            for etag in (first.headers["ETag"], "*")
        ]
        unchanged = await other.put("/tasks/g/n", json={})
        assert [response.status_code for response in (*again, unchanged)] == [200, 200, 200]
        assert again[1].headers["ETag"] == unchanged.headers["ETag"]


@pytest.mark.parametrize("etag", ["7", "x", 'W/"7"', '"7", "8"', "", f'"{"9" * 30}"'])
async def test_an_invalid_version_is_refused(etag: str) -> None:
    async with _process() as (client, _, _):
        await answer(client, "POST", "/tasks", json=BODY)
        refused = await client.put("/tasks/g/n", json={"description": "d"}, headers={"If-Match": etag})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["header", "if-match"]
        assert (await answer(client, "GET", "/tasks", params={"name": "n"}))[0]["description"] is None


async def test_code_may_name_the_version_that_it_changes() -> None:
    async with _process() as (_, manager, group):
        added = await manager.add_dynamic_task("g", "greet", "0 0 1 1 *", name="n")
        assert added.version in [task.version for task in group.tasks]
        changed = await manager.change_dynamic_task("g", "n", expected_version=added.version, description="d")
        assert (changed.description, changed.version != added.version) == ("d", True)
        with pytest.raises(RuntimeError, match=f"is at version {changed.version}, not {added.version}"):
            await manager.change_dynamic_task("g", "n", expected_version=added.version, description="e")
        assert [task.description for task in group.tasks if task.name == "n"] == ["d"]


async def _runs(client: httpx.AsyncClient) -> list[Any]:
    return list((await answer(client, "GET", "/tasks/g/n/statistics"))["runs"])


@pytest.mark.parametrize(
    ("path", "body", "status", "pointer"),
    [
        ("g/missing", {"cron_expression": "* * * * *"}, 404, None),
        ("g/static", {"cron_expression": "* * * * *"}, 400, None),
        ("g/n", {"cron_expression": "* * *"}, 400, "cron_expression"),
        ("g/n", {"kwargs": {"wrong": 1}}, 400, "kwargs"),
        ("g/n", {"function_name": "missing"}, 400, "function_name"),
        ("g/n", {"timezone": "nowhere"}, 400, "timezone"),
        ("g/n", {"phase": 5}, 400, '"field":"phase"'),
        ("g/n", {"interval": 60, "timezone": "UTC"}, 400, '"field":"timezone"'),
        ("g/n", {"run_at": "2000-01-01T00:00:00Z"}, 400, '"field":"run_at"'),
        ("g/n", {"timezone": ""}, 400, "timezone"),
        ("g/n", {"retry_backoff": 5, "retry_backoff_max": 1}, 400, "retry_backoff_max"),
        ("g/n", {"retry_backoff": True}, 422, "retry_backoff"),
        ("g/n", {"tags": "reports"}, 422, "tags"),
        ("g/n", {"allow_parallel": "no"}, 422, "allow_parallel"),
        ("g/n", {"name": "other"}, 422, "name"),
        ("g/n", {"cron_expression": None}, 400, "cron_expression"),
    ],
)
async def test_put_refuses_and_changes_nothing(
    path: str, body: dict[str, Any], status: int, pointer: str | None
) -> None:
    async with _process() as (client, _, _):
        await answer(client, "POST", "/tasks", json=BODY)
        before = await answer(client, "GET", "/tasks")
        response = await client.put(f"/tasks/{path}", json=body)
        assert response.status_code == status, response.text
        assert pointer is None or pointer in response.text
        assert await answer(client, "GET", "/tasks") == before


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        ({"task_group_name": "nowhere"}, 404, "nowhere"),
        ({"function_name": "missing"}, 400, "function_name"),
        ({"cron_expression": "* * *"}, 400, "cron_expression"),
        ({"cron_expression": "R * * * *"}, 400, "cron_expression"),
        ({"cron_expression": "*" * 10_000}, 400, "cron_expression"),
        ({"cron_expression": []}, 400, "cron_expression"),
        ({"cron_expression": None}, 400, "cron_expression"),
        ({"cron_expression": ["* * * * *"] * 20}, 200, ""),
        ({"cron_expression": [f"{minute} * * * *" for minute in range(30)]}, 400, "cron_expression"),
        ({"cron_expression": None, "run_at": ["2030-01-01T00:00:00Z"] * 1001}, 400, "run_at"),
        ({"cron_expression": None, "run_at": "9999-12-31T23:59:59Z", "jitter": 86400}, 400, "run_at"),
        ({"start_at": "9999-12-31T23:59:59Z"}, 400, "start_at"),
        ({"end_at": "0001-01-01T00:00:00Z"}, 400, "end_at"),
        ({"name": "static"}, 409, "already exists"),
        ({"name": ""}, 400, "name"),
        ({"name": "x" * 201}, 400, "name"),
        ({"name": "\0"}, 400, "name"),
        ({"name": "\ud800"}, 400, "name"),
        ({"description": "\ud800"}, 400, "description"),
        ({"description": "x" * 20_000}, 400, "description"),
        ({"timezone": "nowhere"}, 400, "timezone"),
        ({"tags": [""]}, 400, "tags"),
        ({"tags": [f"t{number}" for number in range(100)]}, 400, "tags"),
        ({"kwargs": {"wrong": 1}}, 400, "kwargs"),
        ({"kwargs": [1]}, 422, "kwargs"),
        ({"kwargs": {"recipient": "\ud800"}}, 400, "kwargs"),
        ({"kwargs": {"recipient": "x" * 200_000}}, 400, "kwargs"),
        ({"retry_backoff": -1}, 400, "retry_backoff"),
        ({"retry_backoff": 1e300}, 400, "retry_backoff"),
        ({"retry_backoff": 5, "retry_backoff_max": 1}, 400, "retry_backoff_max"),
        ({"retry_backoff": 0.0001}, 400, "retry_backoff"),
        ({"max_retries": -1}, 400, "max_retries"),
        ({"max_lost_attempts": -1}, 400, "max_lost_attempts"),
        ({"max_retries": 10**50}, 400, "max_retries"),
        ({"timeout": 0}, 400, "timeout"),
        ({"expires": 0}, 400, "expires"),
        ({"max_instances": 0}, 400, '"field":"max_instances"'),
        ({"max_instances": 2, "overlap": "skip"}, 400, '"field":"max_instances"'),
        ({"max_instances": True}, 422, "max_instances"),
        ({"expires": "soon"}, 422, "expires"),
        ({"jitter": -5}, 400, "jitter"),
        ({"start_at": "2026-01-01T00:00:00"}, 400, "start_at"),
        ({"start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-01T00:00:00Z"}, 400, "end_at"),
        ({"interval": 5}, 400, "exactly one of"),
        ({"phase": 5}, 400, '"field":"phase"'),
        ({"cron_expression": None, "interval": 5, "timezone": "UTC"}, 400, '"field":"timezone"'),
        ({"cron_expression": None, "interval": 5, "gap": "skip"}, 400, '"field":"gap"'),
        ({"cron_expression": None, "run_at": "2030-01-01T00:00:00Z", "fold": "both"}, 400, '"field":"fold"'),
        ({"tags": "reports"}, 422, "tags"),
        ({"allow_parallel": "no"}, 422, "allow_parallel"),
        ({"run_on_start": "no"}, 422, "run_on_start"),
        ({"cron_expression": None, "interval": 0.5}, 400, "interval"),
        ({"cron_expression": None, "interval": 0, "name": None}, 400, "interval"),
        ({"interval": 60, "run_at": "2030-01-01T00:00:00Z", "name": None}, 400, "exactly one of"),
        ({"cron_expression": None, "interval": True}, 422, "interval"),
        ({"max_retries": True}, 422, "max_retries"),
        ({"cron_expression": None, "run_at": "2000-01-01T00:00:00Z"}, 400, '"field":"run_at"'),
        ({"end_at": "2000-01-01T00:00:00Z"}, 400, '"field":"end_at"'),
        ({"timezone": ""}, 400, '"field":"timezone"'),
        ({"cron_expression": None, "run_at": []}, 400, "run_at"),
        ({"cron_expression": None, "run_at": "0001-01-01T00:00:00+10:00"}, 400, "run_at"),
        ({"cron_expression": None, "run_at": "0001-01-01T00:00:00Z"}, 400, "run_at"),
        ({"overlap": "perhaps"}, 422, "overlap"),
        ({"retry_bakoff": 1}, 422, "retry_bakoff"),
        ({"high_priority": "perhaps"}, 422, "high_priority"),
        ({"high_priority": "no"}, 422, "high_priority"),
        ({"retry_on": ["x" * 400]}, 400, "retry_on"),
    ],
)
async def test_post_refuses_with_a_pointer_and_leaves_nothing_behind(
    change: dict[str, Any], status: int, pointer: str
) -> None:
    async with _process() as (client, _, group):
        response = await client.post("/tasks", content=_json(BODY | change), headers=JSON)
        assert response.status_code == status, response.text
        assert pointer in response.text
        if status != 200:
            assert await _names(client) == ["static"]
            assert len(group.tasks) == 1


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("cron_expression", ["no expression"] * 40_000),
        ("run_at", [datetime(2026, 1, 1, tzinfo=UTC)] * 40_000),
        ("tags", [f"tag {n}" for n in range(40_000)]),
        ("retry_on", [None] * 40_000),
    ],
)
async def test_a_list_that_is_too_long_is_refused_for_its_length(field: str, values: list[object]) -> None:
    """The check does not read the items of a long list: no item here is a valid expression or class."""
    words: dict[str, Any] = {"cron_expression": None if field == "run_at" else "0 0 1 1 *", field: values}
    with pytest.raises(RuntimeError, match=rf"{field}=4000[01]: ") as refusal:
        _group().add_dynamic_task("greet", **words)
    assert len(str(refusal.value)) < 500


def _nested(levels: int) -> dict[str, Any]:
    value: object = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


async def test_arguments_that_no_route_could_show_are_refused_when_they_are_given() -> None:
    app, _ = build(group := TaskGroup("g"))

    @group.register_function()
    async def greet(**given: object) -> None:
        """Accepts anything."""

    async with serving(app) as client:
        for levels in (DEEPEST_KWARGS + 1, 250, 300, 500):
            response = await client.post("/tasks", json=BODY | {"kwargs": _nested(levels)})
            assert 400 <= response.status_code < 500, (levels, response.text)
            with pytest.raises(RuntimeError, match=r"kwargs=.*nested deeper"):
                group.add_task("0 0 1 1 *", name="m", kwargs=_nested(levels))(greet)
        await answer(client, "POST", "/tasks", json=BODY | {"kwargs": _nested(DEEPEST_KWARGS)})
        (task,) = await answer(client, "GET", "/tasks")
        assert task["kwargs"] == _nested(DEEPEST_KWARGS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"kwargs": NaN}',
        b'{"task_group_name": "\\ud800", "x\\ud800": NaN}',
        b'{"retry_backoff": ' + b"9" * 5000 + b"}",
        b'{"max_retries": 1e400}',
    ],
)
async def test_a_body_that_cannot_be_read_is_a_client_error(content: bytes) -> None:
    async with _process() as (client, _, _):
        for method, path in (("POST", "/tasks"), ("POST", "/schedules/preview"), ("PUT", "/tasks/g/static")):
            response = await client.request(method, path, content=content, headers=JSON)
            assert 400 <= response.status_code < 500, (path, response.text)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"start": "2026-01-01T00:00:00"}, 422),
        ({"start": "0001-01-01T00:00:00+14:00"}, 400),
        ({"start": "9999-12-31T23:59:59-12:00"}, 400),
        ({"start": "9999-12-31T23:59:59Z"}, 400),
        ({"start": "0001-01-01T00:00:00Z", "timezone": "America/New_York"}, 400),
        ({"start": "1970-01-01T00:00:00Z", "timezone": "America/New_York"}, 200),
        ({"start": "9998-12-31T23:59:59Z"}, 200),
        ({"start": 1e300}, 422),
        ({"count": 1001}, 422),
        ({"count": 10**100}, 422),
        ({"cron_expression": "H * * * *"}, 400),
        ({"cron_expression": "H * * * *", "seed": "g/n"}, 200),
        ({"timezone": "\ud800"}, 400),
        ({"gap": "jump"}, 422),
        ({"phase": 5}, 422),
    ],
)
async def test_a_preview_refuses_what_it_cannot_compute(body: dict[str, Any], status: int) -> None:
    async with _process() as (client, _, _):
        given = {"cron_expression": "0 0 * * *", "timezone": "Pacific/Auckland"} | body
        response = await client.post("/schedules/preview", content=_json(given), headers=JSON)
        assert response.status_code == status, response.text
        assert status != 400 or response.json()["field"] in body


async def test_deleting_a_static_task_is_400_and_an_unknown_one_404() -> None:
    async with _process() as (client, _, _):
        for name, status in (("static", 400), ("missing", 404), ("", 404), ("\0", 404), ("x" * 500, 404)):
            response = await client.delete("/tasks", params={"task_group_name": "g", "task_name": name})
            assert response.status_code == status, response.text
        assert (await client.delete("/tasks")).status_code == 422


@pytest.mark.parametrize("link", [Link.DOWN, Link.SILENT])
async def test_requests_are_503_within_seconds_while_the_store_is_unreachable(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_task_manager.api.errors.STORE_SECONDS", 0.2)
    store = SwitchedStore()
    async with _process(store.open) as (client, manager, group):
        store.link = link
        for method, path in (
            ("GET", "/tasks"),
            ("GET", "/tasks/g/static/statistics"),
            ("POST", "/tasks/disable"),
            ("POST", "/tasks/trigger"),
            ("DELETE", "/tasks?task_group_name=g&task_name=static"),
        ):
            response = await client.request(method, path)
            assert response.status_code == 503, path
            assert "the store is not available" in response.json()["detail"]
        assert (await client.post("/tasks", json=BODY)).status_code == 503
        assert [task.name for task in group.tasks] == ["static"]
        assert (await client.get("/config")).status_code == 200
        store.link = Link.UP
        await wait_until_async(manager.is_healthy, "healthy again")
        assert await _names(client) == ["static"]


async def test_a_request_may_be_repeated_after_a_503_with_unknown_outcome() -> None:
    """Each request took effect but its answer was lost. A repeat succeeds, or its answer shows the effect."""
    store = SwitchedStore()
    async with _process(store.open) as (client, _, group):
        where = {"task_group_name": "g", "task_name": "n"}
        for method, path, body, again in (
            ("POST", "/tasks", BODY, 409),
            ("PUT", "/tasks/g/n", {"cron_expression": "0 0 2 2 *"}, 200),
            ("POST", "/tasks/disable?task_name=n", None, 200),
            ("POST", "/tasks/trigger?task_name=n", {"kwargs": {"recipient": "x"}}, 200),
            ("DELETE", f"/tasks?{urlencode(where)}", None, 404),
        ):
            headers = {"Idempotency-Key": "one"} if "trigger" in path else {}
            store.link = Link.ANSWERS_LOST
            unknown = await client.request(method, path, json=body, headers=headers)
            assert (unknown.status_code, unknown.headers["Retry-After"]) == (503, "5"), path
            store.link = Link.UP
            response = await client.request(method, path, json=body, headers=headers)
            assert response.status_code == again, (path, response.text)
            if "trigger" in path:
                assert response.json()["runs"][0]["result"] == "duplicate"
        assert [task.name for task in group.tasks] == ["static"]


async def test_a_static_task_that_no_live_process_declares_can_be_removed() -> None:
    store = MemoryStore()
    where = {"task_group_name": "g", "task_name": "gone"}
    old = _group()
    old.add_task("0 0 1 1 *", name="gone", kwargs={"x": 1})(lambda x: None)
    app, _ = build(old, backend=store.open)
    async with serving(app) as client, _process(store.open) as (other, manager, _):
        await wait_until_async(lambda: _has(other, {"gone"}), "known to the process that does not declare it")
        for one in (client, other):
            assert (await one.delete("/tasks", params=where)).status_code == 400
        with pytest.raises(RuntimeError, match="is static and cannot be removed"):
            await manager.remove_dynamic_task("g", "gone")
    await _retire(store, TaskKey("g", "gone"))
    async with _process(store.open) as (client, manager, _):
        assert await answer(client, "DELETE", "/tasks", params=where) == {
            "task_group_name": "g",
            "task_name": "gone",
            "function_name": "<lambda>",
            "cron_expression": "0 0 1 1 *",
            "kwargs": {"x": 1},
            "dynamic": False,
        }
        assert await _names(client) == ["static"]
        with pytest.raises(RuntimeError, match="not found"):
            await manager.remove_dynamic_task("g", "gone")


async def _retire(store: MemoryStore, key: TaskKey) -> None:
    """Retire a task, as the leader does when no live process has declared it for some time."""
    async with store.open(clock=SystemClock(), retention=Retention()) as backend:
        term = await backend.leadership.campaign(NodeId("leader"), timedelta(seconds=9))
        assert isinstance(term, Term)
        assert await backend.catalogue.retire(term, [key]) == frozenset({key})
        await backend.leadership.resign(term)


async def test_calls_of_a_manager_that_does_not_run_are_runtime_errors() -> None:
    group = _group()
    _, manager = build(group)
    with pytest.raises(RuntimeError, match="not running"):
        await manager.add_dynamic_task("g", "greet", "* * * * *")
    assert len(group.tasks) == 1
    await manager.start()
    for call, text in (
        (manager.add_dynamic_task("nowhere", "greet", "* * * * *"), "not found"),
        (manager.add_dynamic_task("g", "missing", "* * * * *"), "not registered"),
        (manager.add_dynamic_task("g", "greet", "* * * * *", name="static"), "already exists"),
        (manager.remove_dynamic_task("g", "static"), "static and cannot be removed"),
        (manager.remove_dynamic_task("g", "missing"), "not found"),
        (manager.change_dynamic_task("g", "static", cron_expression="* * * * *"), "static and cannot be changed"),
    ):
        with pytest.raises(RuntimeError, match=text):
            await call
    with pytest.raises(TypeError, match="'wrong'"):
        await manager.change_dynamic_task("g", (await _added(manager)), wrong=1)
    await manager.stop()


async def _added(manager: TaskManager) -> str:
    return (await manager.add_dynamic_task("g", "greet", "* * * * *")).name


JSON = {"Content-Type": "application/json"}


def _json(value: object) -> bytes:
    """Encode a value as JSON, also a value that a correct client would never send."""
    return json.dumps(value).encode()
