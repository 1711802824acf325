"""The tests import and serve every example as a reader would, and check that it does what it promises."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from tests.waiting import wait_until_async

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if "\napp = FastAPI(" in path.read_text())


def _load(name: str) -> ModuleType:
    """Load a new module each time, because several tests may serve one example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def _serving(module: ModuleType) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=module.app)
    async with (
        module.app.router.lifespan_context(module.app),
        httpx.AsyncClient(transport=transport, base_url="http://test/task-manager") as client,
    ):
        yield client


@pytest.fixture
def redis_environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_MANAGER_REDIS_HOST", redis_url)
    monkeypatch.setenv("MANAGEMENT_TOKEN", "right")


@pytest.mark.usefixtures("redis_environment")
@pytest.mark.parametrize("name", NAMES)
async def test_every_example_serves_its_tasks(name: str) -> None:
    module = _load(name)
    headers = {"Authorization": "Bearer right"} if name == "protected_api" else {}
    async with _serving(module) as client:
        client.headers.update(headers)
        await wait_until_async(module.manager.is_healthy, "healthy")
        assert (await client.get("/health")).status_code == 200
        listed = {(task["task_group_name"], task["name"]) for task in (await client.get("/tasks")).json()}
        declared = {(group.name, task.name) for group in module.manager.task_groups for task in group.tasks}
        assert listed == declared != set()
    assert not module.manager.is_running


def test_the_list_of_examples_is_the_promised_one() -> None:
    promised = {"demo", "minimal_memory", "minimal_redis", "retry_settings", "sync_and_async", "several_schedules"}
    assert promised <= set(NAMES)


@pytest.mark.parametrize("name", ["minimal_memory", "minimal_redis"])
def test_the_minimal_examples_are_short(name: str) -> None:
    code = [line for line in (EXAMPLES / f"{name}.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 20


def test_the_demo_shows_what_its_tasks_log() -> None:
    """`flaky` fails twice and succeeds. Python shows the failures at any level, but the success only at level INFO."""
    says = "import demo, logging; logging.getLogger('fastapi.task-manager.runner').info('succeeded at last')"
    shown = subprocess.run(
        [sys.executable, "-c", says], cwd=EXAMPLES, capture_output=True, text=True, check=True, timeout=60
    )
    assert "INFO:     succeeded at last" in shown.stderr


async def test_the_root_of_the_demo_leads_somewhere() -> None:
    module = _load("demo")
    async with _serving(module) as client:
        redirect = await client.get("http://test/")
        assert redirect.is_redirect
        assert (await client.get(f"http://test{redirect.headers['location']}")).status_code == 200


async def test_the_retries_of_the_example_share_a_run_id() -> None:
    module = _load("retry_settings")
    async with _serving(module) as client:
        await wait_until_async(lambda: module.delivered, "delivered with the third attempt")
        await wait_until_async(lambda: _delivered(client), "recorded")
        runs = (await client.get("/tasks/Payments/deliver/statistics")).json()["runs"]
    attempts = [run for run in runs if run["run_id"] == module.delivered[0]]
    assert [(run["attempt"], run["status"]) for run in attempts] == [
        (3, "succeeded"),
        (2, "retried"),
        (1, "retried"),
    ]


async def _delivered(client: httpx.AsyncClient) -> bool:
    runs = (await client.get("/tasks/Payments/deliver/statistics")).json()["runs"]
    return any(run["status"] == "succeeded" for run in runs)


async def test_the_example_of_both_kinds_runs_both_kinds() -> None:
    module = _load("sync_and_async")
    async with _serving(module):
        await wait_until_async(lambda: len(module.threads) == 2, "both have run")
    assert module.threads["sync"] != module.threads["async"]


async def test_the_several_schedules_have_the_slots_that_the_example_promises() -> None:
    module = _load("several_schedules")
    async with _serving(module) as client:
        shown = {task["name"]: task for task in (await client.get("/tasks")).json()}
        assert shown["meals"]["expression"] == "0 8 * * * | 30 12 * * *"
        assert shown["measure"]["expression"] == "every 90s from +10s"
        assert datetime.fromisoformat(shown["celebrate"]["next_run"]) == datetime(2040, 1, 1, tzinfo=UTC)
        (first, *_) = (await client.get("/tasks/Imports/meals/upcoming")).json()["upcoming"]
        assert datetime.fromisoformat(first["local"]).hour in {8, 12}
        (rome, *_) = (await client.get("/tasks/Imports/fetch__1/upcoming")).json()["upcoming"]
        assert datetime.fromisoformat(rome["local"]).hour == 6


async def test_the_protected_example_asks_for_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGEMENT_TOKEN", "right")
    module = _load("protected_api")
    async with _serving(module) as client:
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Bearer right"}, 200),
        ):
            assert (await client.get("/tasks", headers=headers)).status_code == status


def test_the_memory_examples_need_no_redis_installed() -> None:
    program = (
        "import sys; sys.modules['redis'] = None; sys.path.insert(0, sys.argv[1]); import demo, json; "
        "print(json.dumps(len(demo.manager.task_groups)))"
    )
    answer = subprocess.check_output([sys.executable, "-c", program, str(EXAMPLES)], text=True)
    assert json.loads(answer) == 2
