"""Searches the history of a task for the end of a run, which is mostly among its newest lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.run import AttemptRecord
from task_manager_core.ports import History

LINES_READ = (50, 1000)


async def newest_lines(
    history: History, key: TaskKey, suffice: Callable[[Sequence[AttemptRecord]], bool]
) -> Sequence[AttemptRecord]:
    """The newest lines of a task: first few, and more only if these do not suffice."""
    lines: Sequence[AttemptRecord] = ()
    for limit in LINES_READ:
        lines = await history.read(key, limit)
        if suffice(lines) or len(lines) < limit:
            break
    return lines
