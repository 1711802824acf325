"""What a checker is: one invariant, asked about every fact before it is entered in the books."""

from __future__ import annotations

from typing import ClassVar, NoReturn

from task_manager_core.domain.events import Event
from task_manager_core.domain.observation import Snapshot
from task_manager_core.testing.campaign.model import ClusterModel, ModelExecution
from task_manager_core.testing.cluster.effects import Effect
from task_manager_core.testing.cluster.violation import Violation


class Checker:
    """One invariant. Override what it has to see; call `violated` when it is broken."""

    invariant: ClassVar[str]
    law: ClassVar[str]
    because: ClassVar[str]
    """What makes it true: shown in the table of guarantees."""

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        """A fact, before it is entered."""

    def compare(self, snapshot: Snapshot, ledger: ClusterModel) -> None:
        """The store as it shows itself, after the facts of an operation have been entered."""

    def begun(self, execution: ModelExecution, ledger: ClusterModel) -> None:
        """A function of the user is called, before that is entered."""

    def noticed(self, event: Event, ledger: ClusterModel) -> None:
        """A node says that something happened."""

    def violated(self, message: str) -> NoReturn:
        raise Violation(self.invariant, message)

    def require(self, condition: object, message: str) -> None:
        if not condition:
            self.violated(message)
