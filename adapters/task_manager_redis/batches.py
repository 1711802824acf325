"""Many items as several scripts.

No script keeps the server busy for more than some milliseconds, and none is longer on its way than a request may take.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from task_manager_redis.driver import Argument

T = TypeVar("T")

RUNS_PER_SCRIPT = 500
TASKS_PER_SCRIPT = 200

BYTES_PER_SCRIPT = 1_000_000
"""Of arguments, or of an answer: a second of a slow line, where a request has two. What is larger alone goes alone."""


def batches(
    items: Collection[T], size: int, arguments: Callable[[T], Sequence[Argument]]
) -> Iterator[tuple[list[T], list[Argument]]]:
    """At most so many items with their arguments, of BYTES_PER_SCRIPT at most unless one item is larger."""
    some: list[T] = []
    flat: list[Argument] = []
    weight = 0
    for item in items:
        own = arguments(item)
        heavy = sum(map(_bytes, own))
        if some and (len(some) == size or weight + heavy > BYTES_PER_SCRIPT):
            yield some, flat
            some, flat, weight = [], [], 0
        some.append(item)
        flat += own
        weight += heavy
    if some:
        yield some, flat


def _bytes(argument: Argument) -> int:
    """How long it is on the wire, but for what frames it."""
    if not isinstance(argument, str):
        return 20
    return len(argument) if argument.isascii() else len(argument.encode(errors="replace"))
