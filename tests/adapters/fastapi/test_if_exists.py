"""What `add_dynamic_task` does with a name that exists, and how one-off tasks remove themselves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastapi_task_manager import DuplicateTask, InvalidPolicy, TaskGroup
from task_manager_core.application.control import Selection
from task_manager_core.domain.identity import TaskKey
from task_manager_core.ports import OpenBackend
from tests.adapters.fastapi.application import answer, build, serving
from tests.waiting import wait_until_async

IN_A_YEAR = "0 0 1 1 *"
IN_A_MONTH = "0 0 1 * *"


def reports() -> TaskGroup:
    group = TaskGroup("g")

    @group.register_function()
    async def report(to: str) -> None: ...

    @group.add_task(IN_A_YEAR, register=False)
    async def static() -> None: ...

    return group


async def test_a_name_that_exists_is_refused_kept_or_replaced(open_backend: OpenBackend) -> None:
    app, manager = build(reports(), backend=open_backend)
    async with serving(app):
        add: Any = manager.add_dynamic_task
        first = await add("g", "report", IN_A_YEAR, {"to": "ada"}, name="n", if_exists="keep")
        assert first.expression == IN_A_YEAR
        with pytest.raises(DuplicateTask):
            await add("g", "report", IN_A_MONTH, {"to": "bob"}, name="n")
        kept = await add("g", "report", IN_A_MONTH, {"to": "bob"}, name="n", if_exists="keep")
        assert (kept.expression, kept.kwargs, kept.version) == (IN_A_YEAR, {"to": "ada"}, first.version)
        await manager.control.pause([TaskKey("g", "n")])
        replaced = await add("g", "report", IN_A_MONTH, {"to": "bob"}, name="n", if_exists="replace")
        assert (replaced.expression, replaced.kwargs) == (IN_A_MONTH, {"to": "bob"})
        again = await add("g", "report", IN_A_MONTH, {"to": "bob"}, name="n", if_exists="replace")
        assert again.version == replaced.version
        explanation = await manager.explain("g", "n")
        assert any(reason.code.value == "disabled" for reason in explanation.reasons)
        with pytest.raises(InvalidPolicy) as caught:
            await add("g", "report", IN_A_MONTH, {"to": "bob"}, name="m", if_exists="maybe")
        assert caught.value.field == "if_exists"
        for word in ("keep", "replace"):
            with pytest.raises(DuplicateTask):
                await add("g", "report", IN_A_MONTH, {"to": "bob"}, name="static", if_exists=word)


async def test_the_body_of_a_request_says_what_becomes_of_a_name_that_exists(open_backend: OpenBackend) -> None:
    app, _ = build(reports(), backend=open_backend)
    body = {"task_group_name": "g", "function_name": "report", "name": "n", "cron_expression": IN_A_YEAR}

    async def post(status: int, **more: Any) -> Any:
        response = await client.post("/tasks", json=body | more)
        assert response.status_code == status, response.text
        return response.json()

    async with serving(app) as client:
        first = await post(200, kwargs={"to": "ada"}, if_exists="replace")
        assert first["kwargs"] == {"to": "ada"}
        for word in ({}, {"if_exists": "refuse"}):
            assert "already exists" in (await post(409, kwargs={"to": "bob"}, **word))["detail"]
        assert (await post(200, kwargs={"to": "bob"}, if_exists="keep"))["kwargs"] == {"to": "ada"}
        assert (await post(200, kwargs={"to": "bob"}, if_exists="replace"))["kwargs"] == {"to": "bob"}
        assert "already exists" in (await post(409, kwargs={"to": "bob"}, name="static", if_exists="replace"))["detail"]
        for wrong in ("maybe", None, 1, True):
            refused = await post(422, kwargs={"to": "eve"}, if_exists=wrong)
            assert "if_exists" in str(refused["detail"])
        refused = await post(400, kwargs={}, if_exists="replace")
        assert refused["field"] == "kwargs"
        (task,) = [one for one in await answer(client, "GET", "/tasks") if one["dynamic"]]
        assert task["kwargs"] == {"to": "bob"}


async def test_a_group_refuses_keeps_or_replaces_a_name_that_it_lists(open_backend: OpenBackend) -> None:
    group = reports()
    add: Any = group.add_dynamic_task

    def check(*, managed: bool) -> None:
        name = f"n{managed}"
        first = add("report", IN_A_YEAR, {"to": "ada"}, name=name, if_exists="keep")
        with pytest.raises(DuplicateTask):
            add("report", IN_A_MONTH, {"to": "bob"}, name=name)
        assert add("report", IN_A_MONTH, {"to": "bob"}, name=name, if_exists="keep") is first
        replaced = add("report", IN_A_MONTH, {"to": "bob"}, name=name, if_exists="replace")
        assert (replaced.expression, replaced.kwargs) == (IN_A_MONTH, {"to": "bob"})
        with pytest.raises(InvalidPolicy) as caught:
            add("report", IN_A_MONTH, {"to": "bob"}, name="m", if_exists="maybe")
        assert caught.value.field == "if_exists"
        for word in ("keep", "replace"):
            with pytest.raises(DuplicateTask):
                add("report", IN_A_MONTH, {"to": "bob"}, name="static", if_exists=word)
        assert {task.name: task.kwargs for task in group.tasks if task.dynamic}[name] == {"to": "bob"}

    check(managed=False)
    app, manager = build(group, backend=open_backend)
    check(managed=True)
    async with serving(app):

        async def stored(name: str) -> str | None:
            return (await manager.control.current(TaskKey("g", name))).definition.kwargs

        assert [await stored(name) for name in ("nFalse", "nTrue")] == ['{"to":"bob"}'] * 2
        add("report", IN_A_YEAR, {"to": "eve"}, name="nTrue", if_exists="replace")
        assert {task.name: task.kwargs for task in group.tasks if task.dynamic}["nTrue"] == {"to": "eve"}
        assert await stored("nTrue") == '{"to":"eve"}'


async def test_code_replaces_what_an_earlier_deploy_has_stored(open_backend: OpenBackend) -> None:
    """The task stays as it is without a word, and keeps its pause if it is replaced."""
    for expression, word, expected in (
        (IN_A_YEAR, None, IN_A_YEAR),
        (IN_A_MONTH, None, IN_A_YEAR),
        (IN_A_MONTH, "keep", IN_A_YEAR),
        (IN_A_MONTH, "replace", IN_A_MONTH),
        (IN_A_MONTH, "replace", IN_A_MONTH),
    ):
        group = reports()
        more: Any = {} if word is None else {"if_exists": word}
        group.add_dynamic_task("report", expression, {"to": "ada"}, name="n", **more)
        app, manager = build(group, backend=open_backend)
        async with serving(app) as client:
            current = await manager.control.current(TaskKey("g", "n"))
            assert current.definition.schedule.expression == expected
            (task,) = [one for one in await answer(client, "GET", "/tasks") if one["dynamic"]]
            assert (task["expression"], task["is_active"]) == (expected, expression == IN_A_YEAR)
            await answer(client, "POST", "/tasks/disable", params={"task_name": "n"})
            assert [one.expression for one in group.tasks if one.dynamic] == [expected]


async def test_reminders_leave_nothing_behind(open_backend: OpenBackend) -> None:
    app, manager = build(reports(), backend=open_backend, keep_ended_tasks=0)

    async def are_gone() -> bool:
        snapshot = await manager.control.list_tasks(manager.control.select(Selection(group="g")))
        return [status.view.key.name for status in snapshot[0]] == ["static"]

    async with serving(app):
        soon = datetime.now(UTC) + timedelta(milliseconds=300)
        for number in range(5):
            await manager.add_dynamic_task("g", "report", kwargs={"to": f"{number}"}, name=f"{number}", run_at=soon)
        assert not await are_gone()
        await wait_until_async(are_gone, "the reminders have removed themselves")


async def test_many_callers_replace_one_task_at_the_same_time(open_backend: OpenBackend) -> None:
    app, manager = build(reports(), backend=open_backend)
    async with serving(app):
        tasks = await asyncio.gather(
            *(
                manager.add_dynamic_task("g", "report", IN_A_YEAR, {"to": f"{n % 2}"}, name="n", if_exists="replace")
                for n in range(4)
            )
        )
        assert {task.name for task in tasks} == {"n"}
        current = await manager.control.current(TaskKey("g", "n"))
        assert current.definition.kwargs in ('{"to":"0"}', '{"to":"1"}')
