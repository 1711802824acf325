"""The state of a store at one instant, for people and for the reconciler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from task_manager_core.domain.duties import ALL_DUTIES, Duties
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Term
from task_manager_core.domain.planning import NextSlot, SkipReason
from task_manager_core.domain.run import RunState
from task_manager_core.domain.task import TaskDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run that has not ended.

    `worker` is set while it runs, `due_at` while it waits, `retrying` if it waits for a retry.
    """

    run: RunId
    slot: datetime | None
    state: RunState
    attempt: int
    failures: int
    losses: int = 0
    worker: NodeId | None = None
    due_at: datetime | None = None
    retrying: bool = False
    cancelling: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """The state of a task at one instant.

    `decided` is the last slot with a decision. `resumed_at` is the instant at which the last pause ended. `retired`
    means that no living process declares this static task any more.
    """

    key: TaskKey
    version: int
    next_slot: NextSlot | None
    decided: datetime | None = None
    paused: bool = False
    resumed_at: datetime | None = None
    retired: bool = False
    live: tuple[LiveRun, ...] = ()
    skipped: Mapping[SkipReason, int] = field(default_factory=dict[SkipReason, int])

    @property
    def running(self) -> bool:
        return any(run.state is RunState.RUNNING for run in self.live)

    @property
    def retry_at(self) -> datetime | None:
        """The instant of the next waiting retry; None if no retry waits."""
        instants = [run.due_at for run in self.live if run.retrying and run.due_at is not None]
        return min(instants, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a living node announces: the static tasks it declares, the functions that dynamic tasks may name, and its
    duties.

    `overran` are runs in its threads that have passed their timeouts and cannot be stopped.
    """

    node: NodeId
    service: str
    started_at: datetime
    tasks: frozenset[TaskKey]
    functions: frozenset[FunctionKey]
    overran: frozenset[RunId] = frozenset()
    duties: Duties = ALL_DUTIES

    def knows(self, task: TaskDefinition) -> bool:
        """Does the code of the node have the function of this task?"""
        return (
            (FunctionKey(task.key.group, task.function) in self.functions) if task.dynamic else task.key in self.tasks
        )

    def can_execute(self, task: TaskDefinition) -> bool:
        return self.duties.serves(task.queue) and self.knows(task)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of the requested tasks, the leader's term and the living nodes, at the store's `now`.

    `queued` counts the queued runs of all tasks. `unreadable` names the living nodes whose presences this release
    cannot read: their declarations are unknown.
    """

    now: datetime
    term: Term | None
    tasks: tuple[TaskView, ...]
    nodes: tuple[Presence, ...]
    queued: int = 0
    unreadable: frozenset[NodeId] = frozenset()
