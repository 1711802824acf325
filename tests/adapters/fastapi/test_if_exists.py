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
from tests.adapters.fastapi.application import build, serving
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
