"""The pages for users of other libraries, and those on workers and logs: their programs run, and do what they say."""

from __future__ import annotations

import ast
import logging
import logging.config
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastapi_task_manager import OperationalConfig

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
MONDAY_IN_ROME = datetime(2026, 3, 1, 23, tzinfo=UTC)


def blocks(page: str, title: str = "") -> list[str]:
    shown = rf'python title="{title}"' if title else "python"
    return re.findall(rf"```{shown}\n(.*?)```", (DOCS / f"howto/{page}.md").read_text(), re.DOTALL)


def program(page: str) -> Any:
    """The only program of this project on a page, executed."""
    (block,) = blocks(page)
    module = ModuleType(page)
    exec(compile(block, f"{page}.md", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(("page", "library"), [("from-apscheduler", "APScheduler"), ("from-celery-beat", "Celery")])
def test_the_code_of_the_other_library_is_python(page: str, library: str) -> None:
    (block,) = blocks(page, library)
    ast.parse(block)


async def test_the_program_for_users_of_apscheduler_runs_as_the_page_says() -> None:
    module = program("from-apscheduler")
    for day, reports in (("2026-03-02", 1), ("2026-03-07", 0)):  # a Monday and a Saturday
        async with module.manager.testing(now=datetime.fromisoformat(f"{day}T04:59:45Z")) as clock:
            await clock.advance(minutes=1)
            assert sum(run.name == "report" for run in clock.runs) == reports
            assert clock.failures == []
    async with module.manager.testing(now=datetime(2026, 12, 24, 8, 59, 55, tzinfo=UTC)) as clock:
        await clock.advance(seconds=10)
        assert [run.name for run in clock.runs] == ["remind", "sync"]


async def test_the_program_for_users_of_celery_runs_as_the_page_says() -> None:
    module = program("from-celery-beat")
    async with module.manager.testing(now=MONDAY_IN_ROME + timedelta(hours=5)) as clock:
        await clock.advance(hours=1, minutes=1)
        counts = {name: sum(run.name == name for run in clock.runs) for name in ("report", "sync")}
        assert counts == {"report": 1, "sync": 366}
        assert clock.failures == []


async def test_the_program_of_the_earlier_package_runs_unchanged() -> None:
    module = program("from-the-earlier-package")
    async with module.manager.testing(now=MONDAY_IN_ROME) as clock:
        await clock.advance(hours=7, minutes=1)
        assert {run.name for run in clock.runs} == {"cleanup__1", "cleanup__2", "ada"}
        assert clock.failures == []


@contextmanager
def started(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose standard error is read."""
    with subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """The lines up to the first one with this text. The end of the process ends them, too."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"no line with {text!r}: {''.join(lines)}")


def test_one_line_shows_the_log_under_uvicorn() -> None:
    page, source = blocks("see-the-log"), (EXAMPLES / "logged_application.py").read_text()
    assert page[0].splitlines()[-1] in source
    assert page[2] in source
    serve = ("-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "logged_application:app")
    with started(*serve) as process:
        lines = lines_until(process, " leads, term ")
        assert any(
            re.match(r"INFO: +fastapi\.task-manager\.runner: .* started on the memory store$", one) for one in lines
        )
        process.send_signal(signal.SIGINT)
        lines_until(process, " stopped")


def test_the_dictionary_for_uvicorn_shows_the_log() -> None:
    names: dict[str, Any] = {}
    exec(blocks("see-the-log")[1], names)
    logger = logging.getLogger("fastapi.task-manager")
    before = (logger.level, logger.handlers[:], logger.propagate)
    configured = logging.config.DictConfigurator(names["LOGGING"])
    assert configured.config["loggers"]["fastapi.task-manager"]["level"] == "INFO"
    assert configured.config["loggers"].keys() > {"uvicorn"}
    assert (logger.level, logger.handlers[:], logger.propagate) == before


def test_the_worker_process_stops_in_order(redis_url: str) -> None:
    command = ("-m", "fastapi_task_manager.cli", "worker", "worker_process:manager", "--app-dir", str(EXAMPLES))
    with started(*command, TASK_MANAGER_REDIS_HOST=redis_url) as process:
        lines_until(process, " leads, term ")
        process.terminate()
        lines_until(process, " stopped")
        assert process.wait(20) == 0


def test_the_switch_of_the_page_on_workers_is_a_field() -> None:
    assert OperationalConfig(enabled=False).enabled is False
