"""History: the attempts and skips of each task, and the present state of all tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.planning import Skipped
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord


class History(Protocol):
    """Laws:

    1. Every settled, reaped or cancelled attempt leaves one line, readable newest first.
    2. The newest lines of a task are kept: at most the retained number, at least for the retained time after the
       last one.
    3. Every skipped slot is counted under its reason, and the newest skips can be read as ranges.
    4. Clearing deletes the lines, the skips and the counts, and nothing else.
    5. A snapshot is one consistent reading of every task it names; unknown keys are left out.
    6. A line that the store itself writes has no failure, and names the claim's worker and token, or "" and 0 if
       there was no claim. A LOST line lasts from the last heartbeat until the reaping; a CANCELLED line begins when
       it is written and has no duration.
    7. The newest lines of several tasks are those that `read` gives for each of them, without messages, tracebacks,
       results and traces; unknown tasks are left out.
    """

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        """Read the newest lines of a task.

        Args:
            key: The task.
            limit: The answer has at most this many lines.

        Returns:
            The lines, newest first.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def recent(self, keys: Collection[TaskKey], limit: int) -> Mapping[TaskKey, tuple[AttemptRecord, ...]]:
        """Read the newest lines of several tasks, each without its long parts (`AttemptRecord.outline`).

        Args:
            keys: The tasks.
            limit: The answer has at most this many lines of each task.

        Returns:
            For each task that exists its lines, newest first.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        """Read the newest skips of a task. A store keeps at least 100 ranges for each task.

        Args:
            key: The task.
            limit: The answer has at most this many ranges.

        Returns:
            The ranges of skipped slots, newest first.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        """Delete the history of these tasks.

        Args:
            keys: The tasks.

        Returns:
            Those of the tasks that exist.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        """Read the state of tasks, the leader's term and the living nodes.

        Args:
            keys: The tasks; None asks for all.

        Returns:
            The snapshot. Tasks are in the order of their keys and nodes in the order of their names. Of the live runs
            of a task the held ones come last, first in, first out; the others come in any order. `queued` counts the
            queued runs of all tasks, also of those that `keys` does not name.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def progress(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Progress | None, ...]:
        """Read what running attempts have reported (law 18 of the run queue).

        Args:
            runs: The runs, each with its task.

        Returns:
            For each run, in the order of the arguments, the last report of the attempt that holds it; None if there is
            none.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def memory(self, key: TaskKey) -> TaskMemory:
        """Read what a task remembers (law 20 of the run queue).

        Args:
            key: The task.

        Returns:
            The memory; it is empty if the task is unknown or remembers nothing.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...
