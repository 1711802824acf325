"""Why a task runs next when it does, or does not run.

The last reason comes from `planning.decide_slots`, which is called for the next slot with the present state: the
function that schedules also explains. Before it come the conditions that no decision can change: a disabled task, a
missing leader, a function that no living process can call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from task_manager_core.domain.observation import LiveRun, Snapshot, TaskView
from task_manager_core.domain.planning import DueTask, SkipReason, SlotDecision, decide_slots
from task_manager_core.domain.run import RunState
from task_manager_core.domain.task import TaskDefinition


class ReasonCode(Enum):
    """The kinds of reasons, in the order in which they are listed.

    The reasons about live runs keep the order of the runs. The last five are about a slot of the past (`explain_slot`).
    """

    UNSCHEDULED = "no_schedule"
    ENDED = "schedule_ended"
    RETIRED = "not_declared"
    PAUSED = "disabled"
    NO_LEADER = "no_leader"
    NO_WORKER = "no_worker"
    RUNNING = "running"
    QUEUED = "queued"
    BACKOFF = "backoff"
    RELEASED = "handed_back"
    HELD = "held"
    DISPATCHES = "will_dispatch"
    HOLDS = "will_hold"
    SKIPS = "will_skip"
    NOT_DUE = "not_decided_yet"
    ATTEMPT = "attempt"
    SKIPPED = "skipped"
    NO_SLOT = "no_slot"
    NO_RECORD = "no_record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    code: ReasonCode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`next_slot` is the planned instant and `due_at` the same with its jitter.

    Both are None if the schedule has ended.
    """

    next_slot: datetime | None
    due_at: datetime | None
    reasons: tuple[Reason, ...]


def explain(task: TaskDefinition, view: TaskView, snapshot: Snapshot) -> Explanation:
    """Give the reasons in their order, from the state in a snapshot."""
    return Explanation(
        next_slot=None if view.next_slot is None else view.next_slot.slot,
        due_at=None if view.next_slot is None else view.next_slot.due_at,
        reasons=tuple(_reasons(task, view, snapshot)),
    )


def _reasons(task: TaskDefinition, view: TaskView, snapshot: Snapshot) -> Iterator[Reason]:
    if not task.schedule.rules and view.next_slot is None:
        yield Reason(code=ReasonCode.UNSCHEDULED, text="the task has no schedule: it runs when it is triggered")
    elif view.next_slot is None:
        yield Reason(code=ReasonCode.ENDED, text="the schedule has no slot left")
    if view.retired:
        yield Reason(code=ReasonCode.RETIRED, text="no living process declares this static task: it is not scheduled")
    if view.paused:
        yield Reason(code=ReasonCode.PAUSED, text="the task is disabled: its slots are skipped until it is enabled")
    if snapshot.term is None:
        yield Reason(code=ReasonCode.NO_LEADER, text=_no_leader(snapshot))
    if not snapshot.unreadable and not any(node.can_execute(task) for node in snapshot.nodes):
        yield Reason(code=ReasonCode.NO_WORKER, text=f"{_no_worker(task, snapshot)}: runs stay queued")
    for run in view.live:
        yield reason_of_run(task, run, snapshot)
    if view.next_slot is not None and not view.retired:
        yield _of_decision(task, view, snapshot)


def _no_leader(snapshot: Snapshot) -> str:
    if snapshot.unreadable or not snapshot.nodes or any(node.duties.schedules for node in snapshot.nodes):
        return "no process leads: nothing is scheduled until one does"
    return "no living process has the role schedule, so no process leads: nothing is scheduled"


def _no_worker(task: TaskDefinition, snapshot: Snapshot) -> str:
    """Why no living process can execute the runs of this task."""
    if snapshot.nodes and not any(node.duties.executes for node in snapshot.nodes):
        return "no living process has the role execute"
    if not any(node.knows(task) for node in snapshot.nodes):
        return f"no living process can call {task.function!r}"
    if not any(node.duties.serves(task.queue) for node in snapshot.nodes):
        return f"no living process serves the queue {task.queue!r}"
    return f"no living process that serves the queue {task.queue!r} can call {task.function!r}"


