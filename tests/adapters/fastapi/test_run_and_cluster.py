"""GET of one run and GET /cluster, on both stores."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import httpx

from fastapi_task_manager import RunContext, TaskGroup, TaskManager
from task_manager_core.ports import OpenBackend
from tests.adapters.fastapi.application import answer, build, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore
from tests.waiting import wait_until_async

YEARLY = "0 0 1 1 *"


async def _trigger(client: httpx.AsyncClient, name: str) -> str:
    triggered = await answer(client, "POST", "/tasks/trigger", params={"task_name": name})
    run: str = triggered["runs"][0]["run_id"]
    return run


async def _shows(client: httpx.AsyncClient, path: str, **fields: Any) -> bool:
    found = (await client.get(path)).json()
    return {name: found.get(name) for name in fields} == fields


async def test_a_run_shows_what_it_does_and_then_its_attempts(open_backend: OpenBackend) -> None:
    doors = asyncio.Event()
    group = TaskGroup("g")

    @group.add_task(YEARLY, name="a/b", max_retries=1, retry_backoff=0.01)
    async def work(context: RunContext) -> str:
        context.progress(3, 4, text="reading")
        if context.attempt == 1:
            raise ValueError("not yet")
        await doors.wait()
        return "done"

    app, _ = build(group, backend=open_backend)
    async with serving(app) as client:
        run = await _trigger(client, "a/b")
        path = f"/tasks/g/a%2Fb/runs/{run}"
        await wait_until_async(partial(_shows, client, path, state="running"), "the second attempt runs")
        reported = partial(_live_shows, client, path, text="reading", done=3.0, attempt=2)
        await wait_until_async(reported, "the attempt has reported")
        live = await answer(client, "GET", path)
        assert (live["task_name"], live["run_id"], live["triggered_by"], live["slot"]) == ("a/b", run, "request", None)
        [failed] = live["attempts"]
        assert (failed["status"], failed["error_message"]) == ("retried", "not yet")
        assert "ValueError" in failed["error_traceback"]
        doors.set()
        await wait_until_async(partial(_shows, client, path, state="succeeded"), "the run has ended")
        ended = await answer(client, "GET", path)
        assert ended["live"] is None
        assert [one["attempt"] for one in ended["attempts"]] == [1, 2]
        assert ended["attempts"][1]["result"] == "done"
        assert (await client.get("/tasks/g/a%2Fb/runs/unknown")).status_code == 404
        assert (await client.get(f"/tasks/g/other/runs/{run}")).status_code == 404


async def _live_shows(client: httpx.AsyncClient, path: str, **fields: Any) -> bool:
    live = (await answer(client, "GET", path))["live"] or {}
    return {name: live.get(name) for name in fields} == fields


async def test_the_cluster_shows_its_processes_its_leader_and_its_store(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    group.add_task(YEARLY, name="n")(lambda: None)
    app, manager = build(group, backend=open_backend, worker_service_name="shop")
    async with serving(app) as client:
        await wait_until_async(partial(_leads, manager), "the process leads")
        await wait_until_async(partial(_announced, client), "the process is announced")
        found = await answer(client, "GET", "/cluster")
        [node] = found["nodes"]
        worker = (await manager.health_check()).worker_id
        assert (node["node"], node["service"], node["is_leader"], node["tasks"]) == (worker, "shop", True, 1)
        assert (node["roles"], node["queues"]) == (["execute", "schedule"], None)
        assert found["leader"]["node"] == worker
        assert found["leader"]["token"] > 0
        assert 0 < found["leader"]["remaining"] <= 0.9
        assert (found["queued"], found["unreadable"]) == (0, [])
        assert found["first_due"].endswith("-01-01T00:00:00Z")
        assert found["store"]["durable"] is (found["store"]["name"] != "memory")


async def _leads(manager: TaskManager) -> bool:
    return (await manager.health_check()).is_leader


async def _announced(client: httpx.AsyncClient) -> bool:
    nodes = (await answer(client, "GET", "/cluster"))["nodes"]
    return [node["tasks"] for node in nodes] == [1]


async def test_without_the_store_a_run_and_the_cluster_are_503() -> None:
    store = SwitchedStore()
    group = TaskGroup("g")
    group.add_task(YEARLY, name="n")(lambda: None)
    app, _ = build(group, backend=store.open)
    async with serving(app) as client:
        store.link = Link.DOWN
        for path in ("/cluster", "/tasks/g/n/runs/r", "/tasks/g/n/explain?at=2026-01-01T00:00:00Z"):
            assert (await client.get(path)).status_code == 503
        store.link = Link.UP
