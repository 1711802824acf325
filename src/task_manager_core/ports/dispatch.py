"""Which slots are due, and what has been decided about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import Agenda, SlotDecision


class Dispatch(Protocol):
    """Laws:

    1. The agenda shows tasks whose next slot is due by the store's time, the earliest first, at most `limit` after the
       first `skip` of them.
    2. A decision is kept only if version and next slot are the ones it was made for; it then takes effect whole: runs
       are queued or held, skips recorded, the next slot advanced, in one step.
    3. A decision that dispatches or holds is not kept while the task is paused.
    4. A decision that dispatches an exclusive run is not kept while the task has live or held runs.
    5. A decision that holds a run is not kept while another run is held, nor when nothing would be left to wait for.
    6. A decision that dispatches is not kept while a retry of the task waits.
    7. Every decision is fenced by the term; with a stale one nothing changes.
    8. Repeating a commit changes nothing more.
    9. A pause has no end of its own.
    10. Resuming remembers its instant, so that slots of the pause are not replayed; resuming an active task does
        nothing.
    """

    async def agenda(self, limit: int, skip: int = 0) -> Agenda:
        """Read what is due. Errors: BackendUnavailable."""
        ...

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        """Keep decisions, each on its own; False for one that was overtaken. Errors: BackendUnavailable."""
        ...

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        """Stop dispatching; the answer names the tasks that exist. Errors: BackendUnavailable."""
        ...

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        """Dispatch again; the answer names the tasks that exist. Errors: BackendUnavailable."""
        ...
