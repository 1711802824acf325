"""Converts values of the core into models of the API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from fastapi_task_manager.options import Options
from fastapi_task_manager.schedule_aliases import is_reboot, shown_expression
from fastapi_task_manager.schema.cluster import ClusterLeader, ClusterNode, ClusterResponse, ClusterStore
from fastapi_task_manager.schema.explanation import ExplainedReason, TaskExplanation
from fastapi_task_manager.schema.schedule import UpcomingResponse, UpcomingSlot
from fastapi_task_manager.schema.task import (
    AffectedRun,
    AffectedTask,
    DynamicTaskResponse,
    LiveTaskRun,
    LiveTaskRuns,
    SkippedSlots,
    TaskActionResponse,
    TaskDetailed,
    TaskOutcome,
    TaskRun,
    TaskRunDetail,
    TaskRunsResponse,
)
from fastapi_task_manager.task import Task
from task_manager_core.application.control import TaskStatus
from task_manager_core.application.inspection import ClusterState, RunStory
from task_manager_core.application.overviews import Overview
from task_manager_core.domain.backoff import Backoff
from task_manager_core.domain.explain import Explanation, Reason
from task_manager_core.domain.explain_slot import SlotExplanation
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.observation import LiveRun
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.policy import Overlap, Priority
from task_manager_core.domain.preview import Upcoming
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord
from task_manager_core.domain.schedule_words import in_words
from task_manager_core.domain.standing import failures_in_row, lateness
from task_manager_core.domain.task import TaskDefinition

ONCE_WHEN_SEEN = "Once, when the task is first seen"


def overview_response(overview: Overview, *, recent: bool) -> TaskDetailed:
    stored = overview.stored
    status = TaskStatus(definition=stored.definition, version=stored.version, view=overview.view)
    outcomes = [_outcome(stored.definition, record) for record in overview.recent[: None if recent else 1]]
    answer = task_response(status)
    answer.states = [state.value for state in overview.standings]
    answer.last_run = outcomes[0] if outcomes else None
    answer.failures_in_row = failures_in_row(overview.recent)
    answer.recent = outcomes if recent else None
    return answer


def _outcome(task: TaskDefinition, record: AttemptRecord) -> TaskOutcome:
    return TaskOutcome(
        run_id=record.run.value,
        attempt=record.attempt,
        slot=record.slot,
        status=record.status.value,
        run_date=record.started_at,
        durations_second=record.duration.total_seconds(),
        lateness=_seconds(lateness(task, record)),
        worker=record.worker.value,
        error_type=None if record.failure is None else record.failure.type,
    )


def task_response(status: TaskStatus) -> TaskDetailed:
    task, view = status.definition, status.view
    retry, options = _next_retry(view.live), Options.of(task)
    reboot = shown_expression(task.schedule) if is_reboot(task.schedule) else None
    texts = list(options.cron_expression)
    return TaskDetailed(
        task_group_name=task.key.group,
        name=task.key.name,
        description=task.description,
        tags=list(task.tags),
        expression=shown_expression(task.schedule),
        high_priority=task.priority is Priority.HIGH,
        retry_backoff=task.retry.initial.total_seconds(),
        retry_backoff_max=task.retry.maximum.total_seconds(),
        dynamic=task.dynamic,
        allow_parallel=task.overlap is Overlap.ALLOW,
        kwargs=json.loads(task.kwargs),
        function_name=task.function,
        next_run=None if view.next_slot is None else view.next_slot.due_at,
        is_active=not view.paused and not view.retired,
        is_running=view.running,
        retry_after=None if retry is None else retry.due_at,
        retry_delay=None
        if retry is None
        else Backoff(task.retry).delay(max(retry.failures, 1), retry.run).total_seconds(),
        overlap=task.overlap.value,
        max_instances=task.max_instances,
        max_retries=task.retry.max_retries,
        max_lost_attempts=task.retry.max_lost_attempts,
        timeout=_seconds(task.timeout),
        start_deadline=_seconds(task.start_deadline),
        expires=_seconds(task.expires),
        queue=task.queue,
        is_retired=view.retired,
        version=status.version,
        skipped={reason.value: count for reason, count in view.skipped.items()},
        cron_expression=texts[0] if len(texts) == 1 else texts or reboot,
        interval=_seconds(options.interval),
        phase=_seconds(options.phase),
        run_at=None if reboot else list(options.run_at) or None,
        timezone=options.timezone,
        gap=None if options.gap is None else options.gap.value,
        fold=None if options.fold is None else options.fold.value,
        jitter=options.jitter.total_seconds(),
        start_at=options.start_at,
        end_at=options.end_at,
        catch_up=task.catch_up.mode.value,
        catch_up_window=task.catch_up.window.total_seconds(),
        catch_up_limit=task.catch_up.limit,
        catch_up_grace=task.catch_up.grace.total_seconds(),
        run_on_start=task.run_on_start,
        retry_on=list(task.retry.retry_on),
        no_retry_on=list(task.retry.no_retry_on),
        in_words=ONCE_WHEN_SEEN if reboot else in_words(task.schedule),
    )


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _next_retry(live: Iterable[LiveRun]) -> LiveRun | None:
    """The retry that starts first."""
    waiting = [(run.due_at, run) for run in live if run.retrying and run.due_at is not None]
    return min(waiting, key=lambda pair: pair[0])[1] if waiting else None


def run_response(record: AttemptRecord) -> TaskRun:
    failure, result = record.failure, record.result
    return TaskRun(
        run_date=record.started_at,
        durations_second=record.duration.total_seconds(),
        status=record.status.value,
        run_id=record.run.value,
        attempt=record.attempt,
        slot=record.slot,
        worker=record.worker.value,
        error_type=None if failure is None else failure.type,
        error_message=None if failure is None else failure.message,
        error_traceback=None if failure is None else failure.traceback,
        result=None if result is None or result.json is None else json.loads(result.json),
        result_type=None if result is None else result.type,
        result_size=None if result is None else result.size,
    )


def live_runs_response(key: TaskKey, runs: Sequence[tuple[LiveRun, Progress | None]], count: int) -> LiveTaskRuns:
    return LiveTaskRuns(
        task_group_name=key.group,
        task_name=key.name,
        runs=[_live_run(run, Progress() if progress is None else progress) for run, progress in runs],
        count=count,
    )


def _live_run(run: LiveRun, progress: Progress) -> LiveTaskRun:
    return LiveTaskRun.model_validate(
        {
            "run_id": run.run.value,
            "slot": run.slot,
            "state": run.state.value,
            "attempt": run.attempt,
            "worker": None if run.worker is None else run.worker.value,
            "due_at": run.due_at,
            "cancelling": run.cancelling,
            "done": progress.done,
            "total": progress.total,
            "text": progress.text,
            "lines": list(progress.lines),
        }
    )


def run_story_response(story: RunStory) -> TaskRunDetail:
    progress = Progress() if story.progress is None else story.progress
    return TaskRunDetail.model_validate(
        {
            "task_group_name": story.key.group,
            "task_name": story.key.name,
            "run_id": story.run.value,
            "state": story.state,
            "slot": story.slot,
            "triggered_by": "request" if story.slot is None else "schedule",
            "live": None if story.live is None else _live_run(story.live, progress),
            "attempts": [run_response(record) for record in story.attempts],
        }
    )


def cluster_response(cluster: ClusterState) -> ClusterResponse:
    snapshot, sign = cluster.snapshot, cluster.sign
    term = sign.term
    leader = None
    if term is not None:
        leader = ClusterLeader(node=term.holder.value, token=term.token, remaining=sign.remaining.total_seconds())
    nodes = [
        ClusterNode(
            node=presence.node.value,
            service=presence.service,
            started_at=presence.started_at,
            is_leader=term is not None and presence.node == term.holder,
            roles=sorted(role.value for role in presence.duties.roles),
            queues=None if presence.duties.queues is None else sorted(presence.duties.queues),
            tasks=len(presence.tasks),
            functions=len(presence.functions),
            overran=sorted(run.value for run in presence.overran),
        )
        for presence in snapshot.nodes
    ]
    return ClusterResponse(
        now=snapshot.now,
        leader=leader,
        nodes=nodes,
        unreadable=sorted(node.value for node in snapshot.unreadable),
        queued=snapshot.queued,
        first_due=sign.first_due,
        store=ClusterStore(name=cluster.store, durable=cluster.durable),
    )


def skips_response(skipped: Skipped) -> SkippedSlots:
    return SkippedSlots(first=skipped.first, last=skipped.last, count=skipped.count, reason=skipped.reason.value)


def action_response(keys: Iterable[TaskKey]) -> TaskActionResponse:
    affected = [AffectedTask(task_group=key.group, task=key.name) for key in sorted(set(keys))]
    return TaskActionResponse(affected_tasks=affected, count=len(affected))


def runs_response(runs: Iterable[tuple[TaskKey, str, str]]) -> TaskRunsResponse:
    """Runs as (task, run id, result)."""
    listed = list(runs)
    action = action_response(key for key, _, _ in listed)
    return TaskRunsResponse(
        affected_tasks=action.affected_tasks,
        count=action.count,
        runs=[
            AffectedRun(task_group=key.group, task=key.name, run_id=run, result=result) for key, run, result in listed
        ],
    )


def dynamic_task_response(task: Task) -> DynamicTaskResponse:
    return DynamicTaskResponse(
        task_group_name=task.group,
        task_name=task.name,
        function_name=task.function_name,
        cron_expression=task.expression,
        kwargs=task.kwargs,
        dynamic=task.dynamic,
    )


def upcoming_response(slots: Iterable[Upcoming], stopped_at: datetime | None) -> UpcomingResponse:
    shown = [UpcomingSlot(utc=slot.slot, local=slot.local, note=slot.note) for slot in slots]
    return UpcomingResponse(upcoming=shown, stopped_at=stopped_at)


def explanation_response(key: TaskKey, explanation: Explanation) -> TaskExplanation:
    return TaskExplanation(
        task_group_name=key.group,
        task_name=key.name,
        next_slot=explanation.next_slot,
        due_at=explanation.due_at,
        reasons=_reasons(explanation.reasons),
    )


def slot_explanation_response(key: TaskKey, explanation: SlotExplanation) -> TaskExplanation:
    return TaskExplanation(
        task_group_name=key.group,
        task_name=key.name,
        next_slot=explanation.next_slot,
        due_at=explanation.due_at,
        reasons=_reasons(explanation.reasons),
        slot=explanation.slot,
        verdict=explanation.verdict,
        run_id=None if explanation.run is None else explanation.run.value,
    )


def _reasons(reasons: Iterable[Reason]) -> list[ExplainedReason]:
    return [ExplainedReason(code=reason.code, text=reason.text) for reason in reasons]
