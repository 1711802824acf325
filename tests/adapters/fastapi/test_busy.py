"""Expensive requests stay within a budget, run in slices, and do not block the rest of the process."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Response

from fastapi_task_manager import TaskGroup
from fastapi_task_manager.api import errors, forecast, loop_lag
from fastapi_task_manager.api import limiter as limiter_module
from fastapi_task_manager.api.limiter import Limiter
from fastapi_task_manager.errors import ProcessBusyError
from fastapi_task_manager.schema.task import TaskDetailed, TaskStatistics
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.preview import upcoming
from task_manager_core.domain.schedule import Schedule
from task_manager_core.ports import Backend, Clock
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import answer, build, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore
from tests.waiting import wait_until_async

SPELLINGS = [
    f"{m} {h} {d} 1 *" for m in ("30", "030") for h in ("2", "02") for d in ("1", "01", "001", "0001", "00001")
]
"""Twenty expressions that all match the same instant of a year, so each slot takes twenty steps."""

START = datetime(1970, 1, 1, tzinfo=UTC)
DEAR = {"cron_expression": SPELLINGS, "timezone": "America/New_York", "start": START.isoformat(), "count": 1000}


def application(tasks: int = 1, **settings: Any) -> FastAPI:
    group = TaskGroup("g")
    for number in range(tasks):
        group.add_task("0 0 1 1 *", name=f"t{number:03}", kwargs={"number": number})(_nothing)
    return build(group, **settings)[0]


async def _nothing(number: int = 0) -> None:
    """A task that the tests list but never run."""


# -- previews ---------------------------------------------------------------------------------------------------------


async def test_a_preview_stops_at_its_budget_of_steps_and_reports_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecast, "LONGEST_SECONDS", math.inf)
    monkeypatch.setattr(forecast, "MOST_STEPS", 400)
    async with serving(application()) as client:
        first = await answer(client, "POST", "/schedules/preview", json=DEAR)
        assert first["stopped_at"] == first["upcoming"][-1]["utc"]
        assert len(first["upcoming"]) < 400 / len(SPELLINGS)
        second = await answer(client, "POST", "/schedules/preview", json=DEAR | {"start": first["stopped_at"]})
    found = [slot["utc"] for slot in (*first["upcoming"], *second["upcoming"])]
    once = upcoming(Schedule.cron(SPELLINGS[0], timezone="America/New_York"), START, len(found))
    assert found == [slot.slot.isoformat().replace("+00:00", "Z") for slot in once]


async def test_a_preview_stops_at_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(limiter_module, "SLICE_SECONDS", 0.0)
    async with serving(application()) as client:
        stopped = await answer(client, "POST", "/schedules/preview", json=DEAR)
        assert stopped == {"upcoming": [], "stopped_at": "1970-01-01T00:00:00Z"}
        assert (await answer(client, "GET", "/tasks/g/t000/upcoming", params={"count": 5}))["stopped_at"] is not None


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/5 * * * *", ["0 9 * * *", "30 17 * * mon-fri"]])
async def test_the_budget_of_steps_is_enough_for_usual_previews(
    expression: str | list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "LONGEST_SECONDS", math.inf)
    body = {"cron_expression": expression, "timezone": "Europe/Rome", "count": 1000}
    async with serving(application()) as client:
        shown = await answer(client, "POST", "/schedules/preview", json=body)
        assert (len(shown["upcoming"]), shown["stopped_at"]) == (1000, None)
        ended = await answer(client, "GET", "/tasks/g/t000/upcoming", params={"count": 3})
        assert (len(ended["upcoming"]), ended["stopped_at"]) == (3, None)


async def test_a_complete_preview_is_not_reported_as_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "LONGEST_SECONDS", math.inf)
    body = {"cron_expression": "0 0 1 1 *", "start": "9990-01-01T00:00:00Z", "count": 100}
    async with serving(application()) as client:
        shown = await answer(client, "POST", "/schedules/preview", json=body)
        assert (len(shown["upcoming"]), shown["stopped_at"]) == (8, None)


async def test_the_event_loop_runs_other_work_between_two_steps_of_a_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(forecast, "LONGEST_SECONDS", math.inf)
    monkeypatch.setattr(forecast, "MOST_STEPS", 200)
    async with serving(application()) as client, counting() as turns:
        before = turns()
        await answer(client, "POST", "/schedules/preview", json=DEAR)
        assert turns() - before >= 200


async def test_a_preview_above_the_limit_of_the_process_is_503_with_retry_after() -> None:
    async with serving(application()) as client:
        answers = await asyncio.gather(*(client.post("/schedules/preview", json=DEAR) for _ in range(120)))
        refused = [one for one in answers if one.status_code != 200]
        assert refused
        for one in refused:
            assert one.status_code == 503
            assert one.json()["detail"].startswith("this process is busy: ")
            assert int(one.headers["Retry-After"]) > 0
        assert (await client.get("/health")).status_code == 200


@asynccontextmanager
async def counting() -> AsyncGenerator[Callable[[], int]]:
    """Count the turns of the event loop."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    try:
        yield lambda: turns
    finally:
        turning.cancel()


# -- limiters ---------------------------------------------------------------------------------------------------------


async def test_a_limiter_admits_some_requests_queues_some_and_refuses_the_others() -> None:
    limiter, entered, leave = Limiter("things", width=2, waiting=1, patience=60), [0], asyncio.Event()

    async def visit() -> None:
        async with limiter.admit():
            entered[0] += 1
            await leave.wait()

    visits = [asyncio.create_task(visit()) for _ in range(3)]
    await wait_until_async(lambda: entered[0] == 2, "the limiter has admitted two")
    with pytest.raises(ProcessBusyError, match="1 requests wait for things, 2 at a time"):
        await visit()
    leave.set()
    await asyncio.gather(*visits)
    assert entered == [3]


