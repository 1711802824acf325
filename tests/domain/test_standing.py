"""How a task stands, from its state and its newest attempts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.observation import LiveRun, TaskView
from task_manager_core.domain.planning import NextSlot
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, RunState
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.standing import Standing, failures_in_row, lateness, standings
from task_manager_core.domain.task import TaskDefinition

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEY = TaskKey("group", "task")
TASK = TaskDefinition(key=KEY, schedule=Schedule.cron("*/5 * * * *"), function="work")
IDLE = TaskView(key=KEY, version=1, next_slot=NextSlot(slot=NOW + 300 * SECOND, due_at=NOW + 300 * SECOND))


def record(status: AttemptStatus = AttemptStatus.SUCCEEDED, attempt: int = 1, late: float = 0) -> AttemptRecord:
    return AttemptRecord(
        run=RunId("r"),
        slot=NOW,
        attempt=attempt,
        status=status,
        started_at=NOW + late * SECOND,
        duration=SECOND,
        worker=NodeId("node"),
        token=1,
    )


def run(state: RunState, attempt: int = 1, age: float = 60) -> LiveRun:
    return LiveRun(run=RunId("r"), slot=NOW - age * SECOND, state=state, attempt=attempt, failures=0)


def due(seconds_ago: float) -> NextSlot:
    return NextSlot(slot=NOW - 60 * SECOND, due_at=NOW - seconds_ago * SECOND)


@pytest.mark.parametrize(
    ("view", "newest", "expected"),
    [
        (IDLE, None, ""),
        (IDLE, record(), ""),
        (IDLE, record(AttemptStatus.FAILED), "failing"),
        (IDLE, record(AttemptStatus.RETRIED), "failing"),
        (IDLE, record(AttemptStatus.LOST), "failing"),
        (IDLE, record(AttemptStatus.CANCELLED), ""),
        (IDLE, record(AttemptStatus.EXPIRED), ""),
        (replace(IDLE, paused=True), None, "paused"),
        (replace(IDLE, next_slot=due(2)), None, ""),
        (replace(IDLE, next_slot=due(2.1)), None, "late"),
        (replace(IDLE, next_slot=due(2.1), retired=True), None, ""),
        (replace(IDLE, live=(run(RunState.RUNNING),)), None, "running"),
        (replace(IDLE, live=(run(RunState.QUEUED),)), None, "late waiting"),
        (replace(IDLE, live=(run(RunState.QUEUED, age=2),)), None, "waiting"),
        (replace(IDLE, live=(run(RunState.QUEUED, attempt=2),)), None, "waiting"),
        (replace(IDLE, live=(replace(run(RunState.QUEUED), slot=None),)), None, "waiting"),
        (replace(IDLE, live=(run(RunState.WAITING, attempt=2),)), record(AttemptStatus.RETRIED), "failing waiting"),
        (replace(IDLE, live=(run(RunState.RUNNING), run(RunState.HELD))), None, "late running waiting"),
    ],
)
def test_a_task_stands_as_its_state_and_its_newest_attempt_say(
    view: TaskView, newest: AttemptRecord | None, expected: str
) -> None:
    assert standings(TASK, view, newest, NOW) == tuple(Standing(word) for word in expected.split())


def test_failures_in_a_row_end_at_the_last_attempt_that_did_not_fail() -> None:
    failed, lost = record(AttemptStatus.FAILED), record(AttemptStatus.LOST)
    assert failures_in_row([]) == 0
    assert failures_in_row([failed, lost, record(AttemptStatus.RETRIED), record(), failed]) == 3
    assert failures_in_row([record(AttemptStatus.CANCELLED), failed]) == 0


def test_the_lateness_counts_from_the_due_instant_of_a_first_attempt() -> None:
    assert lateness(TASK, record(late=1.5)) == 1.5 * SECOND
    assert lateness(TASK, record(late=-1)) == timedelta(0)
    assert lateness(TASK, record(attempt=2, late=1.5)) is None
    assert lateness(TASK, replace(record(), slot=None)) is None
    spread = replace(TASK, schedule=replace(TASK.schedule, jitter=60 * SECOND))
    jitter = spread.schedule.due_at(KEY, NOW) - NOW
    assert jitter > timedelta(0)
    assert lateness(spread, record(late=jitter.total_seconds() + 1)) == SECOND
