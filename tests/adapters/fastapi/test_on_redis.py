"""The same applications on a real Redis, which is the default store of a Config."""

from __future__ import annotations

import logging

import pytest
import redis
from fastapi import FastAPI

from fastapi_task_manager import Config, TaskGroup, TaskManager
from tests.adapters.fastapi.application import PREFIX, QUICK, answer, client_of, serving
from tests.redis_server import RedisServer
from tests.waiting import wait_until_async

WRONG = "hunter2"


def _application(url: str, calls: list[str], **settings: str) -> tuple[FastAPI, TaskManager]:
    app = FastAPI()
    manager = TaskManager(app=app, config=Config.model_validate({"redis_host": url, **QUICK, **settings}))
    group = TaskGroup("g")

    @group.register_function()
    async def greet(recipient: str = "world") -> None:
        calls.append(recipient)

    manager.add_task_group(group)
    app.include_router(manager.get_manager_router(), prefix=PREFIX)
    return app, manager


async def test_a_task_posted_at_one_process_runs_and_is_removed_at_the_other(redis_url: str) -> None:
    calls: list[str] = []
    body = {"task_group_name": "g", "function_name": "greet", "name": "a/ü {x}:_", "kwargs": {"recipient": "ü"}}
    one, _ = _application(redis_url, calls)
    two, _ = _application(redis_url, calls)
    async with serving(one) as first, serving(two) as second:
        await answer(first, "POST", "/tasks", json=body | {"cron_expression": "* * * * * *"})
        await wait_until_async(lambda: calls, "one process runs it")

        async def known(expected: int) -> bool:
            return len(await answer(second, "GET", "/tasks")) == expected

        await wait_until_async(lambda: known(1), "the other process lists it")
        await answer(second, "DELETE", "/tasks", params={"task_group_name": "g", "task_name": body["name"]})
        await wait_until_async(lambda: known(0), "it is removed")


async def test_everything_survives_a_restart(redis_url: str) -> None:
    for start in range(2):
        app, _ = _application(redis_url, [])
        async with serving(app) as client:
            if start == 0:
                body = {"task_group_name": "g", "function_name": "greet", "name": "n", "cron_expression": "0 0 1 1 *"}
                await answer(client, "POST", "/tasks", json=body)
                await answer(client, "POST", "/tasks/disable", params={"task_name": "n"})
            (task,) = await answer(client, "GET", "/tasks")
            assert (task["name"], task["is_active"]) == ("n", False)


async def test_applications_with_different_prefixes_share_nothing(redis_url: str) -> None:
    one, _ = _application(redis_url, [], redis_key_prefix="one")
    two, _ = _application(redis_url, [], redis_key_prefix="two")
    async with serving(one) as first, serving(two) as second:
        body = {"task_group_name": "g", "function_name": "greet", "name": "n", "cron_expression": "0 0 1 1 *"}
        await answer(first, "POST", "/tasks", json=body)
        assert await answer(second, "GET", "/tasks") == []


async def test_a_process_starts_and_works_together_with_one_of_a_later_release(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot read the values of the later release, not even while it leads. It logs one line for each value."""
    calls: list[str] = []
    app, _ = _application(redis_url, calls, redis_key_prefix="both")
    with redis.Redis.from_url(redis_url) as server:
        server.hset("{both}:presences", mapping={"text later": '{"v":2}', "digest later": "d"})
        server.zadd("{both}:nodes", {"later": 4_000_000_000_000})
        server.hset("{both}:task:g/later", mapping={"version": 1, "definition": '{"v":2}', "slot": 0, "due": 0})
        server.zadd("{both}:catalogue", {"g/later": 1})
        server.zadd("{both}:due", {"g/later": 0})
        server.lpush("{both}:attempts:g/later", '{"v":2}')
    async with serving(app) as client:
        body = {"task_group_name": "g", "function_name": "greet", "name": "n", "cron_expression": "* * * * * *"}
        await answer(client, "POST", "/tasks", json=body)
        await wait_until_async(lambda: len(calls) > 1, "slots run")
        assert (await answer(client, "GET", "/health"))["status"] == "healthy"
        assert [task["name"] for task in await answer(client, "GET", "/tasks")] == ["n"]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(set(lines)) == sorted(lines)
    assert [line.partition(" in the store")[0] for line in lines if "is skipped" in line] == ["the presence of later"]
    assert "g/later was defined by a newer version of this library: not scheduled here" in lines


async def test_a_wrong_password_makes_health_unhealthy_and_is_shown_nowhere(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app, manager = _application(redis_url, [], redis_password=WRONG)
    async with serving(app) as client:
        response = await client.get("/health")
        assert response.status_code == 503
        assert response.json()["redis_connected"] is False
        assert response.json()["reason"]
        refused = await client.get("/tasks")
        assert refused.status_code == 503
        assert WRONG not in response.text + refused.text + (await client.get("/config")).text
    assert WRONG not in caplog.text + repr(manager.config)


async def test_the_application_starts_before_its_redis(own_redis_server: RedisServer) -> None:
    own_redis_server.stop()
    app, manager = _application(own_redis_server.url, [])
    async with client_of(app) as client, app.router.lifespan_context(app):
        assert (await client.get("/health")).status_code == 503
        own_redis_server.start()
        await wait_until_async(manager.is_healthy, "healthy once Redis is there", timeout=20)
