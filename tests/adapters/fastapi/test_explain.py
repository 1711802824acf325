"""GET …/explain and manager.explain return the reasons in order. The rules of the core produce them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from fastapi_task_manager import TaskGroup, TaskManager
from task_manager_core.domain.explain import ReasonCode
from tests.adapters.fastapi.application import answer, build, client_of, serving
from tests.waiting import wait_until_async


@pytest.fixture
async def served() -> AsyncGenerator[tuple[httpx.AsyncClient, TaskManager]]:
    group = TaskGroup("Group")

    @group.add_task("0 0 1 1 *", name="calm")
    async def calm() -> None:
        return

    @group.add_task("0 0 1 1 *", name="long", allow_parallel=False)
    async def long() -> None:
        await asyncio.Event().wait()

    @group.add_task("0 0 1 1 *", name="failing", retry_backoff=50)
    async def failing() -> None:
        raise ValueError("no")

    app, manager = build(group, shutdown_timeout=0, leader_heartbeat_interval=3)
    async with serving(app) as client:
        await wait_until_async(lambda: _leads(manager), "a leader is there")
        yield client, manager


async def _leads(manager: TaskManager) -> bool:
    return (await manager.health_check()).is_leader


async def codes(client: httpx.AsyncClient, name: str) -> list[str]:
    explained: Any = await answer(client, "GET", f"/tasks/Group/{name}/explain")
    return [reason["code"] for reason in explained["reasons"]]


async def test_an_idle_task_waits_only_for_its_slot(
    served: tuple[httpx.AsyncClient, TaskManager],
) -> None:
    client, manager = served
    explained: Any = await answer(client, "GET", "/tasks/Group/calm/explain")
    assert explained["next_slot"] == explained["due_at"]
    assert explained["next_slot"].endswith("-01-01T00:00:00Z")
    assert [reason["code"] for reason in explained["reasons"]] == ["will_dispatch"]
    assert [reason.code for reason in (await manager.explain("Group", "calm")).reasons] == [ReasonCode.DISPATCHES]


async def test_the_explanation_of_a_disabled_task_says_that_its_slot_will_be_skipped(
    served: tuple[httpx.AsyncClient, TaskManager],
) -> None:
    client, _ = served
    await answer(client, "POST", "/tasks/disable", params={"task_name": "calm"})
    explained: Any = await answer(client, "GET", "/tasks/Group/calm/explain")
    assert [reason["code"] for reason in explained["reasons"]] == ["disabled", "will_skip"]
    assert explained["reasons"][1]["text"].endswith("will be skipped: paused")


async def test_a_live_run_is_named_with_its_worker(served: tuple[httpx.AsyncClient, TaskManager]) -> None:
    client, manager = served
    await answer(client, "POST", "/tasks/trigger", params={"task_name": "long"})

    async def runs() -> bool:
        return await codes(client, "long") == ["running", "will_hold"]

    await wait_until_async(runs, "the run is on a worker, and the next slot will be held until it ends")
    explained: Any = await answer(client, "GET", "/tasks/Group/long/explain")
    assert (await manager.health_check()).worker_id in explained["reasons"][0]["text"]


async def test_a_backoff_is_shown_with_its_end(served: tuple[httpx.AsyncClient, TaskManager]) -> None:
    client, _ = served
    await answer(client, "POST", "/tasks/trigger", params={"task_name": "failing"})

    async def waits() -> bool:
        return await codes(client, "failing") == ["backoff", "will_dispatch"]

    await wait_until_async(waits, "the failed run waits for its retry, which is due long before the next slot")


async def test_an_unknown_task_cannot_be_explained(served: tuple[httpx.AsyncClient, TaskManager]) -> None:
    client, manager = served
    response = await client.get("/tasks/Group/missing/explain")
    assert response.status_code == 404
    with pytest.raises(RuntimeError, match="not found"):
        await manager.explain("Group", "missing")


async def test_explain_before_the_start_is_refused() -> None:
    app, manager = build(TaskGroup("Group"))
    with pytest.raises(RuntimeError):
        await manager.explain("Group", "task")
    async with client_of(app) as client:
        assert (await client.get("/tasks/Group/task/explain")).status_code == 503
