"""The runs that live: queued, claimed, waiting, held."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Protocol

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.run import Claim, Run, Settlement

REQUEST_MEMORY = timedelta(days=1)
"""A run id that was enqueued is remembered for this long, with what was asked, so that repeating a request is harmless
and another request under its id is not taken for it."""

REPEAT_MEMORY = timedelta(minutes=5)
"""So long if its caller gave no id and cannot ask again: longer than a process, or a driver, repeats a request whose
answer was lost."""


class Enqueued(Enum):
    """What became of a requested run."""

    QUEUED = "queued"
    HELD = "held"
    DUPLICATE = "duplicate"
    UNKNOWN_TASK = "unknown_task"


@dataclass(frozen=True, slots=True)
class AskedOtherwise:
    """These runs were asked for before, and something else was asked: nothing of the request was done."""

    runs: frozenset[RunId]


class Cancelling(Enum):
    """What became of a request to cancel."""

    CANCELLED = "cancelled"
    REQUESTED = "requested"
    NOT_LIVE = "not_live"


@dataclass(frozen=True, slots=True)
class Extension:
    """The claims among the extended ones that are over, and those whose runs somebody wants cancelled."""

    lost: frozenset[Claim]
    cancelling: frozenset[Claim]


class RunQueue(Protocol):
    """Laws:

    1. A run that was enqueued once is not enqueued again while its request is remembered or while it lives, unless its
       task was removed since; one of an unknown task never is.
    2. An exclusive run is held while another run of its task lives, and queued in the step that ends that run.
    3. A claim gives each queued run to one worker; high priority before low, then first in, first out; at most `limit`.
    4. A claim lives while it is extended within its time to live; an expired claim is never revived.
    5. Only the holder of a live-or-unreaped claim settles it; a lost claim changes nothing.
    6. A settlement ends the run, or lets it wait for its delay, and writes its line of history, in one step.
    7. A run that waits can be claimed from its instant on, with the next attempt number and one more failure.
    8. A released claim puts the run back after the delay without a failure; the attempt counts only if it was started.
    9. Reaping puts back the runs whose claims expired and which nobody wants cancelled, with the next attempt number
       and one more loss, which is no failure; it is fenced by the term and never touches a claim that lives.
    10. Each claim brings a fencing token of its own; within a run they strictly increase.
    11. Cancelling a run that nobody runs ends it at once; for a running one the worker learns it with its next
        extension.
    12. Promoting makes waiting runs claimable now.
    13. A run that somebody wants cancelled is not tried again: a retry, a release or a lost claim ends it.
    14. Claims of a worker that it does not know (their reply was lost) are given again when it says what it knows.
    15. A request under the id of a remembered run that asks for something else is refused whole: none of its runs is
        queued.
    16. Claims, waits and the memory of requests end after their length, also if the store's clock is set back
        meanwhile.
    """

    async def enqueue(
        self, runs: Sequence[Run], asked: str = "", memory: timedelta = REQUEST_MEMORY
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        """Queue the runs of a request, each on its own. Errors: BackendUnavailable.

        `asked` tells requests apart that come under one id: a short digest of what this one says. A store remembers it
        with each run, for as long as `memory` says. A store that works in steps compares all runs before it queues the
        first.

        A pause or a retirement of the task is about its slots and keeps no request out. Of two answers that fit,
        UNKNOWN_TASK is given before DUPLICATE.
        """
        ...

    async def claim(
        self, worker: NodeId, limit: int, wait: timedelta, known: Collection[Claim] | None = None
    ) -> tuple[Claim, ...]:
        """Claim up to `limit` runs, waiting up to `wait` for the first.

        With `known` the claims that this worker holds without knowing it come back first, as old as they are: no
        heartbeat is noted for them. Nothing is waited for then. Errors: BackendUnavailable.
        """
        ...

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        """Beat for all claims of a worker at once. Errors: BackendUnavailable."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        """Record outcomes; the answer names the claims that were over. Errors: BackendUnavailable.

        The line is the settlement's own, also when a retry ends a run that somebody wants cancelled. Of two settlements
        of one claim in a batch the first counts.
        """
        ...

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        """Give runs back; the answer names the claims that were over. Errors: BackendUnavailable.

        A claim that expired may be given back until it is reaped. A run that somebody wants cancelled leaves the line
        CANCELLED.
        """
        ...

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        """Put back the runs of claims without a heartbeat for `ttl`. Errors: BackendUnavailable.

        The answer names the claims, also those whose runs end because somebody wants them cancelled; each leaves the
        line LOST.
        """
        ...

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        """Cancel runs, each on its own. Errors: BackendUnavailable."""
        ...

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        """Let the waiting runs of these tasks go now, in any order, all but the spared ones; the answer counts them.

        Errors: BackendUnavailable.
        """
        ...
