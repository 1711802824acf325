"""A group lists the tasks in the store, even if requests overlap. A name is taken if the store has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import httpx
import pytest

from fastapi_task_manager import Config, TaskGroup
from fastapi_task_manager.config import configured_backend
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Clock, OpenBackend
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import QUICK, answer, build, serving
from tests.waiting import wait_until_async

YEARLY = "0 0 1 1 *"
NAMES = [f"n{number}" for number in range(25)]
AT_ONCE = 5
"""Names whose requests overlap. Many more would have to wait longer than a request may, on a busy machine."""


class FarStore:
    """A memory store behind a slow link: every request and every answer takes some time."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._random = Random(7)

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        async with self._store.open(clock=clock, retention=retention) as backend:
            catalogue: Any = _SlowPort(backend.catalogue, self._random)
            yield replace(backend, catalogue=catalogue)


class _SlowPort:
    def __init__(self, port: object, random: Random) -> None:
        self._port = port
        self._random = random

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any) -> Any:
            await self._delay()
            found = await getattr(self._port, verb)(*args)
            await self._delay()
            return found

        return call

    async def _delay(self) -> None:
        for _ in range(self._random.randrange(8)):
            await asyncio.sleep(0)


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> OpenBackend:
    monkeypatch.setattr(
        "fastapi_task_manager.api.errors.STORE_SECONDS", 60.0
    )  # Many requests at once are slow on a small machine.
    if request.param == "memory":
        return FarStore().open
    url = request.getfixturevalue("redis_url")
    return configured_backend(Config.model_validate({"redis_host": url, **QUICK}))


def _group() -> TaskGroup:
    group = TaskGroup("g")

    @group.register_function()
    async def greet(recipient: str = "world") -> None:
        """Does nothing."""

    return group


async def _disagreements(client: httpx.AsyncClient, group: TaskGroup) -> dict[str, tuple[bool, bool, int]]:
    """The names on which the store, the group and a new request disagree."""
    held = {task["name"] for task in await answer(client, "GET", "/tasks")}
    listed = {task.name for task in group.tasks}
    found: dict[str, tuple[bool, bool, int]] = {}
    for name in NAMES:
        status = (await _post(client, name)).status_code
        if (name in held, name in listed) not in {(True, True), (False, False)} or status != (
            409 if name in held else 200
        ):
            found[name] = (name in held, name in listed, status)
    return found


async def _post(client: httpx.AsyncClient, name: str) -> httpx.Response:
    body = {"task_group_name": "g", "function_name": "greet", "cron_expression": YEARLY, "name": name}
    return await client.post("/tasks", json=body)


async def test_requests_that_overlap_leave_no_name_that_only_the_group_or_only_the_store_knows(
    backend: OpenBackend,
) -> None:
    group = _group()
    app, _ = build(group, backend=backend)
    async with serving(app) as client:
        random = Random(11)
        for _ in range(3):
            for first in range(0, len(NAMES), AT_ONCE):
                some = NAMES[first : first + AT_ONCE]
                requests = [request for name in some for request in _of_one_name(client, name)]
                random.shuffle(requests)
                answers = await asyncio.gather(*requests)
                assert {response.status_code for response in answers} <= {200, 404, 409}
        assert await _disagreements(client, group) == {}


def _of_one_name(client: httpx.AsyncClient, name: str) -> list[Any]:
    where = {"task_group_name": "g", "task_name": name}
    return [
        _post(client, name),
        client.put(f"/tasks/g/{name}", json={"kwargs": {"recipient": "you"}}),
        client.put(f"/tasks/g/{name}", json={"description": "other"}),
        client.delete("/tasks", params=where),
        _post(client, name),
    ]


async def test_a_task_that_code_adds_is_listed_at_once_and_until_the_store_is_read_again(
    backend: OpenBackend,
) -> None:
    group = _group()
    group.add_task(YEARLY, name="static")(lambda: None)
    app, manager = build(group, backend=backend)
    async with serving(app) as client:
        for listed in (True, False, True):
            if listed:
                await asyncio.to_thread(group.add_dynamic_task, "greet", YEARLY, name="n")
            else:
                await asyncio.to_thread(group.remove_dynamic_task, "n")
            watching = asyncio.ensure_future(_watch(group, listed=listed))
            await wait_until_async(partial(_holds, client, listed=listed), "the store has the change")
            await manager.control.current(TaskKey("g", "static"))
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching


async def _watch(group: TaskGroup, *, listed: bool) -> None:
    while True:
        assert _lists(group) is listed
        await asyncio.sleep(0)


async def _holds(client: httpx.AsyncClient, *, listed: bool) -> bool:
    return ("n" in await _held(client)) is listed


def _lists(group: TaskGroup) -> bool:
    return "n" in [task.name for task in group.tasks]


async def _held(client: httpx.AsyncClient) -> set[str]:
    return {task["name"] for task in await answer(client, "GET", "/tasks")}


async def test_overlapping_requests_and_calls_of_code_leave_no_name_that_only_one_side_knows(
    backend: OpenBackend,
) -> None:
    group = _group()
    app, _ = build(group, backend=backend)

    def call(name: str) -> None:
        listed = {task.name for task in group.tasks}
        if name in listed:
            group.remove_dynamic_task(name)
        else:
            group.add_dynamic_task("greet", YEARLY, name=name)

    async def called(name: str) -> None:
        call(name)

    async with serving(app) as client:
        random = Random(13)
        for _ in range(3):
            steps = [step for name in NAMES for step in (*_of_one_name(client, name), called(name), called(name))]
            random.shuffle(steps)
            await asyncio.gather(*steps)
        await wait_until_async(lambda: _agree(client, group), "every call of code is written")
        assert await _disagreements(client, group) == {}


async def _agree(client: httpx.AsyncClient, group: TaskGroup) -> bool:
    return await _held(client) == {task.name for task in group.tasks}
