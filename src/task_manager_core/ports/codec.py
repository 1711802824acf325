"""The text form of every value that a store keeps: versioned JSON, with times in milliseconds.

All stores use it and so hold the same texts. A reader accepts every version up to its own. It ignores members that it
does not know, and gives a missing member the meaning that it had before the member existed. A newer or damaged text
raises BackendCorrupt and never gives a wrong value. Decision 7 has the rule by which formats change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeAlias, assert_never

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.observation import Presence
from task_manager_core.domain.planning import Skipped, SkipReason
from task_manager_core.domain.policy import CatchUp, CatchUpMode, Overlap, Priority, RetryPolicy
from task_manager_core.domain.recurrence import At, Cron, Every, Fold, Gap, Rule
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Failure, Run
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports.reader import VERSION, Reader, instant, is_list, milliseconds, span

__all__ = [
    "VERSION",
    "decode_presence",
    "decode_record",
    "decode_run",
    "decode_skipped",
    "decode_task",
    "encode_presence",
    "encode_record",
    "encode_run",
    "encode_skipped",
    "encode_task",
    "instant",
    "milliseconds",
    "span",
]

_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_RETRY = RetryPolicy()

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def _maybe(value: datetime | timedelta | None) -> int | None:
    match value:
        case None:
            return None
        case timedelta():
            return value // _MILLISECOND
        case datetime():
            return milliseconds(value)


def _dump(value: Mapping[str, Json]) -> str:
    return json.dumps({"v": VERSION, **value}, separators=(",", ":"), ensure_ascii=False)


# -- definitions ------------------------------------------------------------------------------------------------------


def encode_task(task: TaskDefinition) -> str:
    """The text of a definition."""
    return _dump(
        {
            "group": task.key.group,
            "name": task.key.name,
            "schedule": _schedule(task.schedule),
            "function": task.function,
            "kwargs": task.kwargs,
            "description": task.description,
            "tags": list(task.tags),
            "priority": task.priority.value,
            "overlap": task.overlap.value,
            "catch_up": {
                "mode": task.catch_up.mode.value,
                "window": _maybe(task.catch_up.window),
                "limit": task.catch_up.limit,
                "grace": _maybe(task.catch_up.grace),
            },
            "retry": _retry(task.retry),
            "timeout": _maybe(task.timeout),
            "start_deadline": _maybe(task.start_deadline),
            "run_on_start": task.run_on_start,
            "dynamic": task.dynamic,
        }
    )


@lru_cache(maxsize=65536)
def decode_task(text: str) -> TaskDefinition:
    """The definition in a text. Errors: BackendCorrupt."""
    reader = Reader.of("a definition", text)
    catch_up = reader.inner("catch_up")
    try:
        return TaskDefinition(
            key=TaskKey(reader.text("group"), reader.text("name")),
            schedule=_read_schedule(reader.inner("schedule")),
            function=reader.text("function"),
            kwargs=reader.text("kwargs"),
            description=reader.maybe("description", reader.text),
            tags=reader.texts("tags"),
            priority=Priority(reader.text("priority")),
            overlap=Overlap(reader.text("overlap")),
            catch_up=CatchUp(
                mode=CatchUpMode(catch_up.text("mode")),
                window=catch_up.span("window"),
                limit=catch_up.number("limit"),
                grace=catch_up.span("grace"),
            ),
            retry=_read_retry(reader.inner("retry")),
            timeout=reader.maybe("timeout", reader.span),
            start_deadline=reader.maybe("start_deadline", reader.span),
            run_on_start=reader.flag("run_on_start"),
            dynamic=reader.flag("dynamic"),
        )
    except (ValueError, DefinitionError) as error:
        raise BackendCorrupt("a definition", str(error)) from error


def _schedule(schedule: Schedule) -> Json:
    return {
        "rules": [_rule(rule) for rule in schedule.rules],
        "start_at": _maybe(schedule.start_at),
        "end_at": _maybe(schedule.end_at),
        "jitter": _maybe(schedule.jitter),
    }


def _read_schedule(reader: Reader) -> Schedule:
    return Schedule(
        rules=tuple(_read_rule(rule) for rule in reader.inners("rules")),
        start_at=reader.maybe("start_at", reader.instant),
        end_at=reader.maybe("end_at", reader.instant),
        jitter=reader.span("jitter"),
    )


def _rule(rule: Rule) -> Json:
    match rule:
        case Cron():
            return {
                "cron": rule.expression.text,
                "seed": rule.expression.hash_seed,
                "timezone": rule.timezone,
                "gap": rule.gap.value,
                "fold": rule.fold.value,
            }
        case Every():
            return {"every": _maybe(rule.interval), "phase": _maybe(rule.phase)}
        case At():
            return {"at": [milliseconds(moment) for moment in rule.instants]}
        case _:
            assert_never(rule)


def _read_rule(reader: Reader) -> Rule:
    if reader.has("every"):
        return Every(interval=reader.span("every"), phase=reader.span("phase"))
    if reader.has("at"):
        return At(instants=reader.instants("at"))
    return Cron(
        expression=CronExpression.parse(reader.text("cron"), hash_seed=reader.maybe("seed", reader.text)),
        timezone=reader.text("timezone"),
        gap=Gap(reader.text("gap")),
        fold=Fold(reader.text("fold")),
    )


def _retry(retry: RetryPolicy) -> Json:
    return {
        "initial": _maybe(retry.initial),
        "maximum": _maybe(retry.maximum),
        "multiplier": float(retry.multiplier),
        "jitter": float(retry.jitter),
        "max_retries": retry.max_retries,
        "max_lost_attempts": retry.max_lost_attempts,
        "retry_on": list(retry.retry_on),
        "no_retry_on": list(retry.no_retry_on),
    }


def _read_retry(reader: Reader) -> RetryPolicy:
    return RetryPolicy(
        initial=reader.span("initial"),
        maximum=reader.span("maximum"),
        multiplier=reader.fraction("multiplier"),
        jitter=reader.fraction("jitter"),
        max_retries=reader.maybe("max_retries", reader.number),
        max_lost_attempts=reader.since("max_lost_attempts", reader.number, _RETRY.max_lost_attempts),
        retry_on=reader.texts("retry_on"),
        no_retry_on=reader.texts("no_retry_on"),
    )


# -- runs and their history -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _retry_text(retry: RetryPolicy) -> str:
    return json.dumps(_retry(retry), separators=(",", ":"))


@lru_cache(maxsize=1024)
def _retry_of(text: str) -> RetryPolicy:
    return _read_retry(Reader.inside("a retry policy", text))


def encode_run(run: Run) -> str:
    """The text of a run. It has all that a worker needs, so that a claim reads no other value."""
    return _dump(
        {
            "id": run.id.value,
            "group": run.task.group,
            "name": run.task.name,
            "slot": _maybe(run.slot),
            "function": run.function,
            "kwargs": run.kwargs,
            "priority": run.priority.value,
            "overlap": run.overlap.value,
            "retry": _retry_text(run.retry),
            "timeout": _maybe(run.timeout),
            "version": run.version,
            "dynamic": run.dynamic,
            **({} if run.start_by is None else {"start_by": milliseconds(run.start_by)}),
        }
    )


def decode_run(text: str) -> Run:
    """The run in a text. Errors: BackendCorrupt."""
    reader = Reader.of("a run", text)
    try:
        return Run(
            id=RunId(reader.text("id")),
            task=TaskKey(reader.text("group"), reader.text("name")),
            slot=reader.maybe("slot", reader.instant),
            function=reader.text("function"),
            kwargs=reader.text("kwargs"),
            priority=Priority(reader.text("priority")),
            overlap=Overlap(reader.text("overlap")),
            retry=_retry_of(reader.text("retry")),
            timeout=reader.maybe("timeout", reader.span),
            version=reader.number("version"),
            dynamic=reader.flag("dynamic"),
            start_by=reader.maybe("start_by", reader.instant),
        )
    except (ValueError, DefinitionError) as error:
        raise BackendCorrupt("a run", str(error)) from error


def encode_record(record: AttemptRecord) -> str:
    """The text of a line of history."""
    failure = record.failure
    return _dump(
        {
            "run": record.run.value,
            "slot": _maybe(record.slot),
            "attempt": record.attempt,
            "status": record.status.value,
            "started_at": milliseconds(record.started_at),
            "duration_us": record.duration // _MICROSECOND,
            "worker": record.worker.value,
            "token": record.token,
            "failure": None
            if failure is None
            else {"type": failure.type, "message": failure.message, "traceback": failure.traceback},
        }
    )


def decode_record(text: str) -> AttemptRecord:
    """The line of history in a text. Errors: BackendCorrupt."""
    reader = Reader.of("a line of history", text)
    try:
        return AttemptRecord(
            run=RunId(reader.text("run")),
            slot=reader.maybe("slot", reader.instant),
            attempt=reader.number("attempt"),
            status=AttemptStatus(reader.text("status")),
            started_at=reader.instant("started_at"),
            duration=reader.measured("duration_us"),
            worker=NodeId(reader.text("worker")),
            token=reader.number("token"),
            failure=_read_failure(reader.inner("failure")) if reader.has("failure") else None,
        )
    except ValueError as error:
        raise BackendCorrupt("a line of history", str(error)) from error


def _read_failure(reader: Reader) -> Failure:
    return Failure(type=reader.text("type"), message=reader.text("message"), traceback=reader.text("traceback"))


def encode_skipped(skipped: Skipped) -> str:
    """The text of a range of skipped slots."""
    return _dump(
        {
            "first": milliseconds(skipped.first),
            "last": milliseconds(skipped.last),
            "count": skipped.count,
            "reason": skipped.reason.value,
        }
    )


def decode_skipped(text: str) -> Skipped:
    """The range of skipped slots in a text. Errors: BackendCorrupt."""
    reader = Reader.of("a skip", text)
    try:
        reason = SkipReason(reader.text("reason"))
    except ValueError as error:
        raise BackendCorrupt("a skip", str(error)) from error
    return Skipped(
        first=reader.instant("first"), last=reader.instant("last"), count=reader.number("count"), reason=reason
    )


def encode_presence(presence: Presence) -> str:
    """The text of a presence."""
    return _dump(
        {
            "node": presence.node.value,
            "service": presence.service,
            "started_at": milliseconds(presence.started_at),
            "tasks": [[key.group, key.name] for key in sorted(presence.tasks)],
            "functions": [[key.group, key.name] for key in sorted(presence.functions)],
        }
    )


def decode_presence(text: str) -> Presence:
    """The presence in a text. Errors: BackendCorrupt."""
    reader = Reader.of("a presence", text)
    try:
        return Presence(
            node=NodeId(reader.text("node")),
            service=reader.text("service"),
            started_at=reader.instant("started_at"),
            tasks=frozenset(TaskKey(group, name) for group, name in _pairs(reader.items("tasks"))),
            functions=frozenset(FunctionKey(group, name) for group, name in _pairs(reader.items("functions"))),
        )
    except DefinitionError as error:
        raise BackendCorrupt("a presence", str(error)) from error


def _pairs(items: Sequence[object]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for item in items:
        match item[:2] if is_list(item) else ():
            case [str(group), str(name)]:
                pairs.append((group, name))
            case _:
                raise BackendCorrupt("a presence", f"{item!r} is not a pair of names")
    return pairs
