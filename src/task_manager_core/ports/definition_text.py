"""The text form of a definition, and the definitions that were read last. Stores use `codec`, which has these names."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import assert_never

from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.duties import DEFAULT_QUEUE
from task_manager_core.domain.errors import BackendCorrupt, DefinitionError
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import CatchUp, CatchUpMode, Overlap, Priority, RetryPolicy
from task_manager_core.domain.recurrence import At, Cron, Every, Fold, Gap, Rule
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports.reader import VERSION, Reader, milliseconds
from task_manager_core.ports.writer import Json, maybe, quoted, to_json

_MILLISECOND = timedelta(milliseconds=1)
_RETRY = RetryPolicy()


def encode_task(task: TaskDefinition) -> str:
    """The text of a definition, without members that are null, and without the default queue. The members that many
    tasks share are written once and remembered."""
    description = "" if task.description is None else f',"description":{quoted(task.description)}'
    timeout = "" if task.timeout is None else f',"timeout":{task.timeout // _MILLISECOND}'
    start_deadline = "" if task.start_deadline is None else f',"start_deadline":{task.start_deadline // _MILLISECOND}'
    expires = "" if task.expires is None else f',"expires":{task.expires // _MILLISECOND}'
    max_instances = "" if task.max_instances is None else f',"max_instances":{task.max_instances}'
    queue = "" if task.queue == DEFAULT_QUEUE else f',"queue":{quoted(task.queue)}'
    return (
        f'{{"v":{VERSION},"group":{quoted(task.key.group)},"name":{quoted(task.key.name)}'
        f',"schedule":{_schedule_text(task.schedule)},"function":{quoted(task.function)}'
        f',"kwargs":{quoted(task.kwargs)}{description}'
        f',"tags":{_tags_text(task.tags)},"priority":"{task.priority.value}","overlap":"{task.overlap.value}"'
        f',"catch_up":{_catch_up_text(task.catch_up)},"retry":{_retry_text(task.retry)}{timeout}{start_deadline}'
        f',"run_on_start":{_FLAGS[task.run_on_start]},"dynamic":{_FLAGS[task.dynamic]}{expires}{max_instances}{queue}}}'
    )


MOST_DECODED = 65_536
"""The number of definitions that are kept for texts that are read again."""


class _Decoded:
    """The definitions of the texts that were read last. A text is known by its digest, because the texts themselves
    would take more memory than the definitions."""

    def __init__(self) -> None:
        self._tasks: dict[bytes, TaskDefinition] = {}

    def get(self, text: str) -> tuple[bytes, TaskDefinition | None]:
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
        return digest, self._tasks.get(digest)

    def put(self, digest: bytes, task: TaskDefinition) -> None:
        if len(self._tasks) >= MOST_DECODED:
            self._tasks.pop(next(iter(self._tasks)), None)
        self._tasks[digest] = task

    def clear(self) -> None:
        self._tasks.clear()


_decoded = _Decoded()


def decode_task(text: str) -> TaskDefinition:
    """The definition in a text. The same text gives the same object. Errors: BackendCorrupt."""
    digest, task = _decoded.get(text)
    if task is None:
        task = _read_task(text)
        _decoded.put(digest, task)
    return task


def recognise(task: TaskDefinition) -> None:
    """Let `decode_task` answer this object for its text. A process reads back most of the definitions that it declares:
    it need not read their texts, nor keep each of them twice."""
    digest, known = _decoded.get(encode_task(task))
    if known is None:
        _decoded.put(digest, task)


def forget_decoded_tasks() -> None:
    """Let `decode_task` read every text again."""
    _decoded.clear()


def _read_task(text: str) -> TaskDefinition:
    reader = Reader.of("a definition", text)
    try:
        return TaskDefinition(
            key=TaskKey(sys.intern(reader.text("group")), reader.text("name")),
            schedule=_schedule_of(reader.part("schedule")),
            function=sys.intern(reader.text("function")),
            kwargs=sys.intern(reader.text("kwargs")),
            description=reader.maybe("description", reader.text),
            tags=tuple(map(sys.intern, reader.texts("tags"))),
            priority=Priority(reader.text("priority")),
            overlap=Overlap(reader.text("overlap")),
            catch_up=_catch_up_of(reader.part("catch_up")),
            retry=_retry_of(reader.part("retry")),
            timeout=reader.maybe("timeout", reader.span),
            start_deadline=reader.maybe("start_deadline", reader.span),
            expires=reader.maybe("expires", reader.span),
            max_instances=reader.maybe("max_instances", reader.number),
            run_on_start=reader.flag("run_on_start"),
            dynamic=reader.flag("dynamic"),
            queue=sys.intern(reader.since("queue", reader.text, DEFAULT_QUEUE) or DEFAULT_QUEUE),
        )
    except (ValueError, DefinitionError) as error:
        raise BackendCorrupt("a definition", str(error)) from error


def _catch_up(catch_up: CatchUp) -> Json:
    return {
        "mode": catch_up.mode.value,
        "window": maybe(catch_up.window),
        "limit": catch_up.limit,
        "grace": maybe(catch_up.grace),
    }


def _read_catch_up(reader: Reader) -> CatchUp:
    return CatchUp(
        mode=CatchUpMode(reader.text("mode")),
        window=reader.span("window"),
        limit=reader.number("limit"),
        grace=reader.span("grace"),
    )


def _present(members: Mapping[str, Json]) -> Json:
    """The members that are not null."""
    return {name: value for name, value in members.items() if value is not None}


def _schedule(schedule: Schedule) -> Mapping[str, Json]:
    return {
        "rules": [_present(_rule(rule)) for rule in schedule.rules],
        "start_at": maybe(schedule.start_at),
        "end_at": maybe(schedule.end_at),
        "jitter": maybe(schedule.jitter),
    }


def _read_schedule(reader: Reader) -> Schedule:
    return Schedule(
        rules=tuple(_read_rule(rule) for rule in reader.inners("rules")),
        start_at=reader.maybe("start_at", reader.instant),
        end_at=reader.maybe("end_at", reader.instant),
        jitter=reader.span("jitter"),
    )


def _rule(rule: Rule) -> Mapping[str, Json]:
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
            return {"every": maybe(rule.interval), "phase": maybe(rule.phase)}
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


def retry_members(retry: RetryPolicy) -> Json:
    """`max_lost_attempts` may be null: a text without it means the default (`read_retry`)."""
    return {
        "initial": maybe(retry.initial),
        "maximum": maybe(retry.maximum),
        "multiplier": float(retry.multiplier),
        "jitter": float(retry.jitter),
        **({} if retry.max_retries is None else {"max_retries": retry.max_retries}),
        "max_lost_attempts": retry.max_lost_attempts,
        "retry_on": list(retry.retry_on),
        "no_retry_on": list(retry.no_retry_on),
    }


def read_retry(reader: Reader) -> RetryPolicy:
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


# Many tasks share these parts. Equal values have equal texts, and equal texts give the same object.


_FLAGS = {False: "false", True: "true"}


@lru_cache(maxsize=1024)
def _tags_text(tags: tuple[str, ...]) -> str:
    return to_json(tags)


@lru_cache(maxsize=4096)
def _schedule_text(schedule: Schedule) -> str:
    return to_json(_present(_schedule(schedule)))


@lru_cache(maxsize=4096)
def _schedule_of(text: str) -> Schedule:
    return _read_schedule(Reader.inside("schedule of a definition", text))


@lru_cache(maxsize=1024)
def _catch_up_text(catch_up: CatchUp) -> str:
    return to_json(_catch_up(catch_up))


@lru_cache(maxsize=1024)
def _catch_up_of(text: str) -> CatchUp:
    return _read_catch_up(Reader.inside("catch_up of a definition", text))


@lru_cache(maxsize=1024)
def _retry_of(text: str) -> RetryPolicy:
    return read_retry(Reader.inside("retry of a definition", text))


@lru_cache(maxsize=1024)
def _retry_text(retry: RetryPolicy) -> str:
    return to_json(retry_members(retry))
