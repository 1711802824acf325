"""The scope of a worker: the runs that it may claim."""

from __future__ import annotations

from dataclasses import dataclass

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.run import Run

MOST_EXCLUDED = 100
"""A worker excludes at most so many tasks from its claims: the cost of a claim is bounded."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The runs that a worker may claim: those of the queues that it serves (None: of every queue), without those of
    some tasks. It excludes the tasks that it cannot execute."""

    queues: frozenset[str] | None = None
    without: frozenset[TaskKey] = frozenset()

    def admits(self, run: Run) -> bool:
        return (self.queues is None or run.queue in self.queues) and run.task not in self.without


EVERYTHING = Scope()
