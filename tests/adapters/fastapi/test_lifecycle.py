"""Start, stop and health of a manager, also while its store is unreachable."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from dependency_injector import providers
from fastapi import FastAPI

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from fastapi_task_manager.container import Container, SystemClock
from task_manager_core.application.control import Selection
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import RunState
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import QUICK, build, client_of, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore
from tests.waiting import wait_until_async


async def test_the_manager_keeps_the_lifespan_that_the_application_has() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, str]]:
        events.append("application starts")
        yield {"state": "kept"}
        events.append(f"application stops, manager runs: {manager.is_running}")

    app = FastAPI(lifespan=lifespan)
    manager = TaskManager(app, OperationalConfig(**QUICK), backend=MemoryStore().open)
    async with app.router.lifespan_context(app) as state:
        events.append(f"manager runs: {manager.is_running}")
        assert state == {"state": "kept"}
    assert events == ["application starts", "manager runs: True", "application stops, manager runs: False"]


async def test_a_manager_may_join_an_application_later_and_twice() -> None:
    app = FastAPI()
    manager = TaskManager(config=OperationalConfig(**QUICK), backend=MemoryStore().open)
    manager.append_to_app_lifecycle(app)
    manager.append_to_app_lifecycle(app)
    async with app.router.lifespan_context(app):
        assert manager.is_running
    assert not manager.is_running


async def test_several_managers_share_an_application() -> None:
    app = FastAPI()
    managers = [
        TaskManager(app, OperationalConfig(**QUICK, redis_key_prefix=name), backend=MemoryStore().open) for name in "ab"
    ]
    async with app.router.lifespan_context(app):
        assert [manager.is_running for manager in managers] == [True, True]


async def test_start_and_stop_are_idempotent_and_need_no_application() -> None:
    manager = TaskManager(config=OperationalConfig(**QUICK), backend=MemoryStore().open)
    await manager.stop()
    await manager.start()
    first = (await manager.health_check()).worker_id
    await manager.start()
    assert (await manager.health_check()).worker_id == first
    await manager.stop()
    await manager.stop()
    assert not manager.is_running
    assert (await manager.health_check()).reason == "stopped"


async def test_every_start_has_its_own_node_identity_and_shows_the_service_name() -> None:
    manager = TaskManager(config=OperationalConfig(**QUICK, worker_service_name="billing"), backend=MemoryStore().open)
    seen: set[str | None] = set()
    for _ in range(2):
        await manager.start()
        health = await manager.health_check()
        seen.add(health.worker_id)
        assert health.worker_id is not None
        assert health.worker_id.startswith("billing@")
        assert str(os.getpid()) in health.worker_id
        assert health.worker_started_at is not None
        await manager.stop()
    assert len(seen) == 2


async def test_health_over_http_before_during_and_after_a_run_of_the_manager() -> None:
    app, manager = build()
    async with client_of(app) as client:
        before = await client.get("/health")
        await manager.start()
        await wait_until_async(manager.is_healthy, "healthy")
        during = await client.get("/health")
        await manager.stop()
        after = await client.get("/health")
    assert [before.status_code, during.status_code, after.status_code] == [503, 200, 503]
    assert during.json()["status"] == "healthy"
    assert during.json()["redis_connected"] is True
    assert (before.json()["status"], before.json()["redis_connected"]) == ("unhealthy", False)
    assert after.json()["reason"] == "stopped"


async def test_the_first_request_after_the_start_sees_the_tasks_and_a_leader() -> None:
    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="n")(lambda: None)
    app, _ = build(group)
    async with serving(app) as client:
        assert [task["name"] for task in (await client.get("/tasks")).json()] == ["n"]
        await wait_until_async(lambda: _leads(client), "the only process leads")


async def _leads(client: object) -> bool:
    response = await client.get("/health")  # type: ignore[attr-defined]  # a client
    return bool(response.json()["is_leader"])


async def test_the_application_starts_without_its_store_and_schedules_once_the_store_answers() -> None:
    store = SwitchedStore(Link.DOWN)
    ran = asyncio.Event()
    group = TaskGroup("g")
    group.add_task("* * * * * *", name="n")(_setter(ran))
    app, manager = build(group, backend=store.open)
    async with serving(app) as client:
        response = await client.get("/health")
        assert response.status_code == 503
        assert "connection refused" in response.json()["reason"]
        assert manager.is_running
        assert not await manager.is_healthy()
        store.link = Link.UP
        await wait_until_async(manager.is_healthy, "healthy again")
        await wait_until_async(ran.is_set, "the task runs")


@pytest.mark.parametrize("line", [Link.DOWN, Link.SILENT])
async def test_start_timeout_makes_the_start_fail_with_the_reason(line: Link) -> None:
    app, manager = build(backend=SwitchedStore(line).open, start_timeout=0.2)
    with pytest.raises(RuntimeError, match=r"start_timeout=0\.2 s: ") as caught:
        async with app.router.lifespan_context(app):
            pytest.fail("the application has started")
    assert isinstance(caught.value, BackendUnavailable)
    assert not manager.is_running


async def test_a_broken_store_is_unhealthy_and_never_an_exception() -> None:
    store = SwitchedStore()
    app, manager = build(backend=store.open)
    async with serving(app) as client:
        store.link = Link.BROKEN
        response = await client.get("/health")
        assert response.status_code == 503
        assert "a bug in the store" in response.json()["reason"]
        store.link = Link.UP
        await wait_until_async(manager.is_healthy, "healthy again")


async def test_a_store_that_answers_but_keeps_nothing_is_unhealthy() -> None:
    store = SwitchedStore()
    app, manager = build(backend=store.open)
    async with serving(app):
        await wait_until_async(manager.is_healthy, "healthy")
        store.link = Link.FULL

        async def failing() -> bool:
            health = await manager.health_check()
            return health.redis_connected and "elector" in (health.reason or "")

        await wait_until_async(failing, "health names the failing service")
        store.link = Link.UP
        await wait_until_async(manager.is_healthy, "healthy again")


async def test_the_process_ends_although_its_store_vanished() -> None:
    store = SwitchedStore()
    app, manager = build(backend=store.open)
    async with app.router.lifespan_context(app):
        store.link = Link.DOWN
        began = time.monotonic()
    assert time.monotonic() - began < 15
    assert not manager.is_running


async def _stops_cleanly(stop: Callable[[TaskManager, asyncio.Event], Awaitable[None]]) -> None:
    """Check that the stop leaves no task of the node, and that another node can claim its run."""
    store, started = MemoryStore(), asyncio.Event()
    group = TaskGroup("g")
    manager = TaskManager(config=OperationalConfig(**QUICK), backend=store.open)

    @group.add_task("0 0 1 1 *", name="n", allow_parallel=False)
    async def stopping() -> None:
        await stop(manager, started)

    manager.add_task_group(group)
    others = asyncio.all_tasks()
    await manager.start()
    await manager.control.trigger([TaskKey("g", "n")], "request")
    await wait_until_async(started.is_set, "the task runs")
    await wait_until_async(lambda: asyncio.all_tasks() <= others, "no task of the node is left", 15)
    async with store.open(clock=SystemClock(), retention=Retention()) as backend:
        snapshot = await backend.history.snapshot()
    assert [run.state for view in snapshot.tasks for run in view.live] == [RunState.QUEUED]
    assert (snapshot.nodes, snapshot.term) == ((), None)
    assert not manager.is_running


async def test_a_task_may_stop_its_own_manager() -> None:
    async def stop(manager: TaskManager, started: asyncio.Event) -> None:
        started.set()
        await manager.stop()

    await _stops_cleanly(stop)


async def test_a_cancelled_stop_is_forced_and_completes() -> None:
    async def stop(manager: TaskManager, started: asyncio.Event) -> None:
        stopping = asyncio.create_task(manager.stop())
        await wait_until_async(lambda: not manager.is_running, "the stop has begun")
        started.set()
        stopping.cancel()
        await asyncio.Event().wait()

    await _stops_cleanly(stop)


async def test_a_test_may_override_a_part_of_the_container() -> None:
    class Stopped(SystemClock):
        def now(self) -> datetime:
            return datetime(2030, 1, 1, tzinfo=UTC)

    group = TaskGroup("g")
    group.add_task("0 0 * * *", name="n")(lambda: None)
    app, _ = build(group)
    with Container.clock.override(providers.Object(Stopped())):
        async with serving(app) as client:
            (task,) = (await client.get("/tasks")).json()
            assert task["next_run"] == "2030-01-02T00:00:00Z"
            assert (await client.get("/health")).json()["worker_started_at"] == "2030-01-01T00:00:00Z"
            preview = await client.post("/schedules/preview", json={"cron_expression": "0 0 * * *", "count": 1})
            for answer in (await client.get("/tasks/g/n/upcoming?count=1"), preview):
                assert [slot["utc"] for slot in answer.json()["upcoming"]] == ["2030-01-02T00:00:00Z"]
    assert isinstance(Container.clock(), SystemClock)
    assert not isinstance(Container.clock(), Stopped)


async def test_dynamic_tasks_of_code_survive_a_restart_on_a_store_that_lost_its_data() -> None:
    group = TaskGroup("g")
    group.register_function("f")(lambda: None)
    group.add_dynamic_task("f", "0 0 * * *", name="before the start")
    _, manager = build(group)
    for _ in range(2):
        await manager.start()
        await wait_until_async(lambda: len(_stored(manager)) == 1, "written")
        await manager.stop()


async def test_a_dynamic_task_that_another_process_removed_is_not_written_again() -> None:
    store = SwitchedStore()
    group = TaskGroup("g")
    group.register_function("f")(lambda: None)
    group.add_dynamic_task("f", "0 0 * * *", name="n")
    _, manager = build(group, backend=store.open)
    twin_group = TaskGroup("g")
    _, twin = build(twin_group, backend=store.open)
    await manager.start()
    await twin.start()
    await wait_until_async(lambda: [task.name for task in twin_group.tasks] == ["n"], "known to the other process")
    await twin.remove_dynamic_task("g", "n")
    await wait_until_async(lambda: group.tasks == [], "this process sees the removal too")
    assert _stored(manager) == set()
    await manager.stop()
    await twin.stop()


def _setter(event: asyncio.Event) -> Callable[[], None]:
    """A task that sets the event. It is synchronous, so it runs in a thread."""
    loop = asyncio.get_running_loop()

    def task() -> None:
        loop.call_soon_threadsafe(event.set)

    return task


def _stored(manager: TaskManager) -> set[str]:
    return {stored.definition.key.name for stored in manager.control.select(Selection())}


async def test_a_running_manager_refuses_a_second_event_loop() -> None:
    """The queue and the locks belong to the first loop. The second application would wait for them for ever."""
    app, other = FastAPI(), FastAPI()
    manager = TaskManager(app, OperationalConfig(**QUICK), backend=MemoryStore().open)
    manager.append_to_app_lifecycle(other)

    async def serve_other() -> None:
        async with other.router.lifespan_context(other):
            pass

    async with app.router.lifespan_context(app):
        with pytest.raises(RuntimeError, match="runs in another event loop"):
            await asyncio.to_thread(asyncio.run, serve_other())
        assert manager.is_running
    assert not manager.is_running
    await asyncio.to_thread(asyncio.run, serve_other())
