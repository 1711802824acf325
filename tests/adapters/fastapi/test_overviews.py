"""GET /tasks in pages and GET of one task, over REST on both stores."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import pytest

from fastapi_task_manager import TaskGroup
from task_manager_core.ports import OpenBackend
from tests.adapters.fastapi.application import answer, build, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore
from tests.waiting import wait_until_async

YEARLY = "0 0 1 1 *"
FAR = "2027-03-01T12:00:00Z"

WRITTEN: list[dict[str, Any]] = [
    {
        "cron_expression": "30 2 * * *",
        "timezone": "Europe/Rome",
        "gap": "skip",
        "fold": "both",
        "jitter": 30.0,
        "start_at": "2026-01-01T00:00:00Z",
        "end_at": FAR,
        "catch_up": "all",
        "run_on_start": True,
        "retry_on": ["builtins.OSError"],
        "no_retry_on": ["builtins.ConnectionError"],
        "max_retries": 3,
        "timeout": 5.0,
        "start_deadline": 60.0,
        "expires": 90.0,
        "max_instances": 4,
        "max_lost_attempts": 2,
        "description": "Words",
        "high_priority": True,
        "tags": ["tag"],
        "retry_backoff": 2.0,
        "retry_backoff_max": 20.0,
        "allow_parallel": True,
        "overlap": "allow",
        "kwargs": {"number": 1},
    },
    {"interval": 90.0, "phase": 3.0},
    {"run_at": [FAR, "2027-03-02T12:00:00Z"]},
    {"cron_expression": [YEARLY, "0 0 2 1 *"], "timezone": "UTC"},
    {"cron_expression": "@reboot"},
]


def group_of(*names: str) -> TaskGroup:
    group = TaskGroup("g")
    for name in names:
        group.add_task(YEARLY, name=name, max_retries=0)(_fail if name.startswith("bad") else _work)
    group.register_function(name="work")(_work)
    return group


async def _work(number: int = 0) -> None:
    """Does nothing."""


async def _fail() -> None:
    raise ValueError("secret")


async def _trigger(client: httpx.AsyncClient, *names: str) -> None:
    for name in names:
        await answer(client, "POST", "/tasks/trigger", params={"task_name": name})

    async def ended() -> bool:
        tasks = [await answer(client, "GET", f"/tasks/g/{name}") for name in names]
        return all(task["last_run"] is not None and not task["is_running"] for task in tasks)

    await wait_until_async(ended, "the runs have ended")


@pytest.mark.parametrize("written", WRITTEN, ids=lambda fields: next(iter(fields)) + str(len(fields)))
async def test_every_field_that_can_be_written_can_be_read_and_written_again(written: dict[str, Any]) -> None:
    app, _ = build(group_of("a"))
    async with serving(app) as client:
        body = {"task_group_name": "g", "function_name": "work", "name": "n", **written}
        created = await client.post("/tasks", json=body)
        assert created.status_code == 200, created.text
        read = await client.get("/tasks/g/n")
        task = read.json()
        assert {name: task[name] for name in written} == written
        assert read.headers["ETag"] == created.headers["ETag"] == f'"{task["version"]}"'
        [listed] = await answer(client, "GET", "/tasks", params={"name": "n"})
        assert {name: listed[name] for name in written} == written
        again = await client.patch(
            "/tasks/g/n", json={name: task[name] for name in written}, headers={"If-Match": read.headers["ETag"]}
        )
        assert again.status_code == 200, again.text
        assert again.headers["ETag"] == read.headers["ETag"]


async def test_patch_changes_some_fields_and_minds_the_version() -> None:
    app, _ = build(group_of("a"))
    async with serving(app) as client:
        await client.post(
            "/tasks", json={"task_group_name": "g", "function_name": "work", "name": "n", "cron_expression": YEARLY}
        )
        before = await client.get("/tasks/g/n")
        etag = {"If-Match": before.headers["ETag"]}
        assert (await client.patch("/tasks/g/n", json={"timezone": "Asia/Tokyo"}, headers=etag)).status_code == 200
        after = await answer(client, "GET", "/tasks/g/n")
        assert after == before.json() | {
            "timezone": "Asia/Tokyo",
            "version": after["version"],
            "next_run": after["next_run"],
            "in_words": "At 00:00 on day 1 of the month in January (Asia/Tokyo)",
        }
        assert (await client.patch("/tasks/g/n", json={"timezone": "UTC"}, headers=etag)).status_code == 409


async def test_a_task_shows_its_last_run_and_its_failures_in_a_row(open_backend: OpenBackend) -> None:
    app, _ = build(group_of("good", "bad", "new"), backend=open_backend)
    async with serving(app) as client:
        await _trigger(client, "good", "bad")
        first = (await answer(client, "GET", "/tasks/g/bad"))["last_run"]
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "bad"})

        async def again() -> bool:
            return bool((await answer(client, "GET", "/tasks/g/bad"))["failures_in_row"] == 2)

        await wait_until_async(again, "the second run has failed")
        bad, good, new = await answer(client, "GET", "/tasks", params={"include": "recent"})
        assert [task["name"] for task in (bad, good, new)] == ["bad", "good", "new"]
        assert bad["last_run"]["status"] == "failed"
        assert bad["last_run"]["error_type"] == "ValueError"
        assert bad["last_run"]["slot"] is None
        assert bad["last_run"]["lateness"] is None
        assert bad["recent"] == [bad["last_run"], first]
        assert "failing" in bad["states"]
        assert (good["last_run"]["status"], good["failures_in_row"], good["states"]) == ("succeeded", 0, [])
        assert (new["last_run"], new["failures_in_row"], new["recent"], new["states"]) == (None, 0, [], [])
        failing = await answer(client, "GET", "/tasks", params={"state": "failing"})
        assert [(task["name"], task["recent"]) for task in failing] == [("bad", None)]
        assert [one["name"] for one in await answer(client, "GET", "/tasks", params={"sort": "last_run"})] == [
            "bad",
            "good",
            "new",
        ]


async def test_the_first_attempt_of_a_slot_shows_its_lateness(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    group.add_task("* * * * * *", name="each")(_work)
    app, _ = build(group, backend=open_backend)
    async with serving(app) as client:

        async def ran() -> bool:
            return (await answer(client, "GET", "/tasks/g/each"))["last_run"] is not None

        await wait_until_async(ran, "a slot has run")
        run = (await answer(client, "GET", "/tasks/g/each"))["recent"][-1]
        late = datetime.fromisoformat(run["run_date"]) - datetime.fromisoformat(run["slot"])
        assert run["lateness"] == late.total_seconds() >= 0


async def test_the_link_header_leads_through_all_pages(open_backend: OpenBackend) -> None:
    names = [f"t {number:02}/ü" for number in range(23)]
    app, _ = build(group_of(*names), backend=open_backend)
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/disable", params={"task_name": names[20]})
        response = await client.get("/tasks?limit=5&text=T")
        found = [[task["name"] for task in response.json()]]
        while "next" in response.links:
            response = await client.get(str(response.url.join(response.links["next"]["url"])))
            found.append([task["name"] for task in response.json()])
        assert [len(page) for page in found] == [5, 5, 5, 5, 3]
        assert [name for page in found for name in page] == names
        [paused] = await answer(client, "GET", "/tasks", params={"state": "paused"})
        assert paused["name"] == names[20]
        assert [task["name"] for task in await answer(client, "GET", "/tasks", params={"text": "20 G"})] == [names[20]]
        assert len(await answer(client, "GET", "/tasks")) == 23


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "-1"),
        ("text", "x" * 201),
        ("cursor", "x"),
        ("cursor", "WyJuYW1lIl0"),
        ("cursor", "W10" * 1000),
        ("cursor", "\x00"),
    ],
)
async def test_a_parameter_out_of_bounds_is_a_400_that_names_it(field: str, value: str) -> None:
    app, _ = build(group_of("a"))
    async with serving(app) as client:
        refused = await client.get("/tasks", params={field: value})
        assert (refused.status_code, refused.json()["field"]) == (400, field)


async def test_a_cursor_of_another_order_is_refused() -> None:
    app, _ = build(group_of("a", "b"))
    async with serving(app) as client:
        page = await client.get("/tasks", params={"limit": 1})
        address = str(page.url.join(page.links["next"]["url"])) + "&sort=last_run"
        assert (await client.get(address)).json()["field"] == "cursor"


async def test_an_unknown_task_is_404_and_a_store_that_is_away_503() -> None:
    store = SwitchedStore()
    app, _ = build(group_of("a"), backend=store.open)
    async with serving(app) as client:
        assert (await client.get("/tasks/g/unknown")).status_code == 404
        store.link = Link.DOWN
        for path in ("/tasks/g/a", "/tasks?limit=5", "/tasks?state=failing"):
            refused = await client.get(path)
            assert refused.status_code == 503
            assert "Retry-After" in refused.headers
        store.link = Link.UP
