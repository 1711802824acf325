"""The text form of every value that a store keeps: versioned JSON, with times in milliseconds.

All stores use it and so hold the same texts. A reader accepts every version up to its own. It ignores members that it
does not know, and gives a missing member the meaning that it had before the member existed. A newer or damaged text
raises BackendCorrupt and never gives a wrong value. Decision 7 has the rule by which formats change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from types import NoneType
from typing import NamedTuple

from task_manager_core.domain.duties import DEFAULT_QUEUE, check_queue
from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.memory import LastSuccess
from task_manager_core.domain.planning import Skipped, SkipReason
from task_manager_core.domain.policy import Overlap, Priority, RetryPolicy
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Failure, Result, Run
from task_manager_core.domain.trace import is_trace
from task_manager_core.ports.definition_text import (
    decode_task,
    encode_task,
    forget_decoded_tasks,
    read_retry,
    recognise,
    retry_members,
)
from task_manager_core.ports.presence_text import decode_presence, encode_presence
from task_manager_core.ports.reader import VERSION, Reader, instant, milliseconds, span
from task_manager_core.ports.writer import Json, maybe, quoted, to_json

__all__ = [
    "VERSION",
    "decode_presence",
    "decode_progress",
    "decode_record",
    "decode_run",
    "decode_skipped",
    "decode_success",
    "decode_task",
    "encode_presence",
    "encode_progress",
    "encode_record",
    "encode_run",
    "encode_skipped",
    "encode_success",
    "encode_task",
    "forget_decoded",
    "instant",
    "milliseconds",
    "recognise",
    "span",
]

_MICROSECOND = timedelta(microseconds=1)


def _number(value: datetime | timedelta | None) -> str:
    return "null" if value is None else str(maybe(value))


def _dump(value: Mapping[str, Json]) -> str:
    return to_json({"v": VERSION, **value})


# -- runs and their history -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _retry_text(retry: RetryPolicy) -> str:
    return json.dumps(retry_members(retry), separators=(",", ":"))


@lru_cache(maxsize=1024)
def _retry_of(text: str) -> RetryPolicy:
    return read_retry(Reader.inside("a retry policy", text))


@lru_cache(maxsize=1024)
def _quoted_retry(retry: RetryPolicy) -> str:
    return quoted(_retry_text(retry))


def encode_run(run: Run) -> str:
    """The text of a run. It has all that a worker needs, so that a claim reads no other value.

    First comes what all runs of one version of a task have in common. Then comes what is the run's own.
    """
    start_by = "" if run.start_by is None else f',"start_by":{milliseconds(run.start_by)}'
    max_instances = "" if run.max_instances is None else f',"max_instances":{run.max_instances}'
    queue = "" if run.queue == DEFAULT_QUEUE else f',"queue":{quoted(run.queue)}'
    trace = "" if run.trace is None else f',"trace":{quoted(run.trace)}'
    return (
        f'{{"v":{VERSION},"group":{quoted(run.task.group)},"name":{quoted(run.task.name)}'
        f',"function":{quoted(run.function)},"priority":"{run.priority.value}","overlap":"{run.overlap.value}"'
        f',"retry":{_quoted_retry(run.retry)},"timeout":{_number(run.timeout)},"version":{run.version}'
        f',"dynamic":{"true" if run.dynamic else "false"}{max_instances}{queue}'
        f'{_OWN}{quoted(run.id.value)},"slot":{_number(run.slot)},"kwargs":{quoted(run.kwargs)}{start_by}{trace}}}'
    )


def forget_decoded() -> None:
    """Read every text again. Tests that change the format call this."""
    forget_decoded_tasks()
    _common_part.cache_clear()


_OWN = ',"id":'
"""The beginning of the own part of a run. It stands nowhere else: inside a text of JSON its quotes are escaped."""


def decode_run(text: str) -> Run:
    """The run in a text. Errors: BackendCorrupt."""
    return _plain_run(text) or _checked_run(text)


class _Common(NamedTuple):
    """What all runs of one version of a task have in common."""

    task: TaskKey
    function: str
    priority: Priority
    overlap: Overlap
    retry: RetryPolicy
    timeout: timedelta | None
    version: int
    dynamic: bool
    max_instances: int | None
    queue: str


_common_members = itemgetter(
    "v", "group", "name", "function", "priority", "overlap", "retry", "timeout", "version", "dynamic"
)
_COMMON_TYPES = frozenset((int, str, str, str, str, str, str, timeout, int, bool) for timeout in (int, NoneType))


@lru_cache(maxsize=2048)
def _common_part(text: str) -> _Common:
    """The common part of runs, read once for each version of a task. Errors: ValueError, LookupError, TypeError,
    OverflowError, DefinitionError, BackendCorrupt."""
    if not text.isascii():
        text.encode()  # A store may return invalid UTF-8 as lone surrogates.
    members = json.loads(text + "}")
    max_instances = members.pop("max_instances", None)
    queue = members.pop("queue", DEFAULT_QUEUE)
    values = _common_members(members)
    if len(members) != len(values) or tuple(map(type, values)) not in _COMMON_TYPES or values[0] != VERSION:
        raise ValueError(text)
    if type(max_instances) not in (int, NoneType):
        raise ValueError(text)
    _, group, name, function, priority, overlap, retry, timeout, version, dynamic = values
    return _Common(
        TaskKey(group, name),
        function,
        Priority(priority),
        Overlap(overlap),
        _retry_of(retry),
        None if timeout is None else span(timeout),
        version,
        dynamic,
        max_instances,
        queue if queue == DEFAULT_QUEUE else check_queue("queue", queue),
    )


_read_json = json.JSONDecoder().raw_decode
"""Much faster than `json.loads` for a short text: it does not look for spaces around the value."""

_OWN_TYPES = frozenset(
    (str, slot, str, start_by, trace)
    for slot in (int, NoneType)
    for start_by in (int, NoneType)
    for trace in (str, NoneType)
)


def _plain_run(text: str) -> Run | None:
    """The run in a text of the form that `encode_run` writes. None for every other text: `_checked_run` reads it, or
    says what is wrong with it. A worker reads a text for each run, so this is fast."""
    common_part, found, own_part = text.partition(_OWN)
    if not found:
        return None
    try:
        if not own_part.isascii():
            own_part.encode()  # A store may return invalid UTF-8 as lone surrogates.
        common, (own, end) = _common_part(common_part), _read_json('{"id":' + own_part)
        start_by, trace = own.pop("start_by", None), own.pop("trace", None)
        run, slot, kwargs = own["id"], own["slot"], own["kwargs"]
        if (
            end != len(own_part) + 6
            or len(own) != 3
            or (type(run), type(slot), type(kwargs), type(start_by), type(trace)) not in _OWN_TYPES
            or (trace is not None and not is_trace(trace))
        ):
            return None
        return Run(
            id=RunId(run),
            slot=None if slot is None else instant(slot),
            kwargs=kwargs,
            start_by=None if start_by is None else instant(start_by),
            task=common.task,
            function=common.function,
            priority=common.priority,
            overlap=common.overlap,
            retry=common.retry,
            timeout=common.timeout,
            version=common.version,
            dynamic=common.dynamic,
            max_instances=common.max_instances,
            queue=common.queue,
            trace=trace,
        )
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError, DefinitionError, BackendCorrupt):
        return None


def _checked_run(text: str) -> Run:
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
            max_instances=reader.maybe("max_instances", reader.number),
            queue=check_queue("queue", reader.since("queue", reader.text, DEFAULT_QUEUE) or DEFAULT_QUEUE),
            trace=_read_trace(reader),
        )
    except (ValueError, DefinitionError) as error:
        raise BackendCorrupt("a run", str(error)) from error


def _read_trace(reader: Reader) -> str | None:
    """A text of another form counts as none: no run waits, and no line is hidden, because of a trace."""
    trace = reader.maybe("trace", reader.text)
    return trace if trace is not None and is_trace(trace) else None


_RECORD = (
    *("v", "run", "slot", "attempt", "status", "started_at", "duration_us", "worker", "token"),
    *("failure", "result", "trace"),
)
"""The members of a line of history in their order. Its text is a list of their values: a store keeps many lines, and
the names would be 40 % of each. The last three may be missing. A release adds a new member at the end."""


def encode_record(record: AttemptRecord) -> str:
    """The text of a line of history."""
    return (
        f"[{VERSION},{quoted(record.run.value)},{_number(record.slot)},{record.attempt}"
        f',"{record.status.value}",{milliseconds(record.started_at)},{record.duration // _MICROSECOND}'
        f",{quoted(record.worker.value)},{record.token}{_end_of_record(record)}]"
    )


def _end_of_record(record: AttemptRecord) -> str:
    failure, result = record.failure, record.result
    if failure is None and result is None and record.trace is None:
        return ""
    failed = (
        "null"
        if failure is None
        else f'{{"type":{quoted(failure.type)},"message":{quoted(failure.message)}'
        f',"traceback":{quoted(failure.traceback)}}}'
    )
    if result is None and record.trace is None:
        return f",{failed}"
    returned = "null" if result is None else to_json(_result_members(result))
    return f",{failed},{returned}" if record.trace is None else f",{failed},{returned},{quoted(record.trace)}"


def _result_members(result: Result) -> dict[str, Json]:
    return {"type": result.type, "size": result.size, "json": result.json}


def decode_record(text: str) -> AttemptRecord:
    """The line of history in a text. Errors: BackendCorrupt. The texts of earlier releases are objects."""
    reader = Reader.of("a line of history", text, _RECORD)
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
            trace=_read_trace(reader),
        )
    except ValueError as error:
        raise BackendCorrupt("a line of history", str(error)) from error


def _read_failure(reader: Reader) -> Failure:
    return Failure(type=reader.text("type"), message=reader.text("message"), traceback=reader.text("traceback"))


def _read_result(reader: Reader) -> Result:
    return Result(
        type=reader.text("type"), size=reader.maybe("size", reader.number), json=reader.maybe("json", reader.text)
    )


def encode_success(success: LastSuccess) -> str:
    """The text of the last success of a task."""
    return _dump({"slot": maybe(success.slot), "at": milliseconds(success.at)})


def decode_success(text: str) -> LastSuccess:
    """The last success in a text. Errors: BackendCorrupt."""
    reader = Reader.of("the last success", text)
    return LastSuccess(slot=reader.maybe("slot", reader.instant), at=reader.instant("at"))


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
