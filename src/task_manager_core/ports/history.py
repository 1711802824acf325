"""What has happened to a task, and how everything stands."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.run import AttemptRecord


class History(Protocol):
    """Laws:

    1. Every settled, reaped or cancelled attempt leaves one line, readable newest first.
    2. The newest lines of a task are kept: at most the retained number, at least for the retained time after the last
       one.
    3. Every skipped slot is counted under its reason, and the newest skips can be read as ranges.
    4. Clearing takes the lines, the skips and the counts, and nothing else.
    5. A snapshot is one consistent reading of every task it names; unknown keys are left out.
    6. A line that the store writes itself has no failure, and names the claim's worker and token, or nobody ("") and 0
       where there was no claim. LOST lasts from the last heartbeat until the reaping; CANCELLED begins when it is
       written and takes no time.
    """

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        """The newest lines of a task. Errors: BackendUnavailable."""
        ...

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        """The newest skips of a task; at least 100 ranges are kept. Errors: BackendUnavailable."""
        ...

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        """Forget; the answer names the tasks that exist. Errors: BackendUnavailable."""
        ...

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        """How these tasks (None: all) stand, who leads and who lives. Errors: BackendUnavailable.

        Tasks come in the order of their keys, nodes in that of their names; of the live runs of a task the held ones
        come last, first in, first out, and the others in any order. `queued` counts the runs of all tasks, also of
        those that were not asked for.
        """
        ...
