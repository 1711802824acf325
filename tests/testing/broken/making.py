"""Builds broken stores: the memory store or the SQLite example, with one typical mistake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Capabilities, Clock
from task_manager_core.testing.conformance import Harness, clock_harness
from task_manager_memory.catalogue import MemoryCatalogue
from task_manager_memory.dispatch import MemoryDispatch
from task_manager_memory.history import MemoryHistory
from task_manager_memory.leadership import MemoryLeadership
from task_manager_memory.membership import MemoryMembership
from task_manager_memory.notifier import MemoryNotifier
from task_manager_memory.run_queue import MemoryRunQueue
from task_manager_memory.state import Condition, State

PATIENCE = 0.5
"""Seconds. A test that waits for an event that never comes must fail soon here."""

OpenHarness = Callable[[], AbstractAsyncContextManager[Harness]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenStore:
    """`mistake` in words, and the law and the test of the suite that find it."""

    mistake: str
    law: str
    killed_by: str
    open_harness: OpenHarness = field(repr=False)

    def __str__(self) -> str:
        return self.mistake.replace(" ", "-")


def memory(
    *,
    state: type[State] = State,
    leadership: type[MemoryLeadership] = MemoryLeadership,
    catalogue: type[MemoryCatalogue] = MemoryCatalogue,
    dispatch: type[MemoryDispatch] = MemoryDispatch,
    queue: type[MemoryRunQueue] = MemoryRunQueue,
    history: type[MemoryHistory] = MemoryHistory,
    membership: type[MemoryMembership] = MemoryMembership,
    notifier: type[MemoryNotifier] = MemoryNotifier,
) -> OpenHarness:
    """The memory store with some of its ports replaced."""

    @asynccontextmanager
    async def open_backend(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
        held = state(clock, retention)
        yield Backend(
            name="broken",
            capabilities=Capabilities(durable=False, extends_in_threads=True),
            leadership=leadership(held),
            catalogue=catalogue(held),
            dispatch=dispatch(held),
            queue=queue(held),
            history=history(held),
            membership=membership(held),
            notifier=notifier(held),
        )

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Harness]:
        async with clock_harness(open_backend) as harness:
            yield replace(harness, patience=PATIENCE)

    return opened


async def round_trip() -> None:
    """The pause inside a verb that is not one step: other verbs run in between."""
    await asyncio.sleep(0)


@contextmanager
def silence(state: State) -> Generator[None]:
    """Queue runs and wake no waiting worker."""
    condition, state.run_queued = state.run_queued, Condition()
    try:
        yield
    finally:
        state.run_queued = condition
