"""GET /agenda: every slot of the time that was asked for is counted, within a budget."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from fastapi_task_manager import TaskGroup
from fastapi_task_manager.api import agenda as agenda_module
from fastapi_task_manager.api import limiter as limiter_module
from tests.adapters.fastapi.application import answer, build, serving

DAY = {"from": "2026-10-25T00:00:00Z", "to": "2026-10-26T00:00:00Z"}


async def _nothing() -> None:
    """A task that never runs here."""


def _group() -> TaskGroup:
    group = TaskGroup("g", tags=["tagged"])
    for name, expression in (("a", "0 */6 * * *"), ("b", "0 */6 * * *"), ("c", "30 2 * * *")):
        group.add_task(expression, name=name, timezone="Europe/Rome" if name == "c" else "UTC")(_nothing)
    group.add_task(interval=3600.0, phase=60.0, name="d")(_nothing)
    group.add_task(name="e")(_nothing)
    return group


async def test_every_slot_of_a_day_is_counted_and_listed_in_order() -> None:
    app, _ = build(_group())
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/disable", params={"task_name": "a"})
        found = await answer(client, "GET", "/agenda", params={**DAY, "bucket": 21600})
        assert (found["start"], found["end"], found["stopped_at"]) == (DAY["from"], DAY["to"], None)
        assert found["count"] == 4 + 4 + 1 + 24 == len(found["slots"])
        assert [bucket["count"] for bucket in found["buckets"]] == [9, 8, 8, 8]
        instants = [slot["slot"] for slot in found["slots"]]
        assert instants == sorted(instants)
        assert [slot["task_name"] for slot in found["slots"][:4]] == ["a", "b", "d", "c"]
        [fold] = [slot for slot in found["slots"] if slot["task_name"] == "c"]
        assert fold["local"] == "2026-10-25T02:30:00+02:00"
        assert fold["note"] == "02:30 happens twice on this day: the first pass"


async def test_an_agenda_has_filters_and_defaults() -> None:
    app, _ = build(_group())
    async with serving(app) as client:
        found = await answer(client, "GET", "/agenda", params={"name": "d"})
        assert datetime.fromisoformat(found["end"]) - datetime.fromisoformat(found["start"]) == timedelta(days=1)
        assert (found["bucket"], found["count"]) == (900.0, 24)
        assert (await answer(client, "GET", "/agenda", params={**DAY, "tag": "other"}))["count"] == 0


@pytest.mark.parametrize("steps", [1, 10, 40, 60])
async def test_a_search_that_stopped_says_how_far_it_came_and_goes_on_from_there(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = build(_group())
    async with serving(app) as client:
        whole = await answer(client, "GET", "/agenda", params=DAY)
        monkeypatch.setattr(agenda_module, "MOST_STEPS", steps)
        first = await answer(client, "GET", "/agenda", params=DAY)
        assert first["stopped_at"] is not None
        monkeypatch.undo()
        rest = await answer(client, "GET", "/agenda", params={**DAY, "from": first["stopped_at"]})
        assert first["slots"] + rest["slots"] == whole["slots"]
        assert first["count"] + rest["count"] == whole["count"]


async def test_the_slots_that_are_not_listed_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda_module, "MOST_SLOTS", 3)
    app, _ = build(_group())
    async with serving(app) as client:
        found = await answer(client, "GET", "/agenda", params=DAY)
        assert (len(found["slots"]), found["count"]) == (3, 33)


async def test_the_event_loop_runs_other_work_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "SLICE_SECONDS", 0.0)
    app, _ = build(_group())
    async with serving(app) as client:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        before = turns
        await answer(client, "GET", "/agenda", params=DAY)
        assert turns - before >= 33
        counting.cancel()


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"to": "2026-10-25T00:00:00Z"}, "to"),
        ({"to": "2026-11-30T00:00:00Z"}, "to"),
        ({"from": "2026-10-25T00:00:00"}, "from"),
        ({"from": "9999-10-25T00:00:00Z"}, "from"),
        ({"bucket": 59}, "bucket"),
        ({"bucket": 60}, "bucket"),
        ({"bucket": 10**12}, "bucket"),
        ({"bucket": -1}, "bucket"),
    ],
)
async def test_a_value_out_of_bounds_is_a_400_that_names_it(parameters: dict[str, Any], field: str) -> None:
    app, _ = build(_group())
    async with serving(app) as client:
        refused = await client.get("/agenda", params={**DAY, **parameters})
        assert (refused.status_code, refused.json()["field"]) == (400, field)
