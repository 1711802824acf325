"""Roles and queues of a process, as applications set and see them."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from fastapi_task_manager.coverage import CoverageWatch
from task_manager_core.domain.errors import InvalidPolicy
from task_manager_core.domain.run import RunState
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import answer, build, client_of, serving
from tests.waiting import wait_until_async


def nothing() -> None:
    """Does nothing."""


def group_with(**options: Any) -> TaskGroup:
    group = TaskGroup("Group")
    group.add_task("0 0 1 1 *", name="task", **options)(nothing)
    return group


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("schedule", ["schedule"]),
        ("schedule,execute", ["schedule", "execute"]),
        ("none", []),
        ('["execute"]', ["execute"]),
        ("", None),
    ],
)
def test_roles_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, roles: list[str] | None) -> None:
    monkeypatch.setenv("TASK_MANAGER_ROLES", text)
    assert OperationalConfig().roles == roles


@pytest.mark.parametrize(("text", "queues"), [("heavy", ["heavy"]), ("a, b,a", ["a", "b"]), ("all", None), ("", None)])
def test_queues_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, queues: list[str] | None) -> None:
    monkeypatch.setenv("TASK_MANAGER_QUEUES", text)
    assert OperationalConfig().queues == queues


def test_arguments_of_the_manager_replace_those_of_the_configuration() -> None:
    config = OperationalConfig(roles=["schedule"])
    manager = TaskManager(config=config, backend=MemoryStore().open, roles=["execute"], queues=["a", "b"])
    assert (manager.config.roles, manager.config.queues) == (["execute"], ["a", "b"])
    assert config.roles == ["schedule"]


def test_roles_and_queues_that_contradict_each_other_are_refused_with_both_names() -> None:
    with pytest.raises(ValidationError) as caught:
        TaskManager(backend=MemoryStore().open, roles=(), queues=["heavy"])
    assert "queues=['heavy']: contradicts roles=[]" in str(caught.value)
    with pytest.raises(ValidationError, match=r"roles=.*'schedule' or 'execute'"):
        TaskManager(backend=MemoryStore().open, roles=["lead"])  # type: ignore[list-item]  # a caller without types


def test_a_bad_name_of_a_queue_is_refused() -> None:
    with pytest.raises(InvalidPolicy, match="queue='a b'"):
        group_with(queue="a b")


# -- health ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("roles", [(), ("schedule",), ("execute",), ("schedule", "execute")])
async def test_health_says_the_roles_and_stays_true(roles: tuple[str, ...]) -> None:
    app, manager = build(group_with(), roles=roles, queues=("default",) if "execute" in roles else None)
    async with serving(app) as client:
        if "schedule" in roles:
            await wait_until_async(lambda: _leads(manager), "it leads")
        health = await answer(client, "GET", "/health")
        assert (health["status"], health["roles"]) == ("healthy", list(roles))
        assert health["is_leader"] == ("schedule" in roles)
        assert health["queues"] == (["default"] if "execute" in roles else None)
        assert manager.is_alive
        config = await answer(client, "GET", "/config")
        assert config["roles"] == list(roles)
    assert not manager.is_alive


def _leads(manager: TaskManager) -> bool:
    node = manager._lifecycle.node
    return node is not None and node.leads


async def test_work_that_no_process_does_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastapi.task-manager.runner")
    store = MemoryStore()
    web, manager = build(group_with(queue="heavy"), backend=store.open, roles=("schedule",))
    async with serving(web) as client:
        node = manager._lifecycle.running()
        watch = manager._lifecycle._runtime._coverage  # type: ignore[union-attr]
        assert isinstance(watch, CoverageWatch)
        await watch.look()
        await watch.look()
        told = "no living process serves the queue 'heavy': the runs of 1 task (Group/task) stay queued"
        assert (await answer(client, "GET", "/health"))["warnings"] == [told]
        assert [one.message for one in caplog.records if one.levelno == logging.WARNING] == [f"uncovered work: {told}"]
        reasons = (await answer(client, "GET", "/tasks/Group/task/explain"))["reasons"]
        assert ("no_worker", "no living process has the role execute: runs stay queued") in [
            (one["code"], one["text"]) for one in reasons
        ]
        worker, _ = build(group_with(queue="heavy"), backend=store.open, queues=("heavy", "havy"))
        async with serving(worker):
            await watch.look()
            assert watch.warnings == ()
            assert f"no longer uncovered: {told}" in [one.message for one in caplog.records]
        assert node.alive


async def test_a_queue_that_no_task_names_is_told() -> None:
    app, manager = build(group_with(queue="heavy"), queues=("heavy", "havy"))
    async with serving(app):
        watch = manager._lifecycle._runtime._coverage  # type: ignore[union-attr]
        assert isinstance(watch, CoverageWatch)
        await watch.look()
        assert watch.warnings == ("this process serves the queue 'havy', which no task names",)


# -- runs --------------------------------------------------------------------------------------------------------------


async def test_a_task_and_a_request_name_their_queue() -> None:
    store = MemoryStore()
    web, manager = build(group_with(queue="heavy"), backend=store.open, roles=("schedule",))
    worker, _ = build(group_with(queue="heavy"), backend=store.open, queues=("mail",))
    async with serving(web) as client, serving(worker):
        [task] = await answer(client, "GET", "/tasks")
        assert task["queue"] == "heavy"
        heavy = await manager.trigger(nothing)
        mail = await manager.with_options(queue="mail").trigger(nothing)
        assert await mail.wait(5) is RunState.SUCCEEDED
        assert await heavy.status() is RunState.QUEUED
        with pytest.raises(InvalidPolicy, match="queue='a,b'"):
            manager.with_options(queue="a,b")


async def test_a_dynamic_task_has_a_queue() -> None:
    group = TaskGroup("Group")
    group.register_function("work")(nothing)
    app, manager = build(group)
    async with serving(app) as client:
        made = {"task_group_name": "Group", "function_name": "work", "interval": 60, "name": "one", "queue": "heavy"}
        await answer(client, "POST", "/tasks", json=made)
        await answer(client, "PUT", "/tasks/Group/one", json={"description": "changed"})
        assert [task["queue"] for task in await answer(client, "GET", "/tasks")] == ["heavy"]
        task = await manager.change_dynamic_task("Group", "one", queue=None)
        assert task.options.queue == "default"
        response = await client.post("/tasks", json=made | {"queue": "a b", "name": "two"})
        assert (response.status_code, "queue" in response.text) == (400, True)


# -- draining ----------------------------------------------------------------------------------------------------------


async def test_a_drained_manager_takes_no_more_work_and_says_what_is_left() -> None:
    door = asyncio.Event()
    group = TaskGroup("Group")

    @group.add_task()
    async def work() -> None:
        await door.wait()

    app, manager = build(group)
    async with serving(app) as client:
        running = await manager.trigger(work)
        await wait_until_async(lambda: _executes(manager), "the run executes")
        [left] = await manager.drain(0.01)
        assert (left.run_id, left.task) == (running.run_id, ("Group", "work"))
        assert (await client.get("/health")).status_code == 503
        assert manager.is_alive
        queued = await manager.trigger(work)
        door.set()
        assert await manager.drain(timedelta(seconds=5)) == []
        assert await running.status() is RunState.SUCCEEDED
        assert await queued.status() is RunState.QUEUED
        with pytest.raises(InvalidPolicy, match="timeout"):
            await manager.drain(-1)
    with pytest.raises(RuntimeError):
        await manager.drain()


def _executes(manager: TaskManager) -> bool:
    return manager._lifecycle.running().worker.running > 0


async def test_a_disabled_manager_has_no_warnings() -> None:
    app = build(group_with(), enabled=False)[0]
    async with client_of(app) as client, app.router.lifespan_context(app):
        assert (await answer(client, "GET", "/health"))["warnings"] == []
