"""The run queue: the live runs, which are queued, running, waiting or held."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Protocol

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.progress import ProgressReport
from task_manager_core.domain.run import Claim, Run, Settlement
from task_manager_core.domain.scope import EVERYTHING, Scope

REQUEST_MEMORY = timedelta(days=1)
"""A store remembers the id of a requested run for this long, with the digest of the request.

A repeated request is therefore harmless, and another request under the same id is noticed."""

REPEAT_MEMORY = timedelta(minutes=5)
"""The same for a request whose caller gave no id and so cannot repeat it.

A process or a driver repeats a request whose answer was lost for a shorter time than this."""


class Enqueued(Enum):
    """The result of a request for one run."""

    QUEUED = "queued"
    HELD = "held"
    WAITING = "waiting"
    DUPLICATE = "duplicate"
    UNKNOWN_TASK = "unknown_task"


@dataclass(frozen=True, slots=True)
class AskedOtherwise:
    """An earlier request with the same id asked for something else of these runs. The store did nothing."""

    runs: frozenset[RunId]


class Cancelling(Enum):
    """The result of a request to cancel one run."""

    CANCELLED = "cancelled"
    REQUESTED = "requested"
    NOT_LIVE = "not_live"


@dataclass(frozen=True, slots=True)
class Extension:
    """The result of extending claims.

    Attributes:
        lost: The claims that are over.
        cancelling: The claims on runs whose cancellation was requested.
    """

    lost: frozenset[Claim]
    cancelling: frozenset[Claim]


class RunQueue(Protocol):
    """Laws:

    1. A run that was enqueued once is not enqueued again while its request is remembered or while it lives, unless
       its task was removed since; a run of an unknown task is never enqueued.
    2. A run with a limit of live runs (one if it is exclusive, else `max_instances`) is held while another run of its
       task is held or as many live; the first held run is queued in the step that ends another run, as soon as its
       limit allows.
    3. A claim gives each queued run to one worker; high priority before low, then first in, first out within a queue;
       at most `limit`.
    4. A claim lives while it is extended within its time to live; an expired claim is never revived.
    5. Only its holder settles a claim, while it lives or is not reaped yet; a lost claim changes nothing.
    6. A settlement ends the run, or lets it wait for its delay, and writes its line of history, in one step.
    7. A run that waits for its retry can be claimed from its instant on, with the next attempt number and one more
       failure.
    8. Releasing a claim queues its run again after the delay, without a failure; the attempt counts only if it was
       started.
    9. Reaping queues the runs of expired claims again, unless their cancellation was requested, with the next
       attempt number and one more loss, which is no failure; it is fenced by the term and never touches a claim
       that lives.
    10. Each claim has a fencing token of its own; within a run the tokens strictly increase.
    11. Cancelling a run that no worker runs ends it at once; the worker of a running run learns of the request with
       its next extension.
    12. Promoting makes the runs claimable now that wait for a retry or were released.
    13. A run whose cancellation was requested is not tried again: a retry, a release or a lost claim ends it.
    14. A worker that names the claims it knows gets its other claims again: their reply was lost.
    15. A request under the id of a remembered run that asks for something else is refused as a whole: none of its
       runs is queued.
    16. Claims, waits and the memory of requests end after their length, also if the store's clock is set back
       meanwhile.
    17. The result of an attempt is kept in the line of its settlement, as the worker gave it.
    18. The last report of an attempt is shown while its claim holds the run, for at least the time to live after it;
       a lost claim changes nothing.
    19. A run that is enqueued with a delay waits: it can be claimed from its instant on, as its first attempt, and no
       promotion makes it claimable before.
    20. A success with something to remember replaces the last success in the memory of its task, and the cursor if it
       has one, in the step of its settlement; nothing else changes the memory until the task is removed.
    21. A claim gives only runs of the queues that the worker serves, and of no task that it excludes; the other runs
       keep their places for the other workers.
    22. A run is in its own queue whenever it is queued, also after a retry, a release or a loss.
    """

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        """Queue the runs of a request. Each of them is judged on its own.

        A pause or a retirement of the task is about its slots and refuses no request. If two answers are true,
        UNKNOWN_TASK is given before DUPLICATE.

        Args:
            runs: The runs.
            asked: A short digest of the request, which tells apart two requests under one id. A store that queues in
                several steps compares the digests of all runs before it queues the first one.
            memory: How long the store remembers the request.
            delay: The runs can be claimed after this time; 0 means now. A run that waits lives, and would keep the
                other runs of a task with a limit waiting: the caller gives no delay for a run with a limit.

        Returns:
            For each run, in the order of the arguments, what became of it; AskedOtherwise, and no run was queued, if an
            earlier request under the same id had another digest.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        """Claim queued runs. The cost does not grow with the number of queued runs, nor with the number of queues that
        the worker does not serve.

        Args:
            worker: The node that claims.
            limit: The worker gets at most this many runs.
            wait: How long to wait for the first run.
            known: The claims that this worker knows. The other claims of this worker come first in the answer then, as
                old as they are: the store notes no heartbeat for them. With `known` the verb does not wait.
            scope: The runs that the worker may claim. Claims that it holds already are given whatever their scope.

        Returns:
            The claims.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        """Extend all claims of a worker (a heartbeat).

        Args:
            claims: The claims.
            ttl: A claim is over once its last heartbeat is this old.

        Returns:
            The claims that are over, and the claims whose runs should be cancelled.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def report(self, reports: Sequence[ProgressReport], ttl: timedelta) -> frozenset[Claim]:
        """Show the progress of attempts (`History.progress` reads it). A report replaces the one before.

        Args:
            reports: The reports, each with its claim.
            ttl: The store may forget a report that is this old.

        Returns:
            The claims that were over; nothing is shown for them.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        """Record the outcomes of attempts.

        The line of history is that of the settlement, also if the outcome is a retry and a requested cancellation ends
        the run. If a batch has two settlements of one claim, the first one counts.

        Args:
            settlements: The outcomes, each with its claim.

        Returns:
            The claims that were over; nothing was recorded for them.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        """Return runs to the queue without an outcome.

        A claim that expired may be released until it is reaped. A release of a run whose cancellation was requested
        ends the run and leaves the line CANCELLED.

        Args:
            claims: The claims on the runs.
            delay: The runs can be claimed again after this time; 0 means now.
            started: True if the worker started the attempts; they count then.

        Returns:
            The claims that were over; nothing was done for them.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        """Queue the runs of expired claims again.

        Each reaped claim leaves the line LOST.

        Args:
            term: The term of the leader that reaps.
            ttl: A claim has expired once its last heartbeat is this old.
            limit: The verb reaps at most this many claims.

        Returns:
            The reaped claims, also those on runs that end because their cancellation was requested; Fenced, and no
            claim is reaped, if the term is stale.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        """Request the cancellation of runs. Each of them is judged on its own.

        Args:
            runs: The runs, each with its task.

        Returns:
            For each run, in the order of the arguments, what became of the request.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        """Make the runs of these tasks claimable now that wait for a retry or were released, in any order.

        Args:
            keys: The tasks.
            spared: The runs that go on waiting, each with its task.

        Returns:
            The number of promoted runs.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...
