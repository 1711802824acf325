"""Opening the memory store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Capabilities, Clock
from task_manager_memory.catalogue import MemoryCatalogue
from task_manager_memory.dispatch import MemoryDispatch
from task_manager_memory.history import MemoryHistory
from task_manager_memory.leadership import MemoryLeadership
from task_manager_memory.membership import MemoryMembership
from task_manager_memory.notifier import MemoryNotifier
from task_manager_memory.run_queue import MemoryRunQueue
from task_manager_memory.state import State, StateCopy


class MemoryStore:
    """A store object that can be opened more than once, so that several nodes of one process share it, or one node
    after a restart.

    Its clock and its retention are those of the first opening.
    """

    def __init__(self) -> None:
        self._state: State | None = None

    @asynccontextmanager
    async def open(self, *, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        """An `OpenBackend`: `TaskManager(app, config, backend=store.open)`."""
        if self._state is None:
            self._state = State(clock, retention)
        state = self._state
        yield Backend(
            name="memory",
            capabilities=Capabilities(durable=False, extends_in_threads=True),
            leadership=MemoryLeadership(state),
            catalogue=MemoryCatalogue(state),
            dispatch=MemoryDispatch(state),
            queue=MemoryRunQueue(state),
            history=MemoryHistory(state),
            membership=MemoryMembership(state),
            notifier=MemoryNotifier(state),
        )

    def copy_state(self) -> StateCopy:
        """A copy of the contents of the store. A simulation restores a store to an older state with it."""
        return self._opened().copy()

    def restore_state(self, copy: object | None) -> None:
        """Replace the contents of the store by a copy; by nothing if the copy is None."""
        assert copy is None or isinstance(copy, StateCopy), f"not a copy of this store: {copy!r}"
        self._opened().restore(copy)

    def _opened(self) -> State:
        if self._state is None:
            raise RuntimeError("a store that was never opened holds nothing")
        return self._state


def open_backend(*, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]:
    """Open a new store that nothing else shares."""
    return MemoryStore().open(clock=clock, retention=retention)
