"""Split many items into several scripts.

One script keeps the server busy for some milliseconds at most, and its transfer takes less time than a request may
take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from task_manager_redis.driver import Argument

T = TypeVar("T")
A = TypeVar("A")

RUNS_PER_SCRIPT = 500
TASKS_PER_SCRIPT = 200

BYTES_PER_SCRIPT = 1_000_000
"""Most bytes of the arguments or of the answer of one script, or of what it moves inside the server. A slow connection
takes a second for them, and a request may take two. An item that is larger gets a script of its own."""


class Encoded(NamedTuple):
    """The arguments of one item, and how many bytes it adds to the script: those of its arguments, and those that the
    script moves inside the server for it."""

    arguments: Sequence[Argument]
    size: int


def encoded(arguments: Sequence[Argument], moved: int = 0) -> Encoded:
    """The arguments of an item, with their size."""
    size = moved
    for argument in arguments:
        if not isinstance(argument, str):
            size += 20
        elif argument.isascii():
            size += len(argument)
        else:
            size += len(argument.encode(errors="replace"))
    return Encoded(arguments, size)


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
    return encoded_batches(items, size, lambda item: encoded(arguments(item), moved(item)))


def encoded_batches(
    items: Collection[T], size: int, encode: Callable[[T], Encoded]
) -> Iterator[tuple[list[T], list[Argument]]]:
    """The same for items that tell their size themselves."""
    batch: list[T] = []
    flat: list[Argument] = []
    total = 0
    for item in items:
        arguments, own_size = encode(item)
        if batch and (len(batch) == size or total + own_size > BYTES_PER_SCRIPT):
            yield batch, flat
            batch, flat, total = [], [], 0
        batch.append(item)
        flat += arguments
        total += own_size
    if batch:
        yield batch, flat


async def in_order(batches: Iterable[T], ask: Callable[[T], Coroutine[Any, Any, A]]) -> list[A]:
    """The answers for all batches. While the server works on one batch, the client prepares the next one. A batch is
    sent when the one before it is answered, so their order is that of the arguments."""
    answers: list[A] = []
    asked: asyncio.Task[A] | None = None
    try:
        for batch in batches:
            if asked is not None:
                answers.append(await asked)
            asked = asyncio.create_task(ask(batch))
            await asyncio.sleep(0)  # The request is sent before the next batch is prepared.
        if asked is not None:
            answers.append(await asked)
    finally:
        if asked is not None and asked.cancel():
            await asyncio.wait({asked})
    return answers
