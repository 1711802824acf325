"""The synchronous functions that have passed their timeout, and whose threads cannot be stopped."""

from __future__ import annotations

from collections.abc import Callable

from task_manager_core.application.attempt import Attempt
from task_manager_core.domain.current_policy import CurrentWorkerPolicy
from task_manager_core.domain.events import RunOverran
from task_manager_core.domain.identity import NodeId, RunId
from task_manager_core.domain.run import Claim
from task_manager_core.ports import Observer

MOST_ANNOUNCED = 100
"""A node announces no more of these runs."""


class Overruns:
    """Law: an attempt is among them from its timeout until its thread returns. Each holds a place of the worker."""

    def __init__(self, *, node: NodeId, policy: CurrentWorkerPolicy, observer: Observer) -> None:
        self._node = node
        self._policy = policy
        self._observer = observer
        self._attempts: dict[int, Attempt] = {}
        self.on_change: Callable[[], None] = lambda: None

    def begin(self, attempt: Attempt) -> None:
        """The attempt has passed its timeout."""
        self._attempts[id(attempt)] = attempt
        self._observer.notice(
            RunOverran(node=self._node, claim=attempt.claim, held=len(self._attempts), places=self._policy.concurrency)
        )
        self.on_change()

    def end(self, attempt: Attempt) -> None:
        """The thread of the attempt has returned."""
        if self._attempts.pop(id(attempt), None) is not None:
            self.on_change()

    @property
    def claims(self) -> tuple[Claim, ...]:
        return tuple(attempt.claim for attempt in self._attempts.values())

    @property
    def hold_every_place(self) -> bool:
        """Does the worker execute nothing else, because of them?"""
        return len(self._attempts) >= self._policy.concurrency

    def announced(self) -> frozenset[RunId]:
        """The runs, for the presence of the node."""
        return frozenset(claim.run.id for claim in self.claims[:MOST_ANNOUNCED])
