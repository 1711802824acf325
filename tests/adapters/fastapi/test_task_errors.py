"""The exceptions of tasks in log records: their true class, and a bounded text."""

from __future__ import annotations

import asyncio
import functools
import logging
import traceback
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastapi_task_manager.observers.logs import ROOT, LogObserver
from task_manager_core.application.failure import LONGEST_TRACEBACK, RaisedInProcess, failure_of
from task_manager_core.application.process_call import Raised
from task_manager_core.domain.events import RunSettled
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy
from task_manager_core.domain.run import Claim, Exhausted, Run, Settlement


class OperationalError(Exception):
    """Named like one of SQLAlchemy."""


class Tracker(logging.Handler):
    """Groups by type, as an error tracker does."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: Counter[tuple[str, str]] = Counter()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info is not None
        kind, _, _ = record.exc_info
        assert kind is not None
        self.groups[kind.__module__, kind.__qualname__] += 1
        self.records.append(record)


@pytest.fixture
def tracker() -> Any:
    tracker, logger = Tracker(), logging.getLogger(f"{ROOT}.consumer")
    logger.addHandler(tracker)
    yield tracker
    logger.removeHandler(tracker)


def settled(error: BaseException) -> RunSettled:
    run = Run(
        id=RunId("r"),
        task=TaskKey("g", "n"),
        slot=None,
        function="g:n",
        kwargs="{}",
        priority=Priority.HIGH,
        overlap=Overlap.ALLOW,
        retry=RetryPolicy(),
        timeout=None,
        version=1,
        dynamic=False,
    )
    claim = Claim(run=run, attempt=1, failures=0, token=1, worker=NodeId("w"))
    settlement = Settlement(
        claim=claim,
        outcome=Exhausted(),
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        duration=timedelta(0),
        failure=failure_of(error),
    )
    return RunSettled(node=NodeId("w"), settlement=settlement, error=error)


def raised(error: BaseException, frames: int = 0) -> BaseException:
    """The exception, raised with so many frames, which are of several functions as in a real program."""

    def one(left: int) -> None:
        if left:
            two(left - 1)
        raise error

    def two(left: int) -> None:
        one(left)

    try:
        one(frames)
    except BaseException as caught:  # noqa: BLE001 - that is what the test wants
        return caught
    raise AssertionError


@functools.cache
def long_errors() -> dict[str, BaseException]:
    chain = raised(OperationalError("(psycopg) connection refused\n" + "[SQL: SELECT …] " * 200), frames=90)
    chain.__cause__ = raised(ConnectionError("refused"), frames=90)
    chain.__cause__.__cause__ = raised(OSError("x" * 50_000), frames=90)
    cycle = raised(OperationalError("x" * 100_000))
    cycle.__context__ = raised(ValueError("y" * 100_000))
    cycle.__context__.__context__ = cycle
    unformattable: Any = ("page.html", 1, "7", "{% x")
    return {
        "a chain": chain,
        "a cycle": cycle,
        "not formattable": raised(SyntaxError("cannot parse", unformattable)),
        "a group": raised(BaseExceptionGroup("many", [raised(ValueError("z" * 3_000), frames=50) for _ in range(30)])),
    }


@pytest.mark.parametrize("name", ["a chain", "a cycle", "not formattable", "a group"])
def test_an_abridged_exception_keeps_its_class(tracker: Tracker, name: str) -> None:
    error = long_errors()[name]
    LogObserver().notice(settled(error))
    assert tracker.groups == {(type(error).__module__, type(error).__qualname__): 1}
    (record,) = tracker.records
    assert record.exc_info is not None
    assert record.exc_info[0] is type(error)
    text = logging.Formatter().format(record)
    assert type(error).__qualname__ in text
    assert "raise error" in text, "the place of the error"
    assert len(text) < LONGEST_TRACEBACK + 1_000
    assert "Abridged" not in text


def test_an_abridged_group_shows_what_is_in_it(tracker: Tracker) -> None:
    LogObserver().notice(settled(long_errors()["a group"]))
    text = logging.Formatter().format(tracker.records[0])
    assert "ValueError: zzz" in text


def test_different_long_errors_are_different_groups(tracker: Tracker) -> None:
    for error in long_errors().values():
        LogObserver().notice(settled(error))
    assert len(tracker.groups) == 3


def test_an_exception_that_cannot_leave_its_process_keeps_its_class(tracker: Tracker) -> None:
    class Locked(Exception):
        def __init__(self) -> None:
            self.lock = asyncio.Lock()
            super().__init__("locked", lambda: None)

    received = Raised.of(raised(Locked())).error()
    assert isinstance(received, RaisedInProcess)
    LogObserver().notice(settled(received))
    ((_, name),) = tracker.groups
    assert name.endswith("Locked")
    assert "raise error" in logging.Formatter().format(tracker.records[0])


def test_a_short_exception_is_logged_itself(tracker: Tracker) -> None:
    error = raised(ValueError("short"))
    LogObserver().notice(settled(error))
    assert tracker.records[0].exc_info == (ValueError, error, error.__traceback__)
    assert traceback.format_exception(error)[-1] in logging.Formatter().format(tracker.records[0])
