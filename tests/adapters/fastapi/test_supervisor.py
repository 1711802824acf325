"""Several worker processes under one parent: restarts, limits, signals and probes. The children are small scripts."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fastapi_task_manager.cli import supervisor as module
from fastapi_task_manager.cli.options import WorkerOptions
from fastapi_task_manager.cli.probes import ask_file
from fastapi_task_manager.cli.supervisor import Supervisor
from fastapi_task_manager.cli.worker import END_SIGNALS
from tests.waiting import wait_until_async

CHILD = """
import os, signal, sys, time
report, folder = int(sys.argv[sys.argv.index("--report-to") + 1]), {folder!r}
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
def tell(ready):
    os.write(report, b'{{"live": true, "ready": %s, "at": 1, "stop_seconds": 0.3}}\\n' % ready)
open(os.path.join(folder, str(os.getpid())), "w").close()
{body}
"""
WORKS = """
while not stopped:
    tell(b"true")
    time.sleep(0.05)
"""
STUBBORN = """
tell(b"true")
while len(stopped) < 100:
    time.sleep(0.05)
"""


@asynccontextmanager
async def supervised(
    folder: Path, monkeypatch: pytest.MonkeyPatch, body: str, *, processes: int = 1
) -> AsyncGenerator[asyncio.Task[int]]:
    """A supervisor whose children are scripts with this body. It is told to end with the block."""
    script = folder / "child.py"
    script.write_text(CHILD.format(folder=str(folder), body=body))
    monkeypatch.setattr(Supervisor, "command", (sys.executable, str(script)))
    monkeypatch.setattr(module, "FIRST_DELAY", 0.01)
    options = WorkerOptions(target="a:b", processes=processes, health_file=folder / "health")
    running = asyncio.ensure_future(Supervisor(options).run())
    try:
        yield running
    finally:
        if not running.done():
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(20):
                await running
        for number in END_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)


def children(folder: Path) -> set[int]:
    """The processes that have started."""
    return {int(one.name) for one in folder.iterdir() if one.name.isdecimal()}


def wrong(folder: Path) -> str | None:
    return ask_file(folder / "health", "ready", 60.0)


async def test_a_child_that_was_killed_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with supervised(tmp_path, monkeypatch, WORKS, processes=2) as running:
        await wait_until_async(lambda: wrong(tmp_path) is None, "both are ready")
        first = children(tmp_path)
        assert len(first) == 2
        os.kill(min(first), signal.SIGKILL)
        await wait_until_async(lambda: len(children(tmp_path)) == 3, "a third one starts")
        await wait_until_async(lambda: wrong(tmp_path) is None, "they are ready again")
        assert not running.done()
    assert await running == 0
    assert not (tmp_path / "health").exists()
    assert [pid for pid in children(tmp_path) if _lives(pid)] == []


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_dies_at_its_start_again_and_again_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "fastapi.task-manager.runner")
    async with supervised(tmp_path, monkeypatch, "sys.exit(3)") as running:
        async with asyncio.timeout(30):
            assert await running == 1
    assert len(children(tmp_path)) == module.MOST_FAILED_STARTS
    assert "died 5 times before it was ready, at last with code 3" in caplog.text
    assert "another one starts in 0.08 s" in caplog.text


async def test_a_child_that_cannot_work_as_it_is_set_up_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervised(tmp_path, monkeypatch, "sys.exit(2)") as running:
        async with asyncio.timeout(30):
            assert await running == 2
    assert len(children(tmp_path)) == 1


async def test_a_child_that_was_ready_is_started_again_as_often_as_it_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_DELAY", 0.01)
    most = module.MOST_FAILED_STARTS
    async with supervised(tmp_path, monkeypatch, 'tell(b"true"); time.sleep(0.05); sys.exit(1)') as running:
        await wait_until_async(lambda: len(children(tmp_path)) > most, f"more than {most} starts")
        assert not running.done()
    assert await running == 0


async def test_the_supervisor_kills_a_child_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KILL_SPARE_SECONDS", 0.1)
    async with supervised(tmp_path, monkeypatch, STUBBORN) as running:
        await wait_until_async(lambda: wrong(tmp_path) is None, "it is ready")
        os.kill(os.getpid(), signal.SIGTERM)
        await wait_until_async(lambda: wrong(tmp_path) == "not ready: stopping", "it says that it stops")
    assert await running == 1
    assert [pid for pid in children(tmp_path) if _lives(pid)] == []


async def test_a_child_that_reports_nothing_is_not_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.2)
    async with supervised(tmp_path, monkeypatch, STUBBORN.replace("< 100", "< 1")):
        health = tmp_path / "health"
        await wait_until_async(lambda: "does not answer" in str(ask_file(health, "live", 60.0)), "it is not live")
