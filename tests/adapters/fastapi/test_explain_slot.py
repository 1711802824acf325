"""GET …/explain?at= and ?run_id= on both stores, and manager.explain_slot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fastapi_task_manager import TaskGroup
from task_manager_core.domain.explain_slot import SlotVerdict
from task_manager_core.ports import OpenBackend
from tests.adapters.fastapi.application import answer, build, serving
from tests.waiting import wait_until_async


async def test_a_skipped_slot_and_a_run_are_explained_from_the_records(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    group.add_task("* * * * * *", name="each")(lambda: None)
    app, manager = build(group, backend=open_backend)
    async with serving(app) as client:

        async def shown(what: str) -> Any:
            return (await answer(client, "GET", "/tasks/g/each/statistics"))[what]

        async def found(what: str) -> bool:
            return bool(await shown(what))

        await wait_until_async(lambda: found("runs"), "a slot has run")
        [*_, run] = await shown("runs")
        ran = await answer(client, "GET", "/tasks/g/each/explain", params={"at": run["slot"]})
        assert (ran["verdict"], ran["slot"], ran["run_id"]) == ("dispatched", run["slot"], run["run_id"])
        assert [reason["code"] for reason in ran["reasons"]] == ["attempt"]
        of_run = await answer(client, "GET", "/tasks/g/each/explain", params={"run_id": run["run_id"]})
        assert (of_run["reasons"], of_run["run_id"]) == (ran["reasons"], run["run_id"])
        await answer(client, "POST", "/tasks/disable", params={"task_name": "each"})
        await wait_until_async(lambda: found("skipped"), "a slot was skipped")
        [*_, skip] = await shown("skipped")
        skipped = await answer(client, "GET", "/tasks/g/each/explain", params={"at": skip["first"]})
        assert (skipped["verdict"], skipped["run_id"]) == ("skipped", None)
        assert "paused: the task was disabled" in skipped["reasons"][0]["text"]
        slot = datetime.fromisoformat(skip["first"])
        assert (await manager.explain_slot("g", "each", slot)).verdict is SlotVerdict.SKIPPED


@pytest.mark.parametrize(
    ("parameters", "status", "field"),
    [
        ({"at": "2026-03-02T05:00:00"}, 400, "at"),
        ({"at": "9999-03-02T05:00:00Z"}, 400, "at"),
        ({"at": "2026-03-02T05:00:00Z", "run_id": "r"}, 400, "run_id"),
        ({"run_id": "unknown"}, 404, None),
        ({"at": "yesterday"}, 422, None),
    ],
)
async def test_what_cannot_be_explained_is_refused(parameters: dict[str, str], status: int, field: str | None) -> None:
    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="n")(lambda: None)
    app, manager = build(group)
    async with serving(app) as client:
        refused = await client.get("/tasks/g/n/explain", params=parameters)
        assert (refused.status_code, refused.json().get("field")) == (status, field)
        explained = await manager.explain_slot("g", "n", datetime(2027, 1, 1, tzinfo=UTC))
        assert explained.verdict is SlotVerdict.PLANNED
