"""Convert the answers of Redis to the types that a verb expects. Another type raises BackendCorrupt."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TypeAlias, TypeVar

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.ports.codec import instant

Reply: TypeAlias = "int | str | list[Reply] | None"

E = TypeVar("E", bound=Enum)


def items(reply: Reply) -> list[Reply]:
    if isinstance(reply, list):
        return reply
    raise unexpected(reply, "a list")


def row(reply: Reply, width: int) -> list[Reply]:
    """A list of `width` items."""
    found = items(reply)
    if len(found) != width:
        raise unexpected(reply, f"a list of {width}")
    return found


def text(reply: Reply) -> str:
    if isinstance(reply, str):
        return reply
    raise unexpected(reply, "a text")


def words(reply: Reply, count: int) -> list[str]:
    """The words of a text, at least `count`. A newer release may have added words at the end."""
    found = text(reply).split(" ")
    if len(found) < count:
        raise unexpected(reply, f"{count} words")
    return found


def number(reply: Reply) -> int:
    """An integer, also one that was stored as digits."""
    if isinstance(reply, int):
        return reply
    try:
        return int(text(reply))
    except ValueError:
        raise unexpected(reply, "a number") from None


def moment(reply: Reply) -> datetime:
    """An instant, in milliseconds since the epoch."""
    try:
        return instant(number(reply))
    except OverflowError:
        raise unexpected(reply, "an instant") from None


def member(kind: type[E], reply: Reply) -> E:
    """The member of an enumeration that has this value."""
    try:
        return kind(reply)
    except ValueError:
        raise unexpected(reply, f"a {kind.__name__}") from None


def texts(reply: Reply) -> list[str]:
    return [text(item) for item in items(reply)]


def numbers(reply: Reply) -> list[int]:
    return [number(item) for item in items(reply)]


def pairs(reply: Reply) -> list[tuple[str, str]]:
    """A hash in the form in which Redis lists it: names and values alternate."""
    flat = texts(reply)
    if len(flat) % 2:
        raise unexpected(reply, "a list of pairs")
    return list(zip(flat[::2], flat[1::2], strict=True))


def unexpected(reply: object, wanted: str) -> BackendCorrupt:
    return BackendCorrupt("an answer of Redis", f"{reply!r:.120} is not {wanted}")
