"""What a health check and the log tell of functions that block their process."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fastapi_task_manager import TaskGroup, TaskManager
from tests.adapters.fastapi.application import answer, build, serving
from tests.waiting import wait_until_async

YEARLY = "0 0 1 1 *"


async def test_a_process_that_executes_nothing_is_degraded_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    group, gate = TaskGroup("Reports"), threading.Event()
    group.add_task(YEARLY, name="hangs", timeout=0.05, max_retries=0)(gate.wait)
    app, manager = build(group, concurrent_tasks=2)
    async with serving(app) as client:
        health: dict[str, Any] = {}
        for number in (1, 2):
            assert (await client.post("/tasks/trigger", headers={"Idempotency-Key": f"{number}"})).status_code == 200
            await _until_held(manager, number)
            health = await answer(client, "GET", "/health")
            assert (health["held_places"], health["status"]) == (number, "healthy" if number == 1 else "degraded")
        assert "every place is held by a function that has passed its timeout" in health["reason"]
        assert "Reports/hangs" in health["reason"]
        assert await manager.is_healthy()
        lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert sum("has passed its timeout of 0.05 s in a thread, which cannot be stopped" in one for one in lines) == 2
        assert "2 of 2 places are held so" in lines[-1]
        gate.set()
        await _until_held(manager, 0)
        assert (await answer(client, "GET", "/health"))["status"] == "healthy"


async def _until_held(manager: TaskManager, number: int) -> None:
    """Wait until so many places are held."""
    overruns = manager._lifecycle.running().worker.overruns
    await wait_until_async(lambda: len(overruns.claims) == number, f"{number} places are held")


@pytest.fixture
def no_collection() -> Iterator[None]:
    """A garbage collection of all that the tests keep would be a block of its own, and the last one."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
async def test_a_block_is_logged_at_once_and_shown_by_the_health_check_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = TaskGroup("Reports")

    async def blocks() -> None:
        time.sleep(0.6)  # noqa: ASYNC251 - this is what the test is about

    group.add_task(YEARLY)(blocks)
    app, _ = build(group, loop_block_warning=0.1)
    line = f"{__file__}:{blocks.__code__.co_firstlineno + 1} in {blocks.__qualname__}"
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: "attempt 1 blocked it at" in caplog.text, "the block has ended")
        shown = (await answer(client, "GET", "/health"))["last_block"]
        assert (shown["task_group_name"], shown["task_name"], shown["line"]) == ("Reports", "blocks", line)
        assert shown["seconds"] > 0.1
        assert shown["run_id"]
    first = next(one for one in caplog.records if "attempt 1 has blocked the" in one.getMessage())
    assert (first.levelno, first.name, first.threadName) == (
        logging.WARNING,
        "fastapi.task-manager.runner",
        "task-manager keeper",
    )
    assert line in first.getMessage()
    assert "time.sleep(0.6)" in first.getMessage()
    assert "lost the claim" not in caplog.text


async def test_nothing_watches_a_process_that_does_not_want_it() -> None:
    app, _ = build(TaskGroup("Reports"), loop_block_warning=0, loop_block_limit=0)
    async with serving(app):
        assert "task-manager keeper" not in {thread.name for thread in threading.enumerate()}