async def test_a_wait_for_the_limiter_ends_after_its_timeout() -> None:
    limiter = Limiter("things", width=1, waiting=1, patience=0.01)
    async with limiter.admit():
        with pytest.raises(ProcessBusyError):
            async with limiter.admit():
                pass
    async with limiter.admit():
        pass


def test_a_limiter_serves_one_event_loop_after_the_other() -> None:
    limiter = Limiter("things", width=1, waiting=5, patience=60)

    async def visit() -> None:
        async with limiter.admit():
            await limiter.run_slice(lambda _: None)

    async def visits() -> None:
        await asyncio.gather(visit(), visit(), visit())

    asyncio.run(visits())
    asyncio.run(visits())


# -- lists ------------------------------------------------------------------------------------------------------------


class Gated:
    """A memory store that counts its snapshots and delays each until the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.snapshots = 0

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        async with MemoryStore().open(clock=clock, retention=retention) as backend:
            gated, history = self, backend.history

            class GatedHistory:
                def __getattr__(self, verb: str) -> Any:
                    return getattr(history, verb)

                async def snapshot(self, keys: Any = None) -> Snapshot:
                    gated.snapshots += 1
                    await gated.gate.wait()
                    return await history.snapshot(keys)

            shut: Any = GatedHistory()
            yield replace(backend, history=shut)


async def test_concurrent_requests_for_the_same_list_share_one_read_of_the_store() -> None:
    store = Gated()
    async with serving(application(3, backend=store.open, reconciliation_interval=60)) as client:
        await wait_until_async(lambda: _ready(client), "the definitions are known")
        store.gate.clear()
        store.snapshots = 0
        first = asyncio.create_task(client.get("/tasks"))
        await wait_until_async(lambda: store.snapshots == 1, "the first reads")
        others = [asyncio.create_task(client.get("/tasks")) for _ in range(15)]
        named = asyncio.create_task(client.get("/tasks?name=t001"))
        async with counting() as turns:
            await wait_until_async(lambda: turns() > 500, "the others have asked")
        assert store.snapshots == 1
        store.gate.set()
        answers = await asyncio.gather(first, *others)
        assert [one.status_code for one in answers] == [200] * 16
        assert {one.text for one in answers} == {answers[0].text}
        assert [task["name"] for task in (await named).json()] == ["t001"]
        assert store.snapshots == 3


async def test_a_list_is_serialized_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module, "SLICE_SECONDS", 0.0)
    async with serving(application(100)) as client, counting() as turns:
        before = turns()
        shown = await answer(client, "GET", "/tasks")
        assert turns() - before >= 100
        assert [task["kwargs"]["number"] for task in shown] == list(range(100))
        for task in shown:
            assert task.keys() == TaskDetailed.model_fields.keys()
            TaskDetailed.model_validate(task)
        assert await answer(client, "GET", "/tasks", params={"name": "none"}) == []


async def test_a_history_is_serialized_in_the_form_of_its_model() -> None:
    async with serving(application()) as client:
        for _ in range(3):
            await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: _ran(client, 3), "three runs")
        shown = await answer(client, "GET", "/tasks/g/t000/statistics")
        assert shown.keys() == TaskStatistics.model_fields.keys()
        assert len(TaskStatistics.model_validate(shown).runs) == 3


async def _ran(client: httpx.AsyncClient, runs: int) -> bool:
    return len((await answer(client, "GET", "/tasks/g/t000/statistics"))["runs"]) == runs


async def test_a_header_that_a_dependency_adds_stays_on_the_response() -> None:
    def seen(response: Response) -> None:
        response.headers["X-Seen"] = "yes"

    async with serving(application(dependencies=[Depends(seen)])) as client:
        for path in ("/tasks", "/tasks/g/t000/statistics", "/health"):
            assert (await client.get(path)).headers["X-Seen"] == "yes", path


# -- slow parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocked", "detail"), [(True, "this process is busy"), (False, "the store is not available")])
@pytest.mark.parametrize(("method", "path"), [("GET", "/tasks"), ("POST", "/tasks/disable")])
async def test_a_blocked_event_loop_is_not_reported_as_a_slow_store(
    blocked: bool, detail: str, method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "STORE_SECONDS", 0.5)
    monkeypatch.setattr(loop_lag, "MOST_LAG_SECONDS", 0.1)
    store = SwitchedStore()
    async with serving(application(backend=store.open)) as client:
        await wait_until_async(lambda: _ready(client), "the definitions are known")
        store.link = Link.SILENT
        asked = asyncio.create_task(client.request(method, path))
        while not asked.done():
            if blocked:
                time.sleep(0.3)  # noqa: ASYNC251 - blocking the loop is the point
            await asyncio.sleep(0)
        response = await asked
        store.link = Link.UP
    assert response.status_code == 503
    assert response.json()["detail"].startswith(detail), response.text
    assert int(response.headers["Retry-After"]) > 0


async def _ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/tasks")).status_code == 200


async def test_a_store_that_refuses_at_once_is_unavailable_even_if_the_process_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = SwitchedStore(Link.DOWN)
    async with serving(application(backend=store.open)) as client:
        response = await client.get("/tasks")
        assert response.json()["detail"].startswith("the store is not available")


def test_a_manager_that_does_not_run_does_not_report_a_slow_store() -> None:
    from fastapi_task_manager.errors import NotRunningError

    assert str(NotRunningError()) == "the task manager is not running"
