"""The definitions, shared by every process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import NextSlot, Skipped
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionWrite:
    """A definition to be written.

    `expected` is the version that the writer has seen, 0 for none. With `replan` the next slot becomes `plan` (None:
    the schedule has ended); without it the stored rhythm goes on. `skipped` are the undecided slots that a new plan
    gives up, the first of them the stored next slot.
    """

    definition: TaskDefinition
    expected: int
    replan: bool
    next_slot: NextSlot | None = None
    skipped: tuple[Skipped, ...] = ()


CHANGES_REMEMBERED = 10_000
"""So many of its newest changes a store remembers, to tell a reader what changed without telling what exists."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else wrote first; `found` is the version that stands, 0 for none."""

    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a reader has to learn: definitions newer than the version it knew, in the order of their versions.

    A `complete` reading holds everything: a task that it does not name does not exist, or is not retired. Any other
    holds what changed since the version that the reader knew: `removed` are gone, `retired` have been retired, and a
    definition that is neither among them nor unchanged is active.

    `retired` names static tasks that no living process declared when the leader last looked. `unreadable` names changed
    tasks whose definitions this version of the library cannot read; one of them must not hide the others.
    `incarnation` names the life of the store; 0 while it holds nothing. `total` is the number of tasks that the store
    counts: a reader that comes to another number than before has missed something, and reads everything.
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
        """The tasks that exist as far as these changes tell: all of them in a complete reading."""
        return frozenset(stored.definition.key for stored in self.changed) | self.retired | self.unreadable


class Catalogue(Protocol):
    """Laws:

    1. Versions strictly increase over all tasks of the store, also after a wipe.
    2. A definition is written only if the stored version is the expected one; otherwise nothing of it changes.
    3. Writing what stands already returns the version that stands and changes nothing, whatever version was expected.
    4. A change of definition keeps pause, history and live runs.
    5. The next slot changes only on `replan`, and the slots that this gives up are recorded as skipped in the same
       step.
    6. Removal takes the definition, its state, its history, its live runs and the memory of its requests; the claims on
       its runs are lost.
    7. A reader that knows the current version learns nothing (None); any other learns every change since its version.
    8. A retired task leaves the agenda; writing its definition again brings it back.
    9. Retirement is fenced by the term.
    10. Every change wakes whoever waits for a signal.
    11. A definition that gives up slots is not written once another next slot stands.
    12. A new plan of a known task is not written once its slot has passed, nor up to the last slot that was decided
        about: the leader may have dispatched that slot.
    13. The incarnation stays the same until the store loses what it held; no two are equal.
    14. A reader at one of the last CHANGES_REMEMBERED versions learns the changes alone, whatever the number of tasks;
        a reader at a version that the store has forgotten, or never gave out, gets a complete reading.
    """

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        """Write definitions, each on its own; the answer is its version. Errors: BackendUnavailable."""
        ...

    async def remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        """Remove tasks; the answer names those that existed. Errors: BackendUnavailable."""
        ...

    async def load(self, since: int) -> Changes | None:
        """Everything that changed after version `since`. Errors: BackendUnavailable.

        0 asks for a complete reading. So does a version that the store does not remember: its reader comes from long
        ago, or knew a store that was wiped or set back.
        """
        ...

    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        """Stop scheduling these tasks; the answer names those that were active. Errors: BackendUnavailable.

        Nothing else of them changes: what lives, pauses and history stay, and runs that somebody asks for are queued.
        """
        ...
