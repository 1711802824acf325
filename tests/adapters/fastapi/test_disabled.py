"""A manager that the configuration disables: it lists, refuses, and executes nothing."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from fastapi_task_manager import Config, RefusedError, TaskGroup
from task_manager_core.ports import Backend
from tests.adapters.fastapi.application import answer, build, serving
from tests.waiting import wait_until_async


def unreachable(**_: Any) -> AbstractAsyncContextManager[Backend]:
    """The store of the application, which must not be opened."""
    raise AssertionError("a disabled manager opened its store")


def group_with(called: asyncio.Event) -> TaskGroup:
    group = TaskGroup("g")

    @group.add_task("* * * * * *", run_on_start=True)
    async def task() -> None:
        called.set()

    return group


async def test_a_disabled_manager_lists_its_tasks_and_executes_none(caplog: pytest.LogCaptureFixture) -> None:
    called = asyncio.Event()
    group = group_with(called)
    app, manager = build(group, backend=unreachable, enabled=False)
    caplog.set_level("INFO", "fastapi.task-manager")
    async with serving(app) as client:
        assert [task["name"] for task in await answer(client, "GET", "/tasks")] == ["task"]
        assert (await answer(client, "GET", "/functions"))["count"] == 1
        assert (await answer(client, "GET", "/config"))["enabled"] is False
        health = await answer(client, "GET", "/health")
        assert (health["status"], health["redis_connected"], health["is_leader"]) == ("healthy", False, False)
        assert "enabled=False" in health["reason"]
        assert not manager.is_running
        assert await manager.is_healthy()
        group.add_dynamic_task("task", "0 0 1 1 *", name="added by code")
        await wait_until_async(lambda: _lists(client, 2), "the addition is listed")
        services = {task.get_name().partition(" of ")[0] for task in asyncio.all_tasks()}
        assert "registrar" in services
        assert not services & {"elector", "scheduler", "claims", "settlements", "heartbeat", "reconciler", "signals"}
    assert not called.is_set()
    assert [record.message for record in caplog.records if "enabled=False" in record.message] != []


async def _lists(client: Any, count: int) -> bool:
    return len(await answer(client, "GET", "/tasks")) == count


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/tasks/trigger", None),
        ("POST", "/tasks/disable", None),
        ("POST", "/tasks/enable", None),
        ("POST", "/tasks/reset-retry", None),
        ("DELETE", "/tasks/statistics", None),
        ("POST", "/tasks", {"task_group_name": "g", "function_name": "task", "cron_expression": "@daily"}),
    ],
)
async def test_a_disabled_manager_refuses_every_change(method: str, path: str, body: object) -> None:
    app, _ = build(group_with(asyncio.Event()), backend=unreachable, enabled=False)
    async with serving(app) as client:
        refused = await client.request(method, path, json=body)
    assert refused.status_code == 409
    assert "the task manager of this process is disabled (enabled=False)" in refused.json()["detail"]


async def test_code_that_changes_a_disabled_manager_is_told() -> None:
    _, manager = build(group_with(asyncio.Event()), backend=unreachable, enabled=False)
    await manager.start()
    with pytest.raises(RefusedError, match="enabled=False"):
        await manager.add_dynamic_task("g", "task", "@daily")
    with pytest.raises(RefusedError, match="enabled=False"):
        await manager.trigger(("g", "task"))
    await manager.stop()


async def test_a_test_runs_a_disabled_manager() -> None:
    called = asyncio.Event()
    _, manager = build(group_with(called), backend=unreachable, enabled=False)
    async with manager.testing() as clock:
        await clock.advance(seconds=1)
        assert manager.is_running
    assert called.is_set()


def test_the_environment_disables_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_MANAGER_ENABLED", "false")
    assert Config(redis_host="localhost").enabled is False
