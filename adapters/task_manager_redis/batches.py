"""Many items as several scripts, so that no script keeps the server busy for more than some milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

RUNS_PER_SCRIPT = 500
TASKS_PER_SCRIPT = 200


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size` items."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
