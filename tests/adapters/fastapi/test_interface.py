"""Promises of the public interface that no other file of this folder tests. Each has one test."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError

import fastapi_task_manager
from fastapi_task_manager import Config, OperationalConfig, TaskGroup, TaskManager
from fastapi_task_manager.group_contents import contents_of
from fastapi_task_manager.schema import health, task, task_group
from fastapi_task_manager.task_translation import definition_of
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Overlap
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import answer, build, serving
from tests.waiting import wait_until_async

YEARLY = "0 0 1 1 *"
TASK_ROW = (
    *("name", "expression", "description", "tags", "high_priority", "retry_backoff", "retry_backoff_max"),
    *("dynamic", "allow_parallel", "kwargs", "function", "function_name"),
)


def report(recipient: str = "x") -> None:
    """Does nothing."""


# -- models that applications and their tests build by keyword --------------------------------------------------------

REQUIRED: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (task.TaskBase, {"expression": "* * * * *", "name": "n"}),
    (task.Task, {"expression": "* * * * *", "name": "n", "function": report}),
    (task.TaskDetailed, {"task_group_name": "g", "name": "n", "expression": "* * * * *"}),
    (task.TaskRun, {"run_date": datetime(2026, 1, 1, tzinfo=UTC), "durations_second": 0.5}),
    (task.TaskStatistics, {"task_group_name": "g", "task_name": "n", "runs": []}),
    (task.AffectedTask, {"task_group": "g", "task": "n"}),
    (task.TaskActionResponse, {"affected_tasks": [], "count": 0}),
    (
        task.CreateDynamicTaskRequest,
        {"task_group_name": "g", "function_name": "f", "cron_expression": "* * * * *"},
    ),
    (
        task.DynamicTaskResponse,
        {"task_group_name": "g", "task_name": "n", "function_name": "f", "cron_expression": "* * * * *"},
    ),
    (task.RegisteredFunctionInfo, {"task_group_name": "g", "function_name": "f"}),
    (task.RegisteredFunctionsResponse, {"functions": [], "count": 0}),
    (task_group.TaskGroup, {"name": "g", "tags": [], "allow_parallel": None, "task_count": 0}),
    (health.HealthResponse, {"status": "healthy", "redis_connected": True}),
    (
        health.ConfigResponse,
        {
            "redis_key_prefix": "p",
            "concurrent_tasks": 2,
            "statistics_redis_expiration": 432_000,
            "statistics_history_runs": 500,
            "allow_parallel": True,
            "poll_interval": 0.1,
            "worker_service_name": "s",
            "stream_block_ms": 1000,
            "leader_heartbeat_interval": 3.0,
            "leader_retry_interval": 5.0,
            "reconciliation_interval": 30,
            "retry_backoff": 1.0,
            "retry_backoff_max": 60.0,
            "retry_backoff_multiplier": 2.0,
            "running_heartbeat_interval": 3.0,
        },
    ),
]


@pytest.mark.parametrize(("model", "fields"), REQUIRED, ids=lambda one: getattr(one, "__name__", ""))
def test_a_model_of_the_surface_is_built_by_keyword_of_its_documented_fields(
    model: type[BaseModel], fields: dict[str, Any]
) -> None:
    built = model(**fields)
    assert {name: getattr(built, name) for name in fields} == fields
    with pytest.raises(ValidationError):
        model()


def test_the_base_of_a_task_has_the_fields_without_a_function_and_their_defaults() -> None:
    base = task.TaskBase(expression="* * * * *", name="n")
    assert base.model_dump() == {
        "name": "n",
        "expression": "* * * * *",
        "description": None,
        "tags": None,
        "high_priority": False,
        "retry_backoff": None,
        "retry_backoff_max": None,
        "dynamic": False,
        "allow_parallel": None,
    }
    full = task.Task(expression="* * * * *", name="n", function=report)
    assert isinstance(full, task.TaskBase)
    assert [name for name in TASK_ROW if not hasattr(full, name)] == []
    assert (full.function, full.kwargs, full.function_name) == (report, None, None)


def test_the_openapi_document_names_the_model_of_a_group_task_group() -> None:
    schema = build(TaskGroup("g"))[0].openapi()["paths"]["/task-manager/task-groups"]["get"]
    assert "schemas/TaskGroup'" in str(schema["responses"]["200"])


@pytest.mark.parametrize("model", [model for model, _ in REQUIRED if "Request" not in model.__name__][2:])
def test_an_answer_has_every_field_whatever_its_default(model: type[BaseModel]) -> None:
    """A client that is generated from the OpenAPI document may rely on every field."""
    schema = model.model_json_schema(mode="serialization")
    assert sorted(schema["required"]) == sorted(schema["properties"])


# -- groups and tasks -------------------------------------------------------------------------------------------------


def test_the_package_exports_what_applications_import() -> None:
    assert {"Config", "TaskGroup", "TaskManager", "HealthResponse"} <= set(fastapi_task_manager.__all__)


def test_the_arguments_of_add_task_keep_their_names_order_and_defaults() -> None:
    parameters = inspect.signature(TaskGroup.add_task).parameters
    shown = {name: one.default for name, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD}
    assert list(shown.items())[1:] == [
        ("expr", None),
        ("kwargs", None),
        ("tags", None),
        ("name", None),
        ("description", None),
        ("high_priority", False),
        ("retry_backoff", None),
        ("retry_backoff_max", None),
        ("register", True),
        ("allow_parallel", None),
    ]


def test_a_dynamic_task_has_the_attributes_of_a_task() -> None:
    group = TaskGroup("g", tags=["all"])
    group.register_function()(report)
    words: dict[str, Any] = {
        "name": "n",
        "description": "d",
        "high_priority": True,
        "retry_backoff": 2.0,
        "retry_backoff_max": 9.0,
        "allow_parallel": False,
        "kwargs": {"recipient": "y"},
        "function_name": "report",
    }
    added = group.add_dynamic_task(cron_expression=YEARLY, tags=["own"], **words)
    expected = {**words, "expression": YEARLY, "tags": ["all", "own"], "dynamic": True, "function": report}
    assert {name: getattr(added, name) for name in TASK_ROW} == expected


def test_removing_a_dynamic_task_returns_it() -> None:
    group = TaskGroup("g")
    group.register_function()(report)
    added = group.add_dynamic_task("report", YEARLY, {"recipient": "y"}, name="n")
    removed = group.remove_dynamic_task("n")
    assert removed is added
    assert (removed.name, removed.kwargs, group.tasks) == ("n", {"recipient": "y"}, [])


async def test_removing_a_dynamic_task_of_a_manager_returns_it() -> None:
    group = TaskGroup("g")
    group.register_function()(report)
    app, manager = build(group)
    async with app.router.lifespan_context(app):
        await manager.add_dynamic_task("g", "report", YEARLY, {"recipient": "y"}, name="n")
        removed = await manager.remove_dynamic_task("g", "n")
        assert (removed.name, removed.kwargs, removed.function, removed.dynamic) == (
            "n",
            {"recipient": "y"},
            report,
            True,
        )


def test_a_function_that_is_only_registered_is_no_task() -> None:
    group = TaskGroup("g")
    assert group.register_function("named")(report) is report
    assert (group.tasks, group.function_registry) == ([], {"named": report})


def test_add_task_registers_its_function_under_the_name_of_the_task_or_else_under_its_own() -> None:
    group = TaskGroup("g")
    group.add_task(YEARLY, name="given")(report)
    assert group.function_registry == {"given": report}
    group.add_task(YEARLY)(report)
    assert group.function_registry == {"given": report, "report": report}
    group.add_task([YEARLY, "@daily"], name="several")(report)
    group.add_task(YEARLY, name="hidden", register=False)(report)
    assert list(group.function_registry) == ["given", "report", "several"]
    assert group.add_dynamic_task("given", "@daily").function is report
    assert [one.function_name for one in group.tasks] == ["report", "report", "report", "report", "report", "given"]


def test_a_name_that_is_registered_already_stays_with_its_function() -> None:
    group = TaskGroup("g")
    group.register_function("n")(report)
    group.add_task(YEARLY, name="n")(lambda: None)
    assert group.function_registry == {"n": report}


async def test_a_function_registered_under_the_name_of_a_task_is_listed_and_called() -> None:
    calls: list[str] = []
    group = TaskGroup("g", tags=["t"])

    @group.add_task(YEARLY, name="given", kwargs={"recipient": "static"})
    async def work(recipient: str) -> None:
        calls.append(recipient)

    app, _ = build(group)
    async with serving(app) as client:
        listed = {"functions": [{"task_group_name": "g", "function_name": "given"}], "count": 1}
        for filters in ({}, {"name": "given"}, {"task_group_name": "g"}, {"tag": "t"}):
            assert await answer(client, "GET", "/functions", params=filters) == listed
        assert (await answer(client, "GET", "/functions", params={"name": "work"}))["count"] == 0
        body = {"task_group_name": "g", "cron_expression": YEARLY, "kwargs": {"recipient": "d"}, "name": "n"}
        assert (await client.post("/tasks", json={**body, "function_name": "work"})).status_code == 400
        await answer(client, "POST", "/tasks", json={**body, "function_name": "given"})
        await answer(client, "POST", "/tasks/trigger", params={"task_group_name": "g"})
        await wait_until_async(lambda: len(calls) == 2, "both runs")
        assert sorted(calls) == ["d", "static"]


@pytest.mark.parametrize(
    ("own", "group", "config", "parallel"),
    [
        (None, None, True, True),
        (None, None, False, False),
        (None, False, True, False),
        (None, True, False, True),
        (False, True, True, False),
        (True, False, False, True),
    ],
)
def test_parallel_runs_come_from_the_task_or_else_the_group_or_else_the_config(
    own: bool | None, group: bool | None, config: bool, parallel: bool
) -> None:
    manager = TaskManager(config=OperationalConfig(allow_parallel=config), backend=MemoryStore().open)
    tasks = TaskGroup("g", allow_parallel=group)
    manager.add_task_group(tasks)
    tasks.add_task(YEARLY, allow_parallel=own)(report)
    (declared,) = tasks.tasks
    definition = definition_of(declared, contents_of(tasks).defaults(manager.config.defaults()))
    assert definition.overlap is (Overlap.ALLOW if parallel else Overlap.BUFFER_ONE)
    assert definition.key == TaskKey("g", "report")


# -- the configuration behaves as its table says ----------------------------------------------------------------------


def test_intervals_of_the_configuration_become_leases_claims_and_limits() -> None:
    config = Config(
        redis_host="localhost",
        concurrent_tasks=7,
        leader_heartbeat_interval=2.0,
        leader_retry_interval=4.0,
        running_heartbeat_interval=1.5,
        poll_interval=0.2,
        stream_block_ms=750,
        reconciliation_interval=12,
        statistics_redis_expiration=60,
        statistics_history_runs=9,
        retry_backoff=0.5,
        retry_backoff_max=8.0,
        retry_backoff_multiplier=3.0,
    )
    policy, retry, retention = config.node_policy(), config.defaults().retry, config.retention()
    assert policy.leadership.lease.total_seconds() == 3 * 2.0
    assert policy.leadership.retry_interval.total_seconds() == 4.0
    assert policy.worker.claim_ttl.total_seconds() == 3 * 1.5
    assert policy.worker.concurrency == 7
    assert (policy.poll_interval.total_seconds(), policy.reconciliation_interval.total_seconds()) == (0.2, 12)
    assert policy.worker.wait.total_seconds() == 0.75
    assert (retention.ttl.total_seconds(), retention.runs) == (60, 9)
    assert (retry.initial.total_seconds(), retry.maximum.total_seconds(), retry.multiplier) == (0.5, 8.0, 3.0)


# -- REST -------------------------------------------------------------------------------------------------------------


@dataclass
class Served:
    client: httpx.AsyncClient
    app: FastAPI
    manager: TaskManager
    group: TaskGroup
    calls: list[str] = field(default_factory=list)


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    calls: list[str] = []
    group = TaskGroup("g", tags=["t"])

    @group.add_task(YEARLY, retry_backoff=300, retry_backoff_max=300)
    async def fails() -> None:
        calls.append("fails")
        raise ValueError("no luck")

    group.register_function()(report)
    app, manager = build(group)
    async with serving(app) as client:
        yield Served(client, app, manager, group, calls)


async def test_a_removal_returns_the_removed_task_in_the_form_of_its_creation(served: Served) -> None:
    body = {
        "task_group_name": "g",
        "function_name": "report",
        "cron_expression": "0 7 * * *",
        "kwargs": {"recipient": "y"},
        "name": "n",
    }
    created = await answer(served.client, "POST", "/tasks", json=body)
    assert created == {
        "task_group_name": "g",
        "task_name": "n",
        "function_name": "report",
        "cron_expression": "0 7 * * *",
        "kwargs": {"recipient": "y"},
        "dynamic": True,
    }
    where = {"task_group_name": "g", "task_name": "n"}
    assert await answer(served.client, "DELETE", "/tasks", params=where) == created
    assert (await served.client.delete("/tasks", params=where)).status_code == 404


async def test_a_trigger_runs_the_task_now_and_clears_its_backoff(served: Served) -> None:
    await answer(served.client, "POST", "/tasks/trigger", params={"task_name": "fails"})
    await wait_until_async(lambda: _retries(served), "the first run has failed and waits for minutes")
    await answer(served.client, "POST", "/tasks/trigger", params={"task_name": "fails"})
    await wait_until_async(lambda: len(served.calls) == 3, "the waiting retry and the triggered run have run")


async def _retries(served: Served) -> bool:
    (shown,) = await answer(served.client, "GET", "/tasks", params={"name": "fails"})
    return shown["retry_after"] is not None and shown["retry_delay"] == 300


@pytest.mark.parametrize("method", [TaskManager.start, TaskManager.stop, TaskManager.append_to_app_lifecycle])
def test_the_manager_has_what_applications_call(method: Callable[..., object]) -> None:
    assert callable(method)


async def test_health_never_raises_and_has_its_fields_before_the_start_and_after_the_stop(served: Served) -> None:
    fields = {"status", "redis_connected", "worker_id", "worker_started_at", "is_leader"}
    fresh, fresh_manager = build(TaskGroup("g"))
    assert await fresh_manager.is_healthy() is False
    transport = httpx.ASGITransport(app=fresh)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/task-manager") as client:
        for _ in range(2):
            response = await client.get("/health")
            assert (response.status_code, response.json()["status"]) == (503, "unhealthy")
            assert fields <= response.json().keys()
            await fresh_manager.stop()
    assert fields <= (await answer(served.client, "GET", "/health")).keys()
    assert served.manager.is_running is True
