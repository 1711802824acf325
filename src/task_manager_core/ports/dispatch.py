"""Dispatch: which slots are due, and what the leader decided about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import Agenda, SlotDecision


class Dispatch(Protocol):
    """Laws:

    1. The agenda shows tasks whose next slot is due by the store's time or falls due within `ahead`, the earliest
       first, at most `limit` after the first `skip` of them.
    2. A decision is kept only if the task still has the version and the next slot of the decision; it then takes
       effect as a whole: runs are queued or held, skips recorded, the next slot advanced, in one step.
    3. A decision that dispatches or holds is not kept while the task is paused.
    4. A decision that dispatches runs with a limit of live runs (one if they are exclusive, else `max_instances`) is
       not kept while the task has held runs, nor if its live runs would then exceed the limit.
    5. A decision that holds a run is not kept while another run is held, nor if the held run would have no run to
       wait for.
    6. A decision that dispatches is not kept while a retry of the task waits.
    7. Every decision is fenced by the term; with a stale term nothing changes.
    8. Repeating a commit changes nothing more.
    9. A pause does not end by itself.
    10. Resuming records its instant, so that slots of the pause are not replayed; resuming an active task does
       nothing.
    11. A decision about a slot that is not due yet is not kept.
    12. The agenda counts the tasks that are due at the next instant.
    """

    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        """Read the tasks that are due.

        Args:
            limit: The agenda lists at most this many tasks.
            skip: The agenda leaves out this many of the earliest tasks.
            term: The term of the leader that reads; its progress advances while a task is due (law 11 of `Leadership`).
                A reading with a stale term, or without a term, is answered too, and advances nothing.
            ahead: The agenda also lists the tasks that fall due within this time. A leader prepares its decisions about
                them, and commits them when they are due.

        Returns:
            The store's time, the listed tasks, the next instant after the store's time at which a task is due, and the
            number of tasks that are due then.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def anticipate(self, decisions: Sequence[SlotDecision]) -> None:
        """Learn of decisions that this process may commit soon, in a burst. A store that translates decisions can do so
        now. This changes nothing in the store, and the store may forget it.

        Args:
            decisions: The decisions. Without any, the process will not commit those of earlier calls.

        Raises:
            BackendUnavailable: No answer. It is safe to repeat the call, or to commit without it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        """Record decisions. Each of them is judged on its own.

        Args:
            term: The term of the leader that decided.
            decisions: The decisions, at most one for each task.

        Returns:
            For each decision, in the order of the arguments, True if it was kept and False if it was overtaken; Fenced,
            and no decision was kept, if the term is stale.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        """Stop dispatching these tasks.

        Args:
            keys: The tasks.

        Returns:
            Those of the tasks that exist.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        """Dispatch these tasks again.

        Args:
            keys: The tasks.

        Returns:
            Those of the tasks that exist.

        Raises:
            BackendUnavailable: No answer. The call may have taken effect; it is safe to repeat it.
            BackendMisconfigured: The store cannot be used as it is set up.
            BackendCorrupt: The store's own structure is damaged.
        """
        ...
