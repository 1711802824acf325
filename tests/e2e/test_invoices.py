"""A day in the life of docs/examples/invoices: three processes on a Redis, with the deaths that a year brings."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from invoices.outside import Outside, serving
from tests.e2e.cluster import Cluster, utc
from tests.e2e.history_checks import History, Window, assert_accounted_for, repeated
from tests.e2e.process import DEADLINE, AppProcess
from tests.e2e.scenarios import Scenarios
from tests.redis_server import RedisServer, lasting_port
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
SYNC, IMPORT = "Invoices/sync_payments", "Invoices/import_orders"
EVERY, AFTER_DEPLOY = timedelta(seconds=2), timedelta(seconds=3)
SETTINGS = {
    "running_heartbeat_interval": 1,
    "reconciliation_interval": 0.5,
    "keep_ended_tasks": 0.5,
    "retry_backoff": 0.1,
    "concurrent_tasks": 4,
}
ADA, BOB, EVE = (UUID(int=number) for number in (1, 2, 3))


class SlowShop(Outside):
    """A shop that takes its time for each page of orders, as long as a test says so."""

    pause = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/orders":
            time.sleep(self.pause)
        return super().answer(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers of the endpoints about two imports: one that ends, and one that a caller cancels."""

    first: dict[str, Any]
    result: dict[str, Any]
    cancelled: bool
    second: dict[str, Any]
    refused: int
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An import whose worker is killed, and the database before the kill and at the end."""

    run_id: str
    progress: dict[str, Any]
    shown: dict[str, Any]
    invoices_before: int
    attempts: list[tuple[int, str]]
    result: dict[str, Any]
    rows: list[tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    answers: Answers
    leader_killed: tuple[Window, History]
    killed_import: Import
    down: int
    store_restarted: tuple[Window, History]
    changes: list[dict[str, Any]]
    deployed: tuple[Window, History]
    everything: History
    log: list[dict[str, Any]]
    letters: dict[UUID, list[str]]
    reminders: list[str]
    made: list[int]
    booked: list[int]
    alert: str


def day(_: str) -> Day:
    """One scenario, because most of its time is the wait for slots and claims."""
    outside = SlowShop(orders=20, page=10, unreliable=True)
    with (
        tempfile.TemporaryDirectory(prefix="task-manager-invoices-") as folder,
        serving(outside) as address,
        RedisServer("--appendfsync", "always", appendonly=True, port=lasting_port()) as server,
        Cluster(
            server.url,
            SETTINGS,
            app="invoices.app:app",
            variables={
                "PYTHONPATH": str(EXAMPLES),
                "INVOICES_DATABASE": f"{folder}/invoices.sqlite",
                "INVOICES_SYNC_EVERY": str(EVERY.seconds),
                **{f"INVOICES_{name}": address for name in ("BANK", "SHOP", "CHAT")},
            },
        ) as cluster,
    ):
        database = Path(folder) / "invoices.sqlite"
        cluster.start(3)
        # The night may begin during the test. A disabled task runs on request alone.
        cluster.alive[0].post("/tasks/disable", task_name="import_orders")
        _plan(cluster, ADA, "before the leader dies", timedelta(seconds=3))
        answers = _ask(cluster, outside)
        leader_killed = _kill_the_leader(cluster)
        killed_import = _kill_the_importer(cluster, outside, database)
        _plan(cluster, BOB, "replaced", timedelta(hours=1))
        _plan(cluster, BOB, "planned before the restart", timedelta(seconds=3))
        down, store_restarted = _restart_the_store(cluster, server)
        changes, deployed = _deploy(cluster)
        _plan(cluster, EVE, "after the deploy", timedelta(seconds=1))
        outside.failing = 4
        wait_until(lambda: outside.messages, "the chat gets the alert", DEADLINE)
        wait_until(lambda: not _reminders(cluster), "the reminders have removed themselves", DEADLINE)
        made, booked = _payments(outside, database)
        return Day(
            answers=answers,
            leader_killed=leader_killed,
            killed_import=killed_import,
            down=down,
            store_restarted=store_restarted,
            changes=changes,
            deployed=deployed,
            everything=History.of(cluster, SYNC),
            log=[line for process in cluster.processes for line in _lines(process)],
            letters={one: _get(cluster.alive[0], f"/customers/{one}/letters") for one in (ADA, BOB, EVE)},
            reminders=_reminders(cluster),
            made=made,
            booked=booked,
            alert=outside.messages[0],
        )


# -- the parts of the day ---------------------------------------------------------------------------------------------


def _ask(cluster: Cluster, outside: SlowShop) -> Answers:
    """Each request goes to another process."""
    one, two, three = cluster.processes
    run = _send(one, "POST", "/imports").json()["run_id"]
    first = _get(two, f"/imports/{run}?wait=30")
    result = _get(three, f"/imports/{run}/result")
    outside.pause = 0.1
    for _ in range(2000):
        outside.add_order()
    slow = _send(two, "POST", "/imports").json()["run_id"]
    wait_until(lambda: _get(one, f"/imports/{slow}")["state"] == "running", "the second import runs", DEADLINE)
    cancelled = _send(three, "DELETE", f"/imports/{slow}").json()
    second = _get(one, f"/imports/{slow}?wait=30")
    return Answers(
        first=first,
        result=result,
        cancelled=cancelled,
        second=second,
        refused=_send(two, "GET", f"/imports/{slow}/result").status_code,
        again=_send(two, "DELETE", f"/imports/{slow}").json(),
    )


def _kill_the_leader(cluster: Cluster) -> tuple[Window, History]:
    """At a moment at which it executes no sync: a run of its own would wait for the end of its claim."""
    first = _slot_after(_now(), EVERY)
    settled = first + EVERY
    wait_until(lambda: settled in _succeeded(cluster), "two slots have succeeded", DEADLINE)
    leader, followers = cluster.leader(), cluster.followers()
    leader.kill()
    cluster.launch()
    cluster.leader(followers)
    window = Window(first=first, last=_slot_after(_now(), EVERY) + EVERY, step=EVERY)
    return window, _once_settled(cluster, window)


def _kill_the_importer(cluster: Cluster, outside: SlowShop, database: Path) -> Import:
    cluster.await_ready(cluster.alive)
    outside.pause = 0.5
    run = _send(cluster.alive[0], "POST", "/imports").json()["run_id"]
    seen: list[dict[str, Any]] = []

    def has_progress() -> bool:
        seen[:] = cluster.alive[0].get(f"/tasks/{IMPORT}/runs")["runs"]
        return bool(seen) and seen[0]["done"] is not None

    wait_until(has_progress, "the import shows its progress", DEADLINE)
    shown = _get(cluster.alive[-1], f"/imports/{run}")
    before = len(_rows(database, "SELECT number FROM invoices"))
    _, pid, _ = seen[0]["worker"].rsplit(":", 2)
    cluster.of_pid(int(pid)).kill()
    outside.pause = 0.0
    survivor = cluster.alive[0]
    wait_until(
        lambda: _get(survivor, f"/imports/{run}?wait=30")["state"] == "succeeded", "another one finishes it", DEADLINE
    )
    attempts = [one for one in cluster.statistics(IMPORT)["runs"] if one["run_id"] == run]
    return Import(
        run_id=run,
        progress=seen[0],
        shown=shown,
        invoices_before=before,
        attempts=[(one["attempt"], one["status"]) for one in attempts],
        result=_get(survivor, f"/imports/{run}/result"),
        rows=_rows(database, "SELECT number, run FROM invoices ORDER BY number"),
    )


def _restart_the_store(cluster: Cluster, server: RedisServer) -> tuple[int, tuple[Window, History]]:
    """Redis is killed, and comes back with its data."""
    first = _slot_after(_now(), EVERY)
    server.kill()
    down = _send(cluster.alive[0], "POST", "/imports").status_code
    server.start()
    cluster.await_ready(cluster.alive)
    cluster.leader()
    window = Window(first=first, last=_slot_after(_now(), EVERY) + EVERY, step=EVERY)
    return down, (window, _once_settled(cluster, window))


def _deploy(cluster: Cluster) -> tuple[list[dict[str, Any]], tuple[Window, History]]:
    """An old process stops when a new one serves, then the other one."""
    old, new = cluster.alive, []
    for leaving in old:
        new.append(cluster.add(INVOICES_SYNC_EVERY=str(AFTER_DEPLOY.seconds)))
        leaving.terminate()
    for leaving in old:
        leaving.await_end()
    changes = [line for process in new for line in _lines(process) if "the schedule of" in line["message"]]
    first = _slot_after(_now(), AFTER_DEPLOY)
    window = Window(first=first, last=first + AFTER_DEPLOY, step=AFTER_DEPLOY)
    return changes, (window, _once_settled(cluster, window))


def _payments(outside: SlowShop, database: Path) -> tuple[list[int], list[int]]:
    """The payments that the customers have made, and those that are booked, when no sync is under way."""
    made: list[int] = []
    booked: list[int] = []

    def all_booked() -> bool:
        made[:] = [payment.id for payment in outside.payments]
        booked[:] = [payment for (payment,) in _rows(database, "SELECT id FROM payments ORDER BY id")]
        return len(made) == len(booked)

    wait_until(all_booked, "the last payment is booked", DEADLINE)
    return made, booked


def _now() -> datetime:
    return datetime.now(UTC)


def _slot_after(instant: datetime, step: timedelta) -> datetime:
    """The first slot of an interval after an instant."""
    since = instant.timestamp() // step.total_seconds() + 1
    return datetime.fromtimestamp(since * step.total_seconds(), UTC)


def _once_settled(cluster: Cluster, window: Window) -> History:
    wait_until(lambda: _now() > window.last, "the last slot of the window is due", DEADLINE)
    return History.once_settled(cluster, SYNC, window)


def _succeeded(cluster: Cluster) -> set[datetime]:
    runs = cluster.statistics(SYNC)["runs"]
    return {utc(run["slot"]) for run in runs if run["status"] == "succeeded" and run["slot"] is not None}


def _send(process: AppProcess, method: str, path: str, body: object = None) -> httpx.Response:
    """A request to the application itself."""
    return process.request(method, f"{process.address}{path}", json=body)


def _get(process: AppProcess, path: str) -> Any:
    answer = _send(process, "GET", path)
    assert answer.is_success, answer.text
    return answer.json()


def _plan(cluster: Cluster, customer: UUID, text: str, delay: timedelta) -> None:
    body = {"at": (_now() + delay).isoformat(), "text": text}
    answer = _send(cluster.alive[-1], "PUT", f"/customers/{customer}/reminder", body)
    assert answer.is_success, answer.text


def _reminders(cluster: Cluster) -> list[str]:
    return [task["name"] for task in cluster.alive[0].get("/tasks") if task["dynamic"]]


def _rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(database, timeout=30)) as session:
        return session.execute(query).fetchall()


def _lines(process: AppProcess) -> list[dict[str, Any]]:
    """The log of the application: each line is one object."""
    return [json.loads(line) for line in process.text().splitlines()]


# -- what must be true ------------------------------------------------------------------------------------------------


def test_an_endpoint_starts_a_run_and_others_wait_for_its_end_and_its_result(scenarios: Scenarios) -> None:
    seen = scenarios.of(day).answers
    assert seen.first["state"] == "succeeded"
    assert seen.result == {"orders": 20, "newest": 20}


def test_an_endpoint_of_another_process_cancels_a_run(scenarios: Scenarios) -> None:
    seen = scenarios.of(day).answers
    assert (seen.cancelled, seen.second["state"], seen.refused, seen.again) == (True, "cancelled", 409, False)


def test_a_killed_leader_costs_the_sync_no_slot(scenarios: Scenarios) -> None:
    window, history = scenarios.of(day).leader_killed
    assert len(window.slots) >= 4
    assert history.skipped_slots(window) == []
    assert history.succeeded(window) == window.slots


def test_every_process_shows_the_progress_of_an_import_before_its_worker_dies(scenarios: Scenarios) -> None:
    seen = scenarios.of(day).killed_import
    assert 0 < seen.progress["done"] < seen.progress["total"] == 2000
    assert seen.progress["text"] == f"{seen.progress['done']:.0f} orders fetched"
    assert seen.shown["state"] == "running"
    assert seen.progress["done"] <= seen.shown["progress"]["done"] < 2000


def test_an_import_whose_worker_dies_makes_each_invoice_once(scenarios: Scenarios) -> None:
    seen = scenarios.of(day).killed_import
    assert seen.attempts == [(2, "succeeded"), (1, "lost")]
    assert seen.invoices_before == 20
    assert seen.result == {"orders": 2000, "newest": 2020}
    assert [number for number, _ in seen.rows] == list(range(1, 2021))
    assert {run for number, run in seen.rows if number > 20} == {seen.run_id}


def test_a_restart_of_the_store_loses_nothing(scenarios: Scenarios) -> None:
    seen = scenarios.of(day)
    assert seen.down == 503
    assert_accounted_for(seen.store_restarted[1], seen.store_restarted[0])
    assert seen.letters[BOB] == ["planned before the restart"]
    assert [line["message"] for line in seen.log if "the store was wiped" in line["message"]] == []


def test_a_deploy_says_which_schedule_it_changes_and_follows_the_new_one(scenarios: Scenarios) -> None:
    seen = scenarios.of(day)
    [change] = seen.changes
    assert (change["level"], change["logger"]) == ("INFO", "fastapi.task-manager.group")
    assert change["message"] == f"the schedule of {SYNC} has changed: every 2s -> every 3s"
    window, history = seen.deployed
    assert history.succeeded(window) == window.slots
    assert history.skipped_slots(window) == []


def test_every_slot_until_the_deploy_succeeded_or_is_recorded_as_skipped(scenarios: Scenarios) -> None:
    seen = scenarios.of(day)
    first, last = seen.leader_killed[0].first, seen.store_restarted[0].last
    assert_accounted_for(seen.everything, Window(first=first, last=last, step=EVERY))


def test_each_slot_of_the_whole_day_has_one_run(scenarios: Scenarios) -> None:
    """The log tells it, without the store."""
    seen = scenarios.of(day)
    lines = [line for line in seen.log if line.get("task") == SYNC and "new payments" in line["message"]]
    assert repeated((line["slot"], line["attempt"]) for line in lines) == {}
    runs = {(line["slot"], line["run_id"]) for line in lines}
    assert repeated(slot for slot, _ in runs) == {}
    assert {utc(run["slot"]) for run in seen.everything.runs if run["status"] == "succeeded"} <= {
        utc(slot) for slot, _ in runs
    }


def test_each_payment_is_booked_once_although_the_bank_sometimes_fails(scenarios: Scenarios) -> None:
    seen = scenarios.of(day)
    assert "retried" in {run["status"] for run in seen.everything.runs}
    assert seen.booked == seen.made


def test_reminders_are_sent_once_and_remove_themselves(scenarios: Scenarios) -> None:
    seen = scenarios.of(day)
    assert seen.letters[ADA] == ["before the leader dies"]
    assert seen.letters[EVE] == ["after the deploy"]
    assert seen.reminders == []


def test_a_sync_that_fails_for_good_is_an_alert(scenarios: Scenarios) -> None:
    assert scenarios.of(day).alert.startswith(f"{SYNC} has failed: Server error '503 Service Unavailable'")


SCENARIOS = (day,)
