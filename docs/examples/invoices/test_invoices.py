"""The tests of the application, with pytest and pytest-asyncio in its mode "auto": no Redis, no network."""

import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from fastapi_task_manager import RunContext
from fastapi_task_manager.testing import VirtualClock
from invoices.app import app
from invoices.database import get_session
from invoices.logs import JsonLines
from invoices.outside import Outside
from invoices.partners import Shop, get_http
from invoices.settings import Settings, get_settings
from invoices.tasks import import_orders, manager

SIX_IN_ROME = datetime(2026, 7, 10, 4, tzinfo=UTC)
ADA = UUID(int=1)


@pytest.fixture
def outside() -> Outside:
    return Outside(orders=120)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database=tmp_path / "invoices.sqlite")


@pytest.fixture
async def clock(outside: Outside, settings: Settings) -> AsyncIterator[VirtualClock]:
    app.dependency_overrides[get_settings] = lambda: settings
    http = client_of(outside)
    app.dependency_overrides[get_http] = lambda: http
    async with manager.testing(now=SIX_IN_ROME - timedelta(seconds=5), eager=True) as clock:
        yield clock
    app.dependency_overrides.clear()


@pytest.fixture
async def client(clock: VirtualClock) -> AsyncIterator[httpx.AsyncClient]:
    """Requests to the application, whose manager the clock runs."""
    assert clock.runs == []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


def client_of(outside: Outside) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(outside.answer))


def number(settings: Settings, query: str) -> int:
    with closing(sqlite3.connect(settings.database)) as session:
        (found,) = session.execute(query).fetchone()
        return int(found)


# -- payments ---------------------------------------------------------------------------------------------------------


async def test_payments_are_fetched_every_ten_seconds_and_booked_once(
    clock: VirtualClock, outside: Outside, settings: Settings
) -> None:
    await clock.advance(minutes=1)
    assert [run.status for run in clock.runs if run.name == "sync_payments"] == 6 * ["succeeded"]
    assert number(settings, "SELECT count(*) FROM payments") == 6
    assert "since" not in outside.asked[0]
    assert datetime.fromisoformat(outside.asked[1]["since"]) == SIX_IN_ROME - timedelta(minutes=5)


async def test_a_bank_that_fails_is_asked_again(clock: VirtualClock, outside: Outside, settings: Settings) -> None:
    outside.failing = 2
    await clock.advance(seconds=9)
    assert [(run.attempt, run.started_at.second) for run in clock.runs if run.name == "sync_payments"] == [
        (1, 0),
        (2, 1),
        (3, 3),
    ]
    assert number(settings, "SELECT count(*) FROM payments") == 1


async def test_a_bank_that_stays_away_is_an_alert(clock: VirtualClock, outside: Outside) -> None:
    outside.failing = 4
    await clock.advance(seconds=14)
    (message,) = outside.messages
    assert message.startswith("Invoices/sync_payments has failed: Server error '503 Service Unavailable'")
    assert clock.runs[-1].name == "alert"


# -- orders -----------------------------------------------------------------------------------------------------------


async def test_an_import_goes_on_where_the_last_one_ended(
    client: httpx.AsyncClient, outside: Outside, settings: Settings
) -> None:
    for expected in ({"orders": 120, "newest": 120}, {"orders": 0, "newest": 120}, {"orders": 1, "newest": 121}):
        if expected["newest"] == 121:
            outside.add_order()
        run = (await client.post("/imports")).json()
        assert (await client.get(f"/imports/{run['run_id']}", params={"wait": 5})).json()["state"] == "succeeded"
        assert (await client.get(f"/imports/{run['run_id']}/result")).json() == expected
    assert number(settings, "SELECT count(*) FROM invoices") == 121


async def test_a_repeated_request_starts_no_second_import(client: httpx.AsyncClient) -> None:
    runs = [(await client.post("/imports", headers={"Idempotency-Key": "today"})).json() for _ in range(2)]
    assert runs[0]["run_id"] == runs[1]["run_id"]
    assert (await client.get("/imports/another")).status_code == 404


