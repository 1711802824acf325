"""The catalogue: the definitions of all tasks, shared by all processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import NextSlot, Skipped
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionWrite:
    """A definition to be written.

    Attributes:
        definition: The definition.
        expected: The version that the writer has seen; 0 if the writer has seen no definition of this task.
        replan: With True the next slot of the task becomes `next_slot`. With False the stored next slot stays.
        next_slot: The new next slot; None means that the schedule has ended.
        skipped: The undecided slots that the new next slot abandons. The first of them is the stored next slot.
    """

    definition: TaskDefinition
    expected: int
    replan: bool
    next_slot: NextSlot | None = None
    skipped: tuple[Skipped, ...] = ()


CHANGES_REMEMBERED = 10_000
"""The number of newest changes that a store remembers.

A reader within them gets the changes and no complete reading.
"""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another writer was first. `found` is the stored version; 0 if the task does not exist."""

    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes that a reader of the catalogue does not know yet.

    A `complete` reading holds all tasks: a task that it does not name does not exist, and a task that is not in
    `retired` is active. An incomplete reading holds the changes since the version that the reader knew: a task in
    `changed` is active unless it is in `retired` too.

    Attributes:
        version: The newest version of the catalogue.
        incarnation: The number of the store's incarnation; 0 while the store is empty.
        complete: The reading holds all tasks, and not only the changes.
        changed: The new and changed definitions, in the order of their versions.
        retired: The retired tasks: static tasks that no living process declared when the leader last checked.
        total: The number of tasks in the store. A reader that counts another number has missed a change, and has to
            read everything.
        removed: The removed tasks.
        unreadable: The changed tasks whose definitions this version of the library cannot read.
    """

    version: int
    incarnation: int
    complete: bool
    changed: tuple[VersionedDefinition, ...]
    retired: frozenset[TaskKey]
    total: int
    removed: frozenset[TaskKey] = frozenset()
    unreadable: frozenset[TaskKey] = frozenset()

    @property
    def keys(self) -> frozenset[TaskKey]:
        """The existing tasks that these changes name. In a complete reading these are all tasks."""
        return frozenset(stored.definition.key for stored in self.changed) | self.retired | self.unreadable


class Catalogue(Protocol):
    """Laws:

    1. Versions strictly increase over all tasks of the store, also after a wipe.
    2. A definition is written only if the stored version is the expected one; otherwise nothing of it changes.
    3. Writing a definition that is stored already returns the stored version and changes nothing, for any expected
       version.
    4. A change of definition keeps pause, history and live runs.
    5. The next slot changes only on `replan`, and the slots that the change abandons are recorded as skipped in the
       same step.
    6. Removal deletes the definition, its state, its history, its live runs and the memory of its requests; the
       claims on its runs are lost.
    7. A reader that knows the current version learns nothing (None); any other reader learns every change since its
       version.
    8. A retired task leaves the agenda; writing its definition again brings it back.
    9. Retirement is fenced by the term.
    10. Every change wakes all callers of `Notifier.wait`.
    11. A definition that abandons slots is not written once the stored next slot has changed.
    12. A new next slot of a known task is not written once it has passed, nor if it is not after the last decided
       slot: the leader may have dispatched that slot.
    13. The incarnation stays the same until the store loses its content; no two incarnations are equal.
    14. A reader at one of the last CHANGES_REMEMBERED versions gets only the changes, for any number of tasks; a
       reader at a version that the store has forgotten, or never gave out, gets a complete reading.
    15. The removal of ended tasks is fenced by the term, and removes a task only if it has the given version, no next
       slot, and neither a live nor a held run.
    """

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        """Write definitions. Each of them is judged on its own.

        Args:
            definitions: The definitions, each with the version that the writer expects.

        Returns:
            For each definition, in the order of the arguments, its version; Conflict if it was not written.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        """Remove tasks with all that belongs to them.

        Args:
            keys: The tasks.

        Returns:
            Those of the tasks that existed.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def remove_ended(self, term: Term, versions: Mapping[TaskKey, int]) -> frozenset[TaskKey] | Fenced:
        """Remove tasks that are over, with all that belongs to them. Each of them is judged on its own.

        Args:
            term: The term of the leader that removes the tasks.
            versions: The tasks, each with the version that the leader knows.

        Returns:
            The removed tasks; Fenced, and no task is removed, if the term is stale.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def load(self, since: int) -> Changes | None:
        """Read the changes after a version.

        Args:
            since: The version that the reader knows; 0 asks for a complete reading. A version that the store does not
                remember asks for one too: the reader last read long ago, or the store was wiped or set back since. No
                store gives out -1: it asks for a complete reading of an empty store, too, whose version is 0.

        Returns:
            The changes; None if `since` is the current version.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        """Stop scheduling these tasks, and change nothing else of them.

        Live runs, pauses and history stay. A run that a request asks for is still queued.

        Args:
            term: The term of the leader that retires the tasks.
            keys: The tasks.

        Returns:
            Those of the tasks that were active; Fenced, and no task is retired, if the term is stale.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...
