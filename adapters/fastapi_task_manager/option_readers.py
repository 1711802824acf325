"""Readers of the options of a task. Each checks a value that a user wrote, and answers the value of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeGuard, TypeVar

from fastapi_task_manager.exception_names import class_name
from task_manager_core.domain.duties import check_queue
from task_manager_core.domain.errors import InvalidCron, InvalidPolicy
from task_manager_core.domain.identity import check_name
from task_manager_core.domain.policy import LONGEST_TIME, MOST_INSTANCES, CatchUp, CatchUpMode, Overlap
from task_manager_core.domain.recurrence import Fold, Gap

LONGEST_SECONDS = LONGEST_TIME // timedelta(seconds=1)
MOST_RETRIES = 1_000_000
MOST_CLASSES = 100

_MILLISECOND = timedelta(milliseconds=1)

E = TypeVar("E", bound=Enum)


def duration(field: str, value: object) -> timedelta:
    """Seconds or a timedelta, rounded to the milliseconds that stores keep."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise InvalidPolicy(field, value, "must be a number of seconds or a timedelta")
    if not abs(seconds) <= LONGEST_SECONDS:  # so that NaN is refused
        raise InvalidPolicy(field, seconds, f"must be at most {LONGEST_SECONDS} seconds")
    return round(seconds * 1000) * _MILLISECOND


def flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidPolicy(field, value, "must be true or false")
    return value


def text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidPolicy(field, value, "must be text")
    return value


def name_list(field: str, value: object) -> list[str]:
    """A list of names. A single text is refused: it would count as a list of its letters."""
    if not _is_list(value):
        raise InvalidPolicy(field, value, "must be a list of texts")
    return [check_name(field, text(field, item)) for item in value]


def plain(value: object) -> object:
    """The value of an option in JSON."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, CatchUp):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return [plain(item) for item in value] if _is_list(value) else value


def _cron_texts(field: str, value: object) -> tuple[str, ...]:
    """One expression, or the union of several."""
    found: list[str] = []
    for item in _elements(value):
        if not isinstance(item, str):
            raise InvalidCron(field, item, "must be text")
        found.append(item)
    if not found:
        raise InvalidCron(field, value, "must hold an expression")
    return tuple(found)


def _instant(field: str, value: object) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidPolicy(field, value, "must be a datetime with a time zone")
    return value


def _instants(field: str, value: object) -> tuple[datetime, ...]:
    given = [value] if isinstance(value, datetime) else _elements(value)
    if not given:
        raise InvalidPolicy(field, given, "must hold an instant")
    return tuple(_instant(field, item) for item in given)


def _whole(least: int, most: int) -> Callable[[str, object], int]:
    def read(field: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidPolicy(field, value, f"must be a whole number from {least} to {most}")
        return value

    return read


_retries = _whole(0, MOST_RETRIES)
_instances = _whole(1, MOST_INSTANCES)


def _member(kind: type[E]) -> Callable[[str, object], E]:
    def read(field: str, value: object) -> E:
        for member in kind:
            if value is member or value == member.value:
                return member
        raise InvalidPolicy(field, value, f"must be one of {', '.join(str(member.value) for member in kind)}")

    return read


def _catch_up(field: str, value: object) -> CatchUp:
    return value if isinstance(value, CatchUp) else CatchUp(mode=_member(CatchUpMode)(field, value))


def _classes(field: str, value: object) -> tuple[str, ...]:
    """Qualified names."""
    given: list[object] = [value] if _is_class_or_text(value) else _elements(value)
    if len(given) > MOST_CLASSES:
        raise InvalidPolicy(field, len(given), f"must name at most {MOST_CLASSES} classes")
    return tuple(dict.fromkeys(class_name(field, item) for item in given))


def _is_class_or_text(value: object) -> bool:
    return isinstance(value, (str, type))


def _elements(value: object) -> list[object]:
    """The elements of a list; any other value is the only element."""
    return list(value) if _is_list(value) else [value]


def _is_list(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, (list, tuple, set, frozenset))


READERS: dict[str, Callable[[str, object], Any]] = {
    "cron_expression": _cron_texts,
    "interval": duration,
    "phase": duration,
    "run_at": _instants,
    "timezone": text,
    "gap": _member(Gap),
    "fold": _member(Fold),
    "jitter": duration,
    "start_at": _instant,
    "end_at": _instant,
    "catch_up": _catch_up,
    "overlap": _member(Overlap),
    "max_instances": _instances,
    "run_on_start": flag,
    "max_retries": _retries,
    "max_lost_attempts": _retries,
    "retry_on": _classes,
    "no_retry_on": _classes,
    "timeout": duration,
    "start_deadline": duration,
    "queue": check_queue,
    "expires": duration,
}