def test_a_cancelled_import_leaves_nothing(outside: Outside, settings: Settings) -> None:
    """A decorated function stays a function."""
    context = RunContext.for_test()
    context.cancelled.set()
    with pytest.raises(InterruptedError), contextmanager(get_session)(settings) as session:
        import_orders(Shop(client_of(outside), settings), session, context)
    assert number(settings, "SELECT count(*) FROM invoices") == 0


# -- customers --------------------------------------------------------------------------------------------------------


async def test_a_reminder_is_sent_once_at_its_time(client: httpx.AsyncClient, clock: VirtualClock) -> None:
    path = f"/customers/{ADA}"
    for text in ("first", "second"):
        planned = {"at": (clock.now() + timedelta(minutes=2)).isoformat(), "text": text}
        assert (await client.put(f"{path}/reminder", json=planned)).is_success
    await clock.advance(seconds=119)
    assert (await client.get(f"{path}/letters")).json() == []
    await clock.advance(seconds=1)
    assert (await client.get(f"{path}/letters")).json() == ["second"]


async def test_a_reminder_can_be_cancelled(client: httpx.AsyncClient, clock: VirtualClock) -> None:
    path = f"/customers/{ADA}"
    planned = {"at": (clock.now() + timedelta(seconds=9)).isoformat(), "text": "pay"}
    assert (await client.put(f"{path}/reminder", json=planned)).is_success
    assert (await client.delete(f"{path}/reminder")).status_code == 204
    assert (await client.delete(f"{path}/reminder")).status_code == 404
    await clock.advance(seconds=14)
    assert (await client.get(f"{path}/letters")).json() == []


async def test_a_reminder_in_the_past_is_refused(client: httpx.AsyncClient, clock: VirtualClock) -> None:
    planned = {"at": (clock.now() - timedelta(hours=1)).isoformat(), "text": "pay"}
    refused = await client.put(f"/customers/{ADA}/reminder", json=planned)
    assert (refused.status_code, refused.json()["field"]) == (400, "run_at")


# -- the report -------------------------------------------------------------------------------------------------------


async def test_the_report_is_made_at_six_in_rome(clock: VirtualClock) -> None:
    await clock.advance(seconds=4)
    assert "report" not in [run.name for run in clock.runs]
    await clock.advance(seconds=1)
    assert [(run.status, run.slot) for run in clock.runs if run.name == "report"] == [("succeeded", SIX_IN_ROME)]


async def test_a_report_can_be_made_for_another_day(client: httpx.AsyncClient, clock: VirtualClock) -> None:
    await client.post("/imports")
    await clock.advance(seconds=20)  # Two payments come in.
    report = (await client.post("/reports/2026-07-04")).json()
    assert report == {"day": "2026-07-04", "open_invoices": 118, "open_cents": sum(range(1003, 1121)), "overdue": 1}


# -- the log ----------------------------------------------------------------------------------------------------------


async def test_a_line_of_a_task_has_the_fields_of_its_run(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await clock.advance(seconds=5)
    records = [one for one in caplog.records if "new payments" in one.getMessage()]
    (line,) = [json.loads(JsonLines().format(record)) for record in records]
    assert (line["task"], line["attempt"], line["level"]) == ("Invoices/sync_payments", 1, "INFO")
    assert datetime.fromisoformat(line["slot"]) == SIX_IN_ROME
    assert not line["message"].startswith("["), "the fields say it"


def test_the_log_shows_a_traceback_on_one_line() -> None:
    try:
        raise ConnectionError("no bank")
    except ConnectionError as error:
        record = logging.LogRecord("invoices", logging.ERROR, __file__, 1, "failed", None, (type(error), error, None))
    assert "ConnectionError: no bank" in json.loads(JsonLines().format(record))["traceback"]
