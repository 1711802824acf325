"""Names that look like other names: a new definition is refused, but a stored task stays visible."""

from __future__ import annotations

from typing import Any

import pytest

from fastapi_task_manager import TaskGroup
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import first_slot
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import DefinitionWrite
from task_manager_core.testing import ManualClock
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import answer, build, serving
from tests.waiting import wait_until_async

UNCLEAR = ["clean\u200bup", "cleanup ", "\u202ecleanup", "\u3164"]


async def _nothing() -> None:
    """A task. The tests use only its name."""


@pytest.mark.parametrize("name", UNCLEAR)
def test_code_cannot_define_a_name_that_looks_like_another(name: str) -> None:
    group = TaskGroup("g")
    group.register_function("f")(_nothing)
    for define in (
        lambda: TaskGroup(name),
        lambda: TaskGroup("g", tags=[name]),
        lambda: group.add_task("* * * * *", name=name)(_nothing),
        lambda: group.add_task("* * * * *", name="n", tags=[name])(_nothing),
        lambda: group.register_function(name)(_nothing),
        lambda: group.add_dynamic_task("f", "* * * * *", name=name),
        lambda: group.add_dynamic_task("f", "* * * * *", tags=[name]),
    ):
        with pytest.raises(RuntimeError, match="a name has no"):
            define()
    assert (group.tasks, list(group.function_registry)) == ([], ["f"])


def test_a_function_with_such_a_name_needs_another_name() -> None:
    async def job() -> None:
        """A decorator, for example, can set such a name."""

    job.__name__ = "job\u200b"
    with pytest.raises(RuntimeError, match="a name has no format characters"):
        TaskGroup("g").add_task("* * * * *")(job)
    TaskGroup("g").add_task("* * * * *", name="job", register=False)


@pytest.mark.parametrize("name", UNCLEAR)
async def test_a_request_cannot_define_a_name_that_looks_like_another(name: str) -> None:
    group = TaskGroup("g")
    group.register_function("f")(_nothing)
    app, _ = build(group)
    body = {"task_group_name": "g", "function_name": "f", "cron_expression": "0 0 1 1 *"}
    async with serving(app) as client:
        for field, value in (("name", name), ("tags", [name])):
            refused = await client.post("/tasks", json=body | {field: value})
            assert (refused.status_code, refused.json()["field"]) == (400, field)
        await answer(client, "POST", "/tasks", json=body | {"name": "n"})
        refused = await client.put("/tasks/g/n", json={"tags": [name]})
        assert (refused.status_code, refused.json()["field"]) == (400, "tags")
        assert [(task["name"], task["tags"]) for task in await answer(client, "GET", "/tasks")] == [("n", [])]


async def test_a_task_that_an_older_version_stored_is_shown_runs_and_can_be_changed_and_removed() -> None:
    store = MemoryStore()
    async with store.open(clock=(clock := ManualClock()), retention=Retention()) as backend:
        for name in UNCLEAR:
            task = TaskDefinition(
                key=TaskKey("g", name), schedule=Schedule.cron("0 0 1 1 *"), function="f", tags=(name,), dynamic=True
            )
            plan = first_slot(task, clock.now())
            await backend.catalogue.put([DefinitionWrite(definition=task, expected=0, replan=True, next_slot=plan)])
    ran: list[int] = []
    group = TaskGroup("g")
    group.register_function("f")(lambda: ran.append(1))
    app, _ = build(group, backend=store.open)
    async with serving(app) as client:
        listed: Any = await answer(client, "GET", "/tasks")
        assert sorted(task["name"] for task in listed) == sorted(UNCLEAR)
        assert sorted(task.name for task in group.tasks) == sorted(UNCLEAR)
        for name in UNCLEAR:
            selected = {"task_name": name, "tag": name}
            assert (await answer(client, "POST", "/tasks/trigger", params=selected))["count"] == 1
            assert (await answer(client, "POST", "/tasks/disable", params=selected))["count"] == 1
        await wait_until_async(lambda: len(ran) == len(UNCLEAR), "all have run")
        for name in UNCLEAR:
            await answer(client, "PUT", f"/tasks/g/{name}", json={"description": "kept its name"})
            (shown,) = await answer(client, "GET", "/tasks", params={"name": name})
            assert (shown["description"], shown["tags"]) == ("kept its name", [name])
            await answer(client, "DELETE", "/tasks", params={"task_group_name": "g", "task_name": name})
        assert await answer(client, "GET", "/tasks") == []
