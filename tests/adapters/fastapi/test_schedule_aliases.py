"""`@every` and `@reboot` stand in the place of a cron expression."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fastapi_task_manager import InvalidCron, InvalidPolicy, TaskGroup
from task_manager_core.domain.events import RunSettled
from task_manager_core.ports import OpenBackend
from tests.adapters.fastapi.application import answer
from tests.adapters.fastapi.attempts import application
from tests.waiting import wait_until_async


async def job() -> None: ...


@pytest.mark.parametrize(
    ("written", "length"),
    [
        ("@every 90s", timedelta(seconds=90)),
        ("@every 1h30m", timedelta(hours=1, minutes=30)),
        ("@every 2d", timedelta(days=2)),
        ("@every 1.5s", timedelta(seconds=1.5)),
        ("  @EVERY   1d2h3m4s ", timedelta(days=1, hours=2, minutes=3, seconds=4)),
    ],
)
def test_every_is_an_interval(written: str, length: timedelta) -> None:
    group = TaskGroup("g")
    group.add_task(written, name="alias")(job)
    group.add_task(name="plain", interval=length)(job)
    alias, plain = group.tasks
    assert alias.options == plain.options
    assert alias.expression == plain.expression == f"every {length.total_seconds():g}s"


def test_every_takes_the_options_of_an_interval_and_a_list_of_them_makes_several_tasks() -> None:
    group = TaskGroup("g")
    group.add_task(["@every 60s", "0 6 * * *"], phase=None)(job)
    assert [(task.name, task.expression) for task in group.tasks] == [("job__1", "every 60s"), ("job__2", "0 6 * * *")]
    group.add_task("@every 60s", name="shifted", phase=5)(job)
    assert group.tasks[-1].expression == "every 60s from +5s"


@pytest.mark.parametrize(
    ("declare", "error", "said"),
    [
        (lambda g: g.add_task("@every"), InvalidCron, "write @every and a length"),
        (lambda g: g.add_task("@every soon"), InvalidCron, "write @every and a length"),
        (lambda g: g.add_task("@every 5"), InvalidCron, "write @every and a length"),
        (lambda g: g.add_task("@every 5m30h"), InvalidCron, "write @every and a length"),
        (lambda g: g.add_task("@everything 5m"), InvalidCron, "write @every and a length"),
        (lambda g: g.add_task("@reboots"), InvalidCron, "write @every and a length"),
        (lambda g: g.add_task("@every 999999999d"), InvalidPolicy, "interval=86399999913600.0: must be at most"),
        (lambda g: g.add_task("@every 0s"), InvalidPolicy, "interval"),
        (lambda g: g.add_task(("@every 5m", "0 6 * * *")), InvalidCron, "@every is a whole schedule and stands alone"),
        (lambda g: g.add_task("@reboot", interval=5), InvalidCron, "@reboot is a whole schedule and stands alone"),
        (lambda g: g.add_task("@every 5m", timezone="Europe/Rome"), InvalidPolicy, "timezone"),
    ],
)
def test_a_text_that_is_no_alias_is_refused_and_nothing_stays(
    declare: Callable[[TaskGroup], Callable[[Any], Any]], error: type[Exception], said: str
) -> None:
    group = TaskGroup("g")
    with pytest.raises(error) as refused:
        declare(group)(job)
    assert said in str(refused.value)
    assert (group.tasks, group.function_registry) == ([], {})


async def test_reboot_runs_once_when_the_store_first_gets_the_task(open_backend: OpenBackend) -> None:
    calls: list[int] = []
    group = TaskGroup("g")

    @group.add_task("@reboot")
    async def build_index() -> None:
        calls.append(1)

    assert group.tasks[0].expression == "@reboot"
    async with application(group, backend=open_backend) as served:
        await served.settled()
        (task,) = await answer(served.client, "GET", "/tasks")
        assert (task["expression"], task["next_run"]) == ("@reboot", None)
    other = TaskGroup("g")
    other.add_task("@reboot", name="build_index")(build_index)
    other.add_task("@every 1s", name="later")(job)
    async with application(other, backend=open_backend) as served:
        await wait_until_async(lambda: len(served.events.of(RunSettled)) >= 1, "another task has run")
        runs = (await answer(served.client, "GET", "/tasks/g/build_index/statistics"))["runs"]
    assert len(calls) == len(runs) == 1


async def test_a_request_may_give_the_aliases_too() -> None:
    group = TaskGroup("g")
    group.register_function()(job)
    body = {"task_group_name": "g", "function_name": "job", "name": "n"}
    async with application(group) as served:
        made = await answer(served.client, "POST", "/tasks", json={**body, "cron_expression": "@every 1h"})
        assert made["cron_expression"] == "every 3600s"
        refused = await served.client.put("/tasks/g/n", json={"cron_expression": "@every now"})
        assert (refused.status_code, refused.json()["field"]) == (400, "cron_expression")
        made = await answer(served.client, "POST", "/tasks", json={**body, "name": "m", "cron_expression": "@reboot"})
        assert made["cron_expression"] == "@reboot"
        await served.settled()
        shown = {task["name"]: task["expression"] for task in await answer(served.client, "GET", "/tasks")}
        assert shown == {"n": "every 3600s", "m": "@reboot"}
