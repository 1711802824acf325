"""The lines that a function logs with any logger are kept with its run."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fastapi_task_manager import RunContext, RunState, TaskGroup
from fastapi_task_manager.observers.kept_lines import keeping_lines
from tests.adapters.fastapi.application import build
from tests.waiting import wait_until_async

LOGGER = logging.getLogger("application.imports")
LONG = 30.0


@pytest.fixture(autouse=True)
def at_info() -> Generator[None]:
    before = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    yield
    LOGGER.setLevel(before)


@asynccontextmanager
async def lines_of(group: TaskGroup, release: threading.Event, **settings: Any) -> AsyncGenerator[list[str]]:
    """The lines of a run of the task `work`, which waits for the event."""
    _, manager = build(group, **settings)
    await manager.start()
    try:
        run = await manager.trigger((group.name, "work"))
        lines: list[str] = []

        async def are_reported() -> bool:
            progress = await run.progress()
            lines[:] = () if progress is None else progress.lines
            return any("the last line" in line for line in lines)

        await wait_until_async(are_reported, "the lines are in the store")
        yield lines
        release.set()
        assert await run.wait(LONG) is RunState.SUCCEEDED
    finally:
        release.set()
        await manager.stop()


async def test_a_function_in_the_loop_has_its_lines_kept() -> None:
    group, release = TaskGroup("g"), threading.Event()

    @group.add_task()
    async def work() -> None:
        LOGGER.debug("not kept")
        LOGGER.info("%d rows", 3)
        try:
            raise ValueError("bad row")
        except ValueError:
            LOGGER.exception("row %d", 7)
        LOGGER.warning("the last line")
        await asyncio.to_thread(release.wait, LONG)

    async with lines_of(group, release) as lines:
        assert lines == ["3 rows", "ERROR: row 7 (ValueError: bad row)", "WARNING: the last line"]


async def test_a_function_in_a_thread_has_its_lines_kept() -> None:
    group, release = TaskGroup("g"), threading.Event()

    @group.add_task()
    def work() -> None:
        LOGGER.info("in a thread")
        LOGGER.info("the last line")
        release.wait(LONG)

    async with lines_of(group, release) as lines:
        assert lines == ["in a thread", "the last line"]


async def test_a_line_of_the_context_is_kept_once_and_without_its_prefix() -> None:
    group, release = TaskGroup("g"), threading.Event()
    logging.getLogger("fastapi.task-manager").setLevel(logging.INFO)

    @group.add_task()
    async def work(context: RunContext) -> None:
        context.log("begun")
        context.logger.info("%s of the logger", "a line")
        context.log("the last line")
        await asyncio.to_thread(release.wait, LONG)

    try:
        async with lines_of(group, release) as lines:
            assert lines == ["begun", "a line of the logger", "the last line"]
    finally:
        logging.getLogger("fastapi.task-manager").setLevel(logging.NOTSET)


async def test_the_lines_are_bounded() -> None:
    group, release = TaskGroup("g"), threading.Event()

    @group.add_task()
    def work() -> None:
        for number in range(1000):
            LOGGER.info("%d %s", number, "x" * 1000)
        LOGGER.info("the last line")
        release.wait(LONG)

    async with lines_of(group, release) as lines:
        assert len(lines) == 20
        assert max(map(len, lines)) == 300


async def test_a_line_that_cannot_be_formatted_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    group, release = TaskGroup("g"), threading.Event()
    monkeypatch.setattr(logging, "raiseExceptions", False)

    @group.add_task()
    def work() -> None:
        LOGGER.info("%d", "no number")
        LOGGER.info("the last line")
        release.wait(LONG)

    async with lines_of(group, release) as lines:
        assert lines == ["(a line that cannot be shown)", "the last line"]


async def test_keep_log_lines_false_keeps_none() -> None:
    group, release = TaskGroup("g"), threading.Event()

    @group.add_task()
    async def work(context: RunContext) -> None:
        LOGGER.info("not kept")
        context.log("the last line")
        await asyncio.to_thread(release.wait, LONG)

    before = logging.getLogRecordFactory()
    async with lines_of(group, release, keep_log_lines=False) as lines:
        assert lines == ["the last line"]
        assert logging.getLogRecordFactory() is before


def test_a_process_without_a_manager_has_the_factory_that_it_had() -> None:
    before = logging.getLogRecordFactory()
    with keeping_lines():
        with keeping_lines():
            assert logging.getLogRecordFactory() is not before
        assert logging.getLogRecordFactory() is not before
    assert logging.getLogRecordFactory() is before


def test_a_factory_that_another_library_adds_meanwhile_stays() -> None:
    before = logging.getLogRecordFactory()
    try:
        with keeping_lines():
            ours = logging.getLogRecordFactory()

            def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
                return ours(*args, **kwargs)

            logging.setLogRecordFactory(theirs)
        assert logging.getLogRecordFactory() is theirs
        with keeping_lines():
            assert logging.getLogRecordFactory() is theirs, "one that is in the chain already is not added again"
            LOGGER.info("made once, and without end")
    finally:
        logging.setLogRecordFactory(before)


def test_warnings_are_printed_and_basic_config_works_as_without_a_manager() -> None:
    with keeping_lines():
        assert not any("task" in type(handler).__module__ for handler in logging.getLogger().handlers)
