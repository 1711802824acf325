"""A run that is given up: when, and what the log says."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from fastapi_task_manager import Callbacks, RunContext, TaskGroup
from fastapi_task_manager.observers.logs import ROOT, LogObserver
from task_manager_core.application.failure import WorkerLost, failure_of
from task_manager_core.domain.events import ClaimReaped, RunSettled
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.policy import RetryPolicy
from task_manager_core.domain.run import Claim, Exhausted, Settlement
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from tests.adapters.fastapi.application import build

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NODE = NodeId("node")
RUN = TaskDefinition(
    key=TaskKey("g", "n"),
    schedule=Schedule(rules=()),
    function="f",
    retry=RetryPolicy(max_lost_attempts=2),
).run_of_request("request", 1)


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith(ROOT) and record.levelno >= logging.ERROR]


async def test_by_default_a_run_that_always_fails_is_given_up_within_the_hour_and_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group, given_up = TaskGroup("g"), list[tuple[int, str]]()

    def note(context: RunContext, error: BaseException) -> None:
        given_up.append((context.attempt, str(error)))

    @group.add_task("0 12 1 3 *", callbacks=Callbacks(on_failure=note))
    async def broken() -> None:
        raise ConnectionError("no mail server,\nor no network")

    _, manager = build(group, retry_backoff=1.0)
    async with manager.testing(now=NOON - timedelta(seconds=1)) as clock:
        await clock.advance(hours=1)
        statuses = [run.status for run in clock.runs]
        last = clock.runs[-1]
    assert statuses == ["retried"] * 50 + ["failed"]
    assert timedelta(minutes=45) <= last.started_at - NOON <= timedelta(minutes=46)
    assert given_up == [(51, "no mail server,\nor no network")]
    (line,) = errors(caplog)
    assert line.getMessage() == (
        f"failed g/broken run {last.run_id} attempt 51 after 0.000 s, for good, with 51 failures and 0 losses: "
        "ConnectionError: no mail server, or no network"
    )
    assert line.exc_info is not None


@pytest.mark.parametrize(
    ("losses", "level", "end"),
    [
        (0, logging.WARNING, "lost its worker node: loss 1, 2 allowed"),
        (1, logging.WARNING, "lost its worker node: loss 2, 2 allowed"),
        (2, logging.ERROR, "lost its worker node: loss 3, 2 allowed. It is not started again"),
    ],
)
def test_the_loss_that_ends_a_run_is_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture, losses: int, level: int, end: str
) -> None:
    claim = Claim(run=RUN, attempt=losses + 1, failures=0, losses=losses, token=1, worker=NODE)
    LogObserver().notice(ClaimReaped(node=NodeId("leader"), claim=claim))
    (line,) = caplog.records
    assert (line.name, line.levelno) == (f"{ROOT}.reconciler", level)
    assert line.getMessage() == f"attempt {losses + 1} of g/n run {RUN.id} {end}"


def test_the_line_about_a_run_that_lost_its_workers_too_often_counts_failures_and_losses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    claim = Claim(run=RUN, attempt=5, failures=1, losses=3, token=1, worker=NODE)
    error = WorkerLost("3 attempts lost their worker")
    settlement = Settlement(
        claim=claim, outcome=Exhausted(), started_at=NOON, duration=timedelta(0), failure=failure_of(error)
    )
    LogObserver().notice(RunSettled(node=NODE, settlement=settlement, error=error))
    (line,) = errors(caplog)
    assert "for good, with 1 failures and 3 losses: " in line.getMessage()
    assert line.getMessage().endswith("WorkerLost: 3 attempts lost their worker")


def test_the_last_error_in_the_line_is_short(caplog: pytest.LogCaptureFixture) -> None:
    claim = Claim(run=RUN, attempt=1, failures=0, token=1, worker=NODE)
    settlement = Settlement(
        claim=claim,
        outcome=Exhausted(),
        started_at=NOON,
        duration=timedelta(0),
        failure=failure_of(ValueError("x" * 10_000)),
    )
    LogObserver().notice(RunSettled(node=NODE, settlement=settlement))
    (line,) = errors(caplog)
    assert line.getMessage().endswith("x…")
    assert len(line.getMessage()) < 500
