"""A deploy with another schedule, as the log shows it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fastapi_task_manager import TaskGroup
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import build, serving

GROUP = "fastapi.task-manager.group"


async def deploy(store: MemoryStore, expr: str | None, **options: Any) -> None:
    """Start a process with this schedule, and stop it."""
    group = TaskGroup("Reports")

    @group.add_task(expr, name="nightly", **options)
    async def nightly() -> None: ...

    app, _ = build(group, backend=store.open)
    async with serving(app):
        pass


async def test_a_changed_schedule_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, GROUP)
    store = MemoryStore()
    await deploy(store, "0 6 * * *")
    await deploy(store, "0 6 * * *")
    assert [record for record in caplog.records if record.name == GROUP] == []
    await deploy(store, "0 6 * * *", timezone="Europe/Rome", jitter=30)
    await deploy(store, None, interval=90)
    assert [record.getMessage() for record in caplog.records if record.name == GROUP] == [
        "the schedule of Reports/nightly has changed: 0 6 * * * -> 0 6 * * * (timezone Europe/Rome; jitter 30 s)",
        "the schedule of Reports/nightly has changed: 0 6 * * * (timezone Europe/Rome; jitter 30 s) -> every 90s",
    ]
