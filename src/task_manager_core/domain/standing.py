"""How a task stands: the words by which people look for tasks, from its state and its newest lines of history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import Enum
from itertools import takewhile

from task_manager_core.domain.observation import LiveRun, TaskView
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, RunState
from task_manager_core.domain.task import TaskDefinition

FAILED_ATTEMPTS = frozenset({AttemptStatus.RETRIED, AttemptStatus.FAILED, AttemptStatus.LOST})
"""An attempt of these failed, or lost its worker."""


class Standing(Enum):
    """A task may have several of them.

    FAILING: its newest attempt failed, or lost its worker. LATE: a slot is due for longer than `catch_up.grace`, and is
    not decided, or its run has not begun. PAUSED: it is disabled. RUNNING: a worker executes a run of it. WAITING: a
    run of it is queued or held, or waits for an instant.
    """

    FAILING = "failing"
    LATE = "late"
    PAUSED = "paused"
    RUNNING = "running"
    WAITING = "waiting"


def standings(
    task: TaskDefinition, view: TaskView, newest: AttemptRecord | None, now: datetime
) -> tuple[Standing, ...]:
    """The standings of a task, in the order of the enum. `newest` is its newest line of history."""
    return tuple(_standings(task, view, newest, now))


def _standings(task: TaskDefinition, view: TaskView, newest: AttemptRecord | None, now: datetime) -> Iterator[Standing]:
    if newest is not None and newest.status in FAILED_ATTEMPTS:
        yield Standing.FAILING
    if _is_late(task, view, now):
        yield Standing.LATE
    if view.paused:
        yield Standing.PAUSED
    if view.running:
        yield Standing.RUNNING
    if any(run.state is not RunState.RUNNING for run in view.live):
        yield Standing.WAITING


def _is_late(task: TaskDefinition, view: TaskView, now: datetime) -> bool:
    latest = now - task.catch_up.grace
    undecided = view.next_slot is not None and not view.retired and view.next_slot.due_at < latest
    return undecided or any(_has_not_begun(task, run, latest) for run in view.live)


def _has_not_begun(task: TaskDefinition, run: LiveRun, latest: datetime) -> bool:
    """Was this run due before `latest`, and has no worker begun its first attempt?"""
    if run.slot is None or run.attempt > 1 or run.state not in (RunState.QUEUED, RunState.HELD):
        return False
    return task.schedule.due_at(task.key, run.slot) < latest


def failures_in_row(newest_first: Iterable[AttemptRecord]) -> int:
    """The number of the newest attempts that failed or lost their worker, back to the last other one."""
    return sum(1 for _ in takewhile(lambda record: record.status in FAILED_ATTEMPTS, newest_first))


def lateness(task: TaskDefinition, record: AttemptRecord) -> timedelta | None:
    """How long after its due instant the first attempt of a slot began; None for every other attempt."""
    if record.slot is None or record.attempt > 1:
        return None
    return max(record.started_at - task.schedule.due_at(task.key, record.slot), timedelta(0))
