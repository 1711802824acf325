"""The arguments of the scripts of the run queue."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.progress import ProgressReport
from task_manager_core.domain.run import Claim, Retried, Run, Settlement
from task_manager_core.ports.codec import encode_progress, encode_record, encode_run, encode_success
from task_manager_redis.batches import Encoded
from task_manager_redis.dispatch import slot_argument
from task_manager_redis.driver import Argument
from task_manager_redis.keys import encode, encode_lane, encode_run_id, encode_task

_MILLISECOND = timedelta(milliseconds=1)
_OTHERS = 300
"""The other arguments of a settlement take about so many bytes."""


def cancellation_arguments(run: tuple[TaskKey, RunId]) -> tuple[Argument, ...]:
    key, name = run
    return encode_task(key), encode_run_id(name)


def milliseconds_up(delay: timedelta) -> int:
    """A delay in milliseconds, rounded up, so that no wait is too short."""
    return -(-delay // _MILLISECOND)


def run_arguments(run: Run) -> tuple[Argument, ...]:
    return (
        encode_run_id(run.id),
        encode_task(run.task),
        encode_lane(run.priority, run.queue),
        slot_argument(run),
        run.live_limit or 0,
        encode_run(run),
    )


def claim_arguments(claim: Claim) -> tuple[Argument, ...]:
    """A claim as arguments of a script."""
    return encode(claim.worker.value), claim.token, encode_task(claim.run.task), encode_run_id(claim.run.id)


def report_arguments(report: ProgressReport) -> tuple[Argument, ...]:
    return (*claim_arguments(report.claim), encode_progress(report.progress))


def size_of_report(report: ProgressReport) -> int:
    return sum(map(len, report.progress.lines))


def size_of_claim(claim: Claim) -> int:
    """About as long as its body, which is moved when it is released."""
    return len(claim.run.kwargs)


def moved(settlement: Settlement) -> int:
    """A settlement moves a body if the run is tried again, or if it may let a held run of its task go."""
    run = settlement.claim.run
    return len(run.kwargs) if isinstance(settlement.outcome, Retried) or run.live_limit else 0


def remembered_arguments(settlement: Settlement) -> Encoded:
    """A success that its task remembers."""
    (token, task, run, _, line), size = settlement_arguments(settlement)
    remembered = settlement.remembered
    assert remembered is not None
    cursor = remembered.cursor or ""
    return Encoded((token, task, run, line, encode_success(remembered.success), cursor), size + len(cursor.encode()))


def settlement_arguments(settlement: Settlement) -> Encoded:
    claim, outcome = settlement.claim, settlement.outcome
    delay: Argument = milliseconds_up(outcome.delay) if isinstance(outcome, Retried) else "end"
    name = encode_task(claim.run.task), encode_run_id(claim.run.id)
    line = encode_record(settlement.record())
    size = len(line) if line.isascii() else len(line.encode(errors="replace"))
    return Encoded((claim.token, *name, delay, line), size + _OTHERS + moved(settlement))
