"""A request that a browser sends for a page of another site changes nothing. Every other client can act."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from fastapi_task_manager import OperationalConfig, TaskGroup
from fastapi_task_manager.api.cross_site import ForeignSite
from tests.adapters.fastapi.application import answer, build, serving
from tests.adapters.fastapi.test_bodies import NEW

ACTIONS = [
    ("POST", "/tasks/disable"),
    ("POST", "/tasks/enable"),
    ("POST", "/tasks/trigger"),
    ("POST", "/tasks/cancel"),
    ("POST", "/tasks/reset-retry"),
    ("DELETE", "/tasks/statistics"),
    ("DELETE", "/tasks?task_group_name=g&task_name=n"),
    ("POST", "/tasks"),
    ("PUT", "/tasks/g/n"),
    ("POST", "/schedules/preview"),
]


def application(**settings: Any) -> FastAPI:
    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="t")(lambda: None)
    return build(group, **settings)[0]


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://other.test"},
    {"Sec-Fetch-Site": "Cross-Site", "Origin": "https://test"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://test.evil.example"},
    {"Origin": "http://test:81"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://evil.example", "X-Forwarded-Host": "tasks.example"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_page_of_another_site_cannot_act(headers: dict[str, str]) -> None:
    async with serving(application()) as client:
        for method, path in ACTIONS:
            for sent_as in ("text/plain", "application/json"):
                response = await client.request(method, path, headers=headers | {"Content-Type": sent_as})
                assert response.status_code == 403, (method, path)
                assert response.json().keys() == {"detail", "field"}
        (task,) = await answer(client, "GET", "/tasks")
        assert task["is_active"] is True


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_page_of_another_site_may_read(headers: dict[str, str]) -> None:
    """CORS decides which answers a page may see."""
    async with serving(application()) as client:
        for path in ("/tasks", "/health", "/tasks/g/t/upcoming"):
            assert (await client.get(path, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind-a-proxy.example"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://test"},
        {"Origin": "http://TEST:80"},
        {"Origin": "https://test"},
        {"Origin": "https://tasks.example", "X-Forwarded-Host": "tasks.example"},
        {"Origin": "https://tasks.example:8443", "X-Forwarded-Host": "tasks.example:8443, inner"},
    ],
)
async def test_a_page_of_the_same_site_and_a_client_without_a_browser_can_act(headers: dict[str, str]) -> None:
    async with serving(application()) as client:
        for action in ("disable", "enable", "trigger"):
            assert (await client.post(f"/tasks/{action}", headers=headers)).status_code == 200
        created = await client.post("/tasks", json=NEW | {"function_name": "t"}, headers=headers)
        assert created.status_code == 200, created.text


async def test_a_page_of_a_trusted_origin_can_act() -> None:
    trusted = "https://console.example, http://localhost:3000,https://default.example:443"
    async with serving(application(api_trusted_origins=trusted)) as client:
        for origin, status in (
            ("https://console.example", 200),
            ("http://localhost:3000", 200),
            ("https://default.example", 200),
            ("http://console.example", 403),
            ("http://localhost:3001", 403),
        ):
            for fetched_from in ("cross-site", "same-site"):
                headers = {"Origin": origin, "Sec-Fetch-Site": fetched_from}
                response = await client.post("/tasks/disable", headers=headers)
                assert response.status_code == status, origin


@pytest.mark.parametrize(
    "origins",
    [
        *("*", "null", "console.example", "https://", "https://a/", "https://a/b", "https://a?b", "https://u@a"),
        *("ftp://a", "https://a:0", "https://a:x", "https://a:99999", "https://[::1"),
    ],
)
def test_a_text_that_is_no_origin_cannot_be_trusted(origins: str) -> None:
    with pytest.raises(ValidationError, match=r"api_trusted_origins.*an origin is http"):
        OperationalConfig(api_trusted_origins=f"https://console.example,{origins}")


def test_the_refusal_names_the_origin_and_the_field_that_would_allow_it() -> None:
    assert (
        ForeignSite("https://a").detail == "https://a may not act here; api_trusted_origins names the origins that may"
    )
