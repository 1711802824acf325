"""The text form of every value that a store keeps: versioned JSON, with times in milliseconds.

All stores use it and so hold the same texts. A reader accepts every version up to its own. It ignores members that it
does not know, and gives a missing member the meaning that it had before the member existed. A newer or damaged text
raises BackendCorrupt and never gives a wrong value. Decision 7 has the rule by which formats change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache

from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.observation import Presence
from task_manager_core.domain.planning import Skipped, SkipReason
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Failure, Result, Run
from task_manager_core.ports.definition_text import (
    decode_task,
    encode_task,
    forget_decoded,
    read_retry,
    recognise,
    retry_members,
)
from task_manager_core.ports.reader import VERSION, Reader, instant, is_list, milliseconds, span
from task_manager_core.ports.writer import Json, maybe, to_json

__all__ = [
    "VERSION",
    "decode_presence",
    "decode_progress",
    "decode_record",
    "decode_run",
    "decode_skipped",
    "decode_task",
    "encode_presence",
    "encode_progress",
    "encode_record",
    "encode_run",
    "encode_skipped",
    "encode_task",
    "forget_decoded",
    "instant",
    "milliseconds",
    "recognise",
    "span",
]

_MICROSECOND = timedelta(microseconds=1)


def _dump(value: Mapping[str, Json]) -> str:
    return to_json({"v": VERSION, **value})


# -- runs and their history -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _retry_text(retry: RetryPolicy) -> str:
    return json.dumps(retry_members(retry), separators=(",", ":"))


@lru_cache(maxsize=1024)
def _retry_of(text: str) -> RetryPolicy:
    return read_retry(Reader.inside("a retry policy", text))


def encode_run(run: Run) -> str:
    """The text of a run. It has all that a worker needs, so that a claim reads no other value."""
    return _dump(
        {
            "id": run.id.value,
            "group": run.task.group,
            "name": run.task.name,
            "slot": maybe(run.slot),
            "function": run.function,
            "kwargs": run.kwargs,
            "priority": run.priority.value,
            "overlap": run.overlap.value,
            "retry": _retry_text(run.retry),
            "timeout": maybe(run.timeout),
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
            "slot": maybe(record.slot),
            "attempt": record.attempt,
            "status": record.status.value,
            "started_at": milliseconds(record.started_at),
            "duration_us": record.duration // _MICROSECOND,
            "worker": record.worker.value,
            "token": record.token,
            "failure": None
            if failure is None
            else {"type": failure.type, "message": failure.message, "traceback": failure.traceback},
            **({} if record.result is None else {"result": _result_members(record.result)}),
        }
    )


def _result_members(result: Result) -> dict[str, Json]:
    return {"type": result.type, "size": result.size, "json": result.json}


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
            result=_read_result(reader.inner("result")) if reader.has("result") else None,
        )
    except ValueError as error:
        raise BackendCorrupt("a line of history", str(error)) from error


def _read_failure(reader: Reader) -> Failure:
    return Failure(type=reader.text("type"), message=reader.text("message"), traceback=reader.text("traceback"))


def _read_result(reader: Reader) -> Result:
    return Result(
        type=reader.text("type"), size=reader.maybe("size", reader.number), json=reader.maybe("json", reader.text)
    )


def encode_progress(progress: Progress) -> str:
    """The text of a report."""
    return _dump({"done": progress.done, "total": progress.total, "text": progress.text, "lines": list(progress.lines)})


def decode_progress(text: str) -> Progress:
    """The report in a text. Errors: BackendCorrupt."""
    reader = Reader.of("a report", text)
    return Progress(
        done=reader.maybe("done", reader.fraction),
        total=reader.maybe("total", reader.fraction),
        text=reader.maybe("text", reader.text),
        lines=reader.texts("lines"),
    )


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
            "tasks": sorted([key.group, key.name] for key in presence.tasks),
            "functions": sorted([key.group, key.name] for key in presence.functions),
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
