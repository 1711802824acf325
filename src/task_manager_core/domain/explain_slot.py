"""What was decided about one slot, and why. The answer comes from the records of the store.

A slot that was dispatched has lines of history, or a live run. A slot that was skipped lies in a recorded range with
its reason. Beside the reason stand the facts of that moment which the records still show, such as the run that had not
ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from task_manager_core.domain.explain import Explanation, Reason, ReasonCode, explain, reason_of_run, shown
from task_manager_core.domain.identity import RunId
from task_manager_core.domain.observation import Snapshot, TaskView
from task_manager_core.domain.planning import Skipped, SkipReason
from task_manager_core.domain.policy import Overlap
from task_manager_core.domain.run import AttemptRecord, AttemptStatus
from task_manager_core.domain.task import TaskDefinition

_MILLISECOND = timedelta(milliseconds=1)


class SlotVerdict(Enum):
    """What became of a slot, or of an instant that is none.

    DISPATCHED: it has a run. SKIPPED: it was skipped, with a reason. UNDECIDED: it is due, and the leader has not
    decided about it. PLANNED: it falls due later. NO_SLOT: the schedule has no slot at this instant. NO_RECORD: it was
    decided, and the store keeps no record of it any more.
    """

    DISPATCHED = "dispatched"
    SKIPPED = "skipped"
    UNDECIDED = "undecided"
    PLANNED = "planned"
    NO_SLOT = "no_slot"
    NO_RECORD = "no_record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the store has recorded of a task: its newest lines and skips, the newest first."""

    lines: Sequence[AttemptRecord]
    skips: Sequence[Skipped]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotExplanation:
    """The verdict about a slot, and its reasons in order.

    `run` is the run of a dispatched slot. `next_slot` and `due_at` are those of the task now.
    """

    slot: datetime
    verdict: SlotVerdict
    reasons: tuple[Reason, ...]
    run: RunId | None = None
    next_slot: datetime | None = None
    due_at: datetime | None = None


def explain_slot(
    task: TaskDefinition, view: TaskView, snapshot: Snapshot, records: Recorded, slot: datetime
) -> SlotExplanation:
    """Explain what was decided about a slot, or will be."""
    found = _explain_slot(task, view, snapshot, records, slot)
    following = view.next_slot
    return found if following is None else replace(found, next_slot=following.slot, due_at=following.due_at)


def _explain_slot(
    task: TaskDefinition, view: TaskView, snapshot: Snapshot, records: Recorded, slot: datetime
) -> SlotExplanation:
    run = RunId.of_slot(task.key, slot)
    attempts = [line for line in reversed(records.lines) if line.slot == slot]
    live = [one for one in view.live if one.slot == slot]
    if attempts or live:
        reasons = tuple(_of_attempts(run, attempts))
        reasons += tuple(reason_of_run(task, one, snapshot) for one in live)
        return SlotExplanation(slot=slot, verdict=SlotVerdict.DISPATCHED, reasons=reasons, run=run)
    planned = task.schedule.next_after(slot - _MILLISECOND) == slot
    skip = next((one for one in records.skips if one.first <= slot <= one.last), None)
    if skip is not None and (planned or slot in (skip.first, skip.last)):
        return _decided(slot, SlotVerdict.SKIPPED, _of_skip(task, view, skip, records, slot))
    if not planned:
        return _decided(slot, SlotVerdict.NO_SLOT, _no_slot(task, slot))
    return _without_record(task, view, snapshot, records, slot)


def explain_run(
    task: TaskDefinition, view: TaskView, snapshot: Snapshot, records: Recorded, run: RunId
) -> Explanation | None:
    """Explain how far a run has come. None if the store has neither the run nor a line of it."""
    attempts = [line for line in reversed(records.lines) if line.run == run]
    live = [one for one in view.live if one.run == run]
    if not attempts and not live:
        return None
    reasons = (*_of_attempts(run, attempts), *(reason_of_run(task, one, snapshot) for one in live))
    following = view.next_slot
    return Explanation(
        next_slot=None if following is None else following.slot,
        due_at=None if following is None else following.due_at,
        reasons=reasons,
    )


def _decided(slot: datetime, verdict: SlotVerdict, text: str) -> SlotExplanation:
    code = {
        SlotVerdict.SKIPPED: ReasonCode.SKIPPED,
        SlotVerdict.NO_SLOT: ReasonCode.NO_SLOT,
        SlotVerdict.NO_RECORD: ReasonCode.NO_RECORD,
    }[verdict]
    return SlotExplanation(slot=slot, verdict=verdict, reasons=(Reason(code=code, text=text),))


