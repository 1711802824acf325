"""The fields of log records about a task, a run or an attempt: one table for all lines of the library."""

from __future__ import annotations

from datetime import datetime

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.run import Claim, Run

FIELDS = {
    "task": "the task, as `group/name`",
    "run_id": "the run: the same for all its attempts",
    "slot": "the planned instant in UTC, in the form of ISO 8601; None for a run on request",
    "attempt": "the number of the attempt, from 1",
    "fencing_token": "the fencing token of the attempt",
    "worker": "the process that executes the attempt",
}
"""What each field means. A line about a task has the first, one about a run the first three, one about an attempt
all."""


def fields_of_task(key: TaskKey) -> dict[str, object]:
    return {"task": str(key)}


def fields_of_run(run: Run) -> dict[str, object]:
    return _run_fields(run.task, run.id.value, run.slot)


def fields_of_claim(claim: Claim) -> dict[str, object]:
    run = claim.run
    return fields_of_attempt(run.task, run.id.value, run.slot, claim.attempt, claim.token, claim.worker.value)


def fields_of_attempt(
    task: TaskKey, run: str, slot: datetime | None, attempt: int, token: int, worker: str
) -> dict[str, object]:
    return {**_run_fields(task, run, slot), "attempt": attempt, "fencing_token": token, "worker": worker}


def _run_fields(task: TaskKey, run: str, slot: datetime | None) -> dict[str, object]:
    return {"task": str(task), "run_id": run, "slot": None if slot is None else slot.isoformat()}


def prefix_of(task: object, run: object, attempt: object) -> str:
    """The beginning of the lines that a task logs through its context, for logs that show no fields."""
    return f"[{task} run {run} attempt {attempt}] "
