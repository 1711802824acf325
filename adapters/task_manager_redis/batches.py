"""Split many items into several scripts.

One script keeps the server busy for some milliseconds at most, and its transfer takes less time than a request may
take.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from task_manager_redis.driver import Argument

T = TypeVar("T")

RUNS_PER_SCRIPT = 500
TASKS_PER_SCRIPT = 200

BYTES_PER_SCRIPT = 1_000_000
"""Most bytes of the arguments or of the answer of one script, or of what it moves inside the server. A slow connection
takes a second for them, and a request may take two. An item that is larger gets a script of its own."""


def _nothing(_: object) -> int:
    return 0


def batches(
    items: Collection[T],
    size: int,
    arguments: Callable[[T], Sequence[Argument]],
    moved: Callable[[T], int] = _nothing,
) -> Iterator[tuple[list[T], list[Argument]]]:
    """Batches of at most `size` items, each with the arguments of its items: BYTES_PER_SCRIPT at most, unless one item
    is larger. `moved` are the bytes that the script moves inside the server for an item."""
    batch: list[T] = []
    flat: list[Argument] = []
    total = 0
    for item in items:
        own_arguments = arguments(item)
        size_of_own = sum(map(_bytes, own_arguments)) + moved(item)
        if batch and (len(batch) == size or total + size_of_own > BYTES_PER_SCRIPT):
            yield batch, flat
            batch, flat, total = [], [], 0
        batch.append(item)
        flat += own_arguments
        total += size_of_own
    if batch:
        yield batch, flat


def _bytes(argument: Argument) -> int:
    """The length of an argument in the request, without its framing."""
    if not isinstance(argument, str):
        return 20
    return len(argument) if argument.isascii() else len(argument.encode(errors="replace"))
