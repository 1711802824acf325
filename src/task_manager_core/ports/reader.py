"""Reads typed members of a JSON object.

A member of another type raises BackendCorrupt and never gives a wrong value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeGuard, TypeVar

from task_manager_core.domain.errors import BackendCorrupt

VERSION = 1
"""The format that this library writes. It reads every format up to this one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_MOST_EXACT = 2**53

T = TypeVar("T")


def milliseconds(instant: datetime) -> int:
    """An instant as milliseconds since the epoch."""
    return (instant - _EPOCH) // _MILLISECOND


def instant(value: int) -> datetime:
    """Milliseconds since the epoch as an instant."""
    return _EPOCH + value * _MILLISECOND


def span(value: int) -> timedelta:
    """Milliseconds as a duration."""
    return value * _MILLISECOND


class Reader:
    """Reads typed members of a JSON object. Errors of all its methods: BackendCorrupt."""

    def __init__(self, what: str, value: object) -> None:
        self._what = what
        if not isinstance(value, dict):
            raise BackendCorrupt(what, "not an object")
        self._members: dict[object, object] = value

    @classmethod
    def of(cls, what: str, text: str, names: Sequence[str] = ()) -> Reader:
        """A reader of a text with a version. With `names` the text may also list the values of these members."""
        value = _parsed(what, text)
        if names and is_list(value):
            value = dict(zip(names, value, strict=False))
        reader = cls(what, value)
        version = reader.number("v")
        if version > VERSION:
            raise BackendCorrupt(what, f"written by a newer version of this library (format {version})")
        if version < 1:
            raise BackendCorrupt(what, f"no version of this library writes format {version}")
        return reader

    @classmethod
    def inside(cls, what: str, text: str) -> Reader:
        """A reader of a text without a version, which is part of a text with a version."""
        return cls(what, _parsed(what, text))

    def _get(self, name: str, kind: type[T]) -> T:
        value = self._members.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BackendCorrupt(self._what, f"{name!r} is {value!r}")
        return value

    def has(self, name: str) -> bool:
        return self._members.get(name) is not None

    def text(self, name: str) -> str:
        return self._get(name, str)

    def number(self, name: str) -> int:
        return self._get(name, int)

    def fraction(self, name: str) -> float:
        """A float. Another writer of JSON may write 2 for 2.0."""
        value = self._members.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST_EXACT:
            return float(value)
        return self._get(name, float)

    def flag(self, name: str) -> bool:
        return self._get(name, bool)

    def items(self, name: str) -> list[object]:
        value = self._members.get(name)
        if not is_list(value):
            raise BackendCorrupt(self._what, f"{name!r} is {value!r}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._each(name, str))

    def instants(self, name: str) -> tuple[datetime, ...]:
        return tuple(self._in_calendar(name, value, instant) for value in self._each(name, int))

    def _each(self, name: str, kind: type[T]) -> list[T]:
        found: list[T] = []
        for item in self.items(name):
            if not isinstance(item, kind) or isinstance(item, bool):
                raise BackendCorrupt(self._what, f"{name!r} holds {item!r}")
            found.append(item)
        return found

    def _in_calendar(self, name: str, value: int, read: Callable[[int], T]) -> T:
        try:
            return read(value)
        except OverflowError:
            raise BackendCorrupt(self._what, f"{name!r} is beyond the calendar") from None

    def part(self, name: str) -> str:
        """A member as a text of its own. Equal members have equal texts if one writer wrote them."""
        try:
            return json.dumps(self._members.get(name))
        except (ValueError, RecursionError) as error:
            raise BackendCorrupt(f"{name} of {self._what}", str(error)) from None

    def inner(self, name: str) -> Reader:
        return Reader(f"{name} of {self._what}", self._members.get(name))

    def inners(self, name: str) -> list[Reader]:
        return [Reader(f"{name} of {self._what}", item) for item in self.items(name)]

    def maybe(self, name: str, read: Callable[[str], T]) -> T | None:
        return read(name) if self.has(name) else None

    def since(self, name: str, read: Callable[[str], T], before: T | None) -> T | None:
        """A member that may be null. Texts of earlier releases do not have it: they mean `before`."""
        return self.maybe(name, read) if name in self._members else before

    def instant(self, name: str) -> datetime:
        return self._in_calendar(name, self.number(name), instant)

    def span(self, name: str) -> timedelta:
        return self._in_calendar(name, self.number(name), span)

    def measured(self, name: str) -> timedelta:
        """A measured length of time, kept in microseconds."""
        return self._in_calendar(name, self.number(name), lambda value: value * _MICROSECOND)


def _parsed(what: str, text: str) -> object:
    try:
        if not text.isascii():
            text.encode()  # A store may return invalid UTF-8 as lone surrogates.
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BackendCorrupt(what, str(error)) from None


def is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)