def reason_of_run(task: TaskDefinition, run: LiveRun, snapshot: Snapshot) -> Reason:
    """What a live run does, or waits for."""
    name = f"run {run.run} (attempt {run.attempt})"
    match run.state:
        case RunState.RUNNING:
            overran = any(run.run in node.overran for node in snapshot.nodes)
            late = "; its function has passed the timeout in a thread, which cannot be stopped" if overran else ""
            return Reason(code=ReasonCode.RUNNING, text=f"{name} is still live on worker {run.worker}{late}")
        case RunState.WAITING if run.retrying and run.due_at is not None:
            return Reason(
                code=ReasonCode.BACKOFF,
                text=f"{name} waits for its retry until {shown(run.due_at)} after {run.failures} failures",
            )
        case RunState.WAITING:
            until = "" if run.due_at is None else f" until {shown(run.due_at)}"
            return Reason(
                code=ReasonCode.RELEASED, text=f"{name} was released, or requested for later, and waits{until}"
            )
        case RunState.HELD:
            before = "the run before it" if task.max_instances is None else "a run before it"
            return Reason(
                code=ReasonCode.HELD,
                text=f"{name} is held until {before} ends{_expiry(task, run, snapshot.now)}",
            )
        case _:
            held = sum(len(node.overran) for node in snapshot.nodes)
            places = f"; places held by functions that have passed their timeouts: {held}" if held else ""
            queue = f"no worker is free yet ({snapshot.queued} runs in the queue{places})"
            return Reason(code=ReasonCode.QUEUED, text=f"{name} is queued: {queue}{_expiry(task, run, snapshot.now)}")


def _expiry(task: TaskDefinition, run: LiveRun, now: datetime) -> str:
    """When the run expires by the present definition. A snapshot holds neither the run as it was dispatched nor the
    instant of its request."""
    if run.attempt > 1:
        return ""
    if run.slot is None:
        seconds = 0.0 if task.expires is None else task.expires.total_seconds()
        return f"; it expires {seconds:g} s after its request, unless the request says otherwise" if seconds else ""
    start_by = task.run_of_slot(run.slot, 0).start_by
    if start_by is None:
        return ""
    if now > start_by:
        return f"; it has expired: it could be started until {shown(start_by)}, and is not executed any more"
    return f"; it expires unless it is started by {shown(start_by)}"


def _of_decision(task: TaskDefinition, view: TaskView, snapshot: Snapshot) -> Reason:
    """The decision about the next slot, if the runs that live now still live when the slot is due."""
    assert view.next_slot is not None
    decision = decide_slots(task, due_of(view), max(snapshot.now, view.next_slot.due_at))
    slot = shown(view.next_slot.slot)
    run = task.run_of_slot(view.next_slot.slot, view.version)
    if any(run.id == dispatched.id for dispatched in decision.dispatch):
        return Reason(
            code=ReasonCode.DISPATCHES, text=f"slot {slot} will be dispatched at {shown(view.next_slot.due_at)}"
        )
    if decision.hold is not None and decision.hold.id == run.id:
        return Reason(code=ReasonCode.HOLDS, text=f"slot {slot} will be held if the live run has not ended")
    reason = _skip_reason(decision, view.next_slot.slot)
    return Reason(code=ReasonCode.SKIPS, text=f"slot {slot} will be skipped{_condition(reason, task)}: {reason.value}")


def _condition(reason: SkipReason, task: TaskDefinition) -> str:
    match reason:
        case SkipReason.OVERLAP if task.max_instances is not None:
            return f" if {task.max_instances} runs still live (max_instances)"
        case SkipReason.OVERLAP:
            return " if the live run has not ended"
        case SkipReason.BACKOFF:
            return " if the retry still waits"
        case _:
            return ""


def _skip_reason(decision: SlotDecision, slot: datetime) -> SkipReason:
    return next(skip.reason for skip in decision.skipped if skip.first <= slot <= skip.last)


def due_of(view: TaskView) -> DueTask:
    """The task as the agenda will show it when its next slot is due.

    A retry that starts before then does not wait any more and is not counted.
    """
    assert view.next_slot is not None
    due_at = view.next_slot.due_at
    held = sum(run.state is RunState.HELD for run in view.live)
    return DueTask(
        key=view.key,
        version=view.version,
        slot=view.next_slot.slot,
        due_at=due_at,
        paused=view.paused,
        resumed_at=view.resumed_at,
        live=len(view.live) - held,
        held=held,
        retrying=sum(run.retrying and (run.due_at is None or run.due_at >= due_at) for run in view.live),
    )


def shown(instant: datetime) -> str:
    """An instant as a text."""
    return instant.isoformat().replace("+00:00", "Z")
