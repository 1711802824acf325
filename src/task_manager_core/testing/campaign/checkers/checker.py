"""A checker judges one invariant: every effect, before the model applies it."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from task_manager_core.domain.events import Event
from task_manager_core.domain.observation import Snapshot
from task_manager_core.testing.campaign.model import ClusterModel, ModelExecution
from task_manager_core.testing.campaign.violation import Violation
from task_manager_core.testing.cluster.effects import Effect


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

    def begin(self, execution: ModelExecution, model: ClusterModel) -> None:
        """A worker calls a function of the user. The model does not have the execution yet."""

    def notice(self, event: Event, model: ClusterModel) -> None:
        """A node reports an event."""

    def violated(self, message: str) -> NoReturn:
        raise Violation(self.invariant, message)

    def require(self, condition: object, message: str) -> None:
        if not condition:
            self.violated(message)
