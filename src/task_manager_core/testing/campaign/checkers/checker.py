"""A checker judges one invariant: every effect, before the model applies it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NoReturn

from task_manager_core.domain.events import Event
from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import AttemptRecord
from task_manager_core.testing.campaign.model import ClusterModel, Conclusion, ModelExecution
from task_manager_core.testing.campaign.violation import Violation
from task_manager_core.testing.cluster.effects import Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What the store keeps and shows beside a snapshot: the memory of every task, the progress of every live run, and
    of the tasks that the operation has settled the newest lines, one for each settlement."""

    memories: Mapping[TaskKey, TaskMemory]
    progress: Mapping[RunId, Progress | None]
    lines: Mapping[TaskKey, tuple[AttemptRecord, ...]]


class Checker:
    """One invariant. A subclass overrides what it has to see, and calls `violated` when the invariant is broken."""

    invariant: ClassVar[str]
    law: ClassVar[str]
    because: ClassVar[str]
    """What makes the law true. The table of guarantees shows it."""

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        """An effect, before the model applies it."""

    def compare(self, snapshot: Snapshot, model: ClusterModel) -> None:
        """A snapshot of the store, after the model has applied the effects of an operation."""

    def inspect(self, records: Records, model: ClusterModel) -> None:
        """The records of the store, after the model has applied the effects of an operation."""

    def begin(self, execution: ModelExecution, model: ClusterModel) -> None:
        """A worker calls a function of the user. The model does not have the execution yet."""

    def read(self, execution: ModelExecution, cursor: str | None, model: ClusterModel) -> None:
        """A function has read the cursor of its task."""

    def notice(self, event: Event, model: ClusterModel) -> None:
        """A node reports an event."""

    def call(self, conclusion: Conclusion, model: ClusterModel) -> None:
        """A process calls a callback about this outcome. The model does not count the call yet."""

    def violated(self, message: str) -> NoReturn:
        raise Violation(self.invariant, message)

    def require(self, condition: object, message: str) -> None:
        if not condition:
            self.violated(message)
