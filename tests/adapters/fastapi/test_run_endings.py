"""A caller that waits for a run learns of its end at once if its own process has settled it."""

from __future__ import annotations

import asyncio

import pytest

from fastapi_task_manager import RunHandle, TaskGroup, run_handle
from task_manager_core.domain.run import RunState
from task_manager_core.ports import OpenBackend
from tests.adapters.fastapi.application import build, serving
from tests.waiting import wait_until_async

LONG = 20.0


async def test_a_wait_ends_with_the_settlement_of_this_process(
    open_backend: OpenBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the test would fail with TimeoutError: the caller asks the store once an hour."""
    monkeypatch.setattr(run_handle, "FIRST_LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(run_handle, "SLOWEST_LOOK_SECONDS", 3600.0)
    group, door = TaskGroup("g"), asyncio.Event()

    @group.add_task(max_retries=1)
    async def work() -> None:
        await door.wait()
        door.clear()
        if len(ran) == 0:
            ran.append(1)
            raise ValueError

    ran: list[int] = []
    app, manager = build(group, backend=open_backend)
    async with serving(app):
        run = await manager.trigger(work)
        waits = [asyncio.ensure_future(run.wait(LONG)), asyncio.ensure_future(run.wait(LONG))]
        await in_state(run, RunState.RUNNING)
        door.set()
        await wait_until_async(lambda: ran, "the first attempt has failed")
        await in_state(run, RunState.RUNNING)
        assert not any(wait.done() for wait in waits)
        door.set()
        assert await asyncio.gather(*waits) == [RunState.SUCCEEDED] * 2
        assert not manager._lifecycle.endings._waiting


async def in_state(run: RunHandle, state: RunState) -> None:
    async def is_reached() -> bool:
        return await run.status() is state

    await wait_until_async(is_reached, f"the run is {state.value}")