def _without_record(
    task: TaskDefinition, view: TaskView, snapshot: Snapshot, records: Recorded, slot: datetime
) -> SlotExplanation:
    """A slot of the schedule that has neither a run nor a skip."""
    following = view.next_slot
    if following is not None and slot >= following.slot:
        present = explain(task, view, snapshot)
        if slot > following.slot:
            before = f"slot {shown(following.slot)} is decided before it"
            later = Reason(code=ReasonCode.NOT_DUE, text=f"slot {shown(slot)} is not decided yet: {before}")
            present = Explanation(next_slot=slot, due_at=None, reasons=(*present.reasons[:-1], later))
        due = task.schedule.due_at(task.key, slot) <= snapshot.now
        verdict = SlotVerdict.UNDECIDED if due else SlotVerdict.PLANNED
        return SlotExplanation(slot=slot, verdict=verdict, reasons=present.reasons)
    if view.decided is None or slot > view.decided:
        text = "it fell due before the task was first seen, or before its schedule was changed, or the task is retired"
        return _decided(slot, SlotVerdict.NO_RECORD, f"slot {shown(slot)} was never planned: {text}")
    oldest = min((line.started_at for line in records.lines), default=None)
    kept = "no line of this task is kept" if oldest is None else f"the oldest line that was read is of {shown(oldest)}"
    text = f"slot {shown(slot)}: the record is gone, or the task did not exist then or had another schedule; {kept}"
    return _decided(slot, SlotVerdict.NO_RECORD, text)


def _no_slot(task: TaskDefinition, instant: datetime) -> str:
    following = task.schedule.next_after(instant)
    then = "it has none after it" if following is None else f"its next slot is {shown(following)}"
    return f"the schedule has no slot at {shown(instant)}: {then}"


def _of_attempts(run: RunId, attempts: Sequence[AttemptRecord]) -> Iterator[Reason]:
    """One reason for each attempt, in their order."""
    for line in attempts:
        worker = f" on worker {line.worker}" if line.worker.value else ""
        began = f"began at {shown(line.started_at)}{worker}"
        took = f"{line.duration.total_seconds():g} s"
        error = "" if line.failure is None else f": {line.failure.type}"
        match line.status:
            case AttemptStatus.SUCCEEDED:
                what = f"{began} and succeeded after {took}"
            case AttemptStatus.RETRIED:
                what = f"{began} and failed after {took}{error}; another attempt follows"
            case AttemptStatus.FAILED:
                what = f"{began} and failed after {took}{error}; the run is not tried again"
            case AttemptStatus.LOST:
                what = f"was lost{worker}: no heartbeat came from {shown(line.started_at)} on, for {took}"
            case AttemptStatus.EXPIRED:
                what = f"was claimed at {shown(line.started_at)}, too late for its deadline, and was not executed"
            case _:
                what = f"was cancelled at {shown(line.started_at + line.duration)}"
        yield Reason(code=ReasonCode.ATTEMPT, text=f"run {run} attempt {line.attempt} {what}")


def _of_skip(task: TaskDefinition, view: TaskView, skip: Skipped, records: Recorded, slot: datetime) -> str:
    among = f" (one of {skip.count} slots, {shown(skip.first)} to {shown(skip.last)})" if skip.count > 1 else ""
    match skip.reason:
        case SkipReason.OVERLAP:
            limit = "as many runs lived as the task allows" if task.overlap is Overlap.ALLOW else "a run had not ended"
            why = f"{limit}{_which(view, records.lines, slot)}"
        case SkipReason.BACKOFF:
            why = _backoff(records.lines, slot)
        case SkipReason.DEADLINE:
            length = "" if task.start_deadline is None else f" (now {task.start_deadline.total_seconds():g} s)"
            why = f"the leader could not dispatch it within the start_deadline of the task{length}"
        case SkipReason.CATCH_UP:
            grace, mode = task.catch_up.grace.total_seconds(), task.catch_up.mode.value
            why = f"no leader dispatched it within {grace:g} s, and catch_up={mode} did not run it afterwards"
        case _:
            why = _PLAIN[skip.reason]
    return f"slot {shown(slot)} was skipped: {skip.reason.value}{among}: {why}"


_PLAIN = {
    SkipReason.PAUSED: "the task was disabled when the slot fell due",
    SkipReason.DELETED: "its schedule was replaced, or no process declared the task",
    SkipReason.STORE_LOST: "the store lost its data, and with it what was decided about the slot",
}


def _backoff(lines: Sequence[AttemptRecord], slot: datetime) -> str:
    failed = next((one for one in lines if one.status is AttemptStatus.RETRIED and _end(one) <= slot), None)
    if failed is None:
        return "a retry of the task was waiting"
    error = "" if failed.failure is None else f" with {failed.failure.type}"
    return f"run {failed.run} had failed at {shown(_end(failed))}{error} and waited for its retry"


def _which(view: TaskView, lines: Sequence[AttemptRecord], slot: datetime) -> str:
    """The run that lived when the slot fell due, as far as the records show it."""
    ended = next((line for line in lines if line.started_at <= slot < _end(line)), None)
    if ended is not None:
        return f": run {ended.run} began at {shown(ended.started_at)} and ended at {shown(_end(ended))}"
    living = next((run for run in view.live if run.slot is not None and run.slot < slot), None)
    return "" if living is None else f": run {living.run} still lives ({living.state.value})"


def _end(line: AttemptRecord) -> datetime:
    return line.started_at + line.duration
