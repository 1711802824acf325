"""What Redis answers, narrowed to what a verb expects."""

from __future__ import annotations

from typing import TypeAlias

from task_manager_core.domain.errors import BackendCorrupt

Reply: TypeAlias = "int | str | list[Reply] | None"


def items(reply: Reply) -> list[Reply]:
    if isinstance(reply, list):
        return reply
    raise _unexpected(reply, "a list")


def text(reply: Reply) -> str:
    if isinstance(reply, str):
        return reply
    raise _unexpected(reply, "a text")


def number(reply: Reply) -> int:
    """An integer, also one that was stored as digits."""
    if isinstance(reply, int):
        return reply
    try:
        return int(text(reply))
    except ValueError:
        raise _unexpected(reply, "a number") from None


def texts(reply: Reply) -> list[str]:
    return [text(item) for item in items(reply)]


def numbers(reply: Reply) -> list[int]:
    return [number(item) for item in items(reply)]


def _unexpected(reply: Reply, wanted: str) -> BackendCorrupt:
    return BackendCorrupt("an answer of Redis", f"{reply!r:.120} is not {wanted}")
