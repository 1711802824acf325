"""What the worker of a node claims."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from itertools import islice

from task_manager_core.application.declarations import Declarations
from task_manager_core.application.definitions import Definitions
from task_manager_core.domain.duties import Duties
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.scope import EVERYTHING, MOST_EXCLUDED, Scope
from task_manager_core.ports import Clock

EXPIRY_INTERVAL = timedelta(seconds=30)


class ClaimScope:
    """Law: the scope has the queues that the node serves, and excludes the tasks that its code does not know, at most
    MOST_EXCLUDED of them: those that it met last, and then those that it read last.

    The node reads every definition, so it knows these tasks before it meets a run of them. A change of some definitions
    costs time for these alone.

    A run that has waited for too long expires with the next claim of any worker. So the worker does not exclude the
    tasks whose runs may expire from one claim in EXPIRY_INTERVAL: else their runs would pile up while no process knows
    the function.
    """

    def __init__(self, duties: Duties, declarations: Declarations, definitions: Definitions, clock: Clock) -> None:
        self._queues = duties.queues
        self._clock = clock
        self._expiring: set[TaskKey] = set()
        """Those of the unknown tasks whose runs may expire."""
        self._look_at = clock.monotonic() + EXPIRY_INTERVAL.total_seconds()
        """When the worker claims runs of these, too."""
        self._declarations = declarations
        self._definitions = definitions
        self._unknown: dict[TaskKey, None] = {}
        self._declared = -1
        """The revision of the declarations for which `_unknown` is right."""
        self._scope: Scope | None = None
        definitions.on_touched = self._note

    def current(self) -> Scope:
        if self._declared != self._declarations.revision:
            self._declared = self._declarations.revision
            self._note(tuple(self._unknown))
        if self._scope is None:
            without = frozenset(islice(reversed(self._unknown), MOST_EXCLUDED))
            self._scope = Scope(self._queues, without)
        now = self._clock.monotonic()
        if self._expiring and now >= self._look_at:
            self._look_at = now + EXPIRY_INTERVAL.total_seconds()
            return Scope(self._queues, self._scope.without - self._expiring)
        return self._scope

    def met(self, key: TaskKey) -> None:
        """A run of this task was claimed, and its function is not known here."""
        if key in self._unknown:
            del self._unknown[key]
            self._unknown[key] = None
            self._scope = None

    def _note(self, keys: Collection[TaskKey]) -> None:
        """The definitions of these tasks have changed, or code has declared functions."""
        for key in keys:
            stored = self._definitions.get(key)
            known = stored is None or self._declarations.knows(stored.definition)
            self._expiring.discard(key)
            if stored is not None and not known and stored.definition.may_expire:
                self._expiring.add(key)
            if known and key in self._unknown:
                del self._unknown[key]
                self._scope = None
            elif not known and key not in self._unknown:
                self._unknown[key] = None
                self._scope = None


class WholeScope:
    """The scope of a worker that no other is beside."""

    def current(self) -> Scope:
        return EVERYTHING

    def met(self, key: TaskKey) -> None:
        """The worker releases what it does not know: else it would meet it for ever."""
