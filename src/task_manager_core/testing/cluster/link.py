"""The link between a node and its store, and every fault that can happen to a message on it.

    request latency → gate (partition, error, store down) → effect, observed → gate (reply lost) → reply latency

The effect is one atomic step. It is observed in the same step. The requests of a dead node have no effect. A wait
inside the store (a blocking claim) belongs to the store: the store serves a client that stands still, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeVar

from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.leadership import Term
from task_manager_core.testing.cluster.effects import Effect, Sent
from task_manager_core.testing.cluster.loop import SimLoop
from task_manager_core.testing.cluster.process import SimTask

T = TypeVar("T")

Action = Callable[[], Awaitable[None]]

GOLDEN = 0.618033988749895
"""The fractions of its multiples are spread evenly over the interval from 0 to 1."""

STORE = "store"
"""The loop node that runs what happens inside the store."""


class Side(Enum):
    """Before or after the effect of an operation."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds that a message takes each way: `base` to twice that, and up to `spread` more unless the run is calm."""

    base: float = 0.001
    spread: float = 0.012
    steps: int = 4

    def draw(self, loop: SimLoop) -> float:
        return self.base + self.spread * loop.decider.choose(self.steps) / self.steps


@dataclass(slots=True)
class LinkFaults:
    """The faults of one machine's link. Instants are virtual seconds."""

    requests_lost_until: float = 0.0
    replies_lost_until: float = 0.0
    notifications_lost_until: float = 0.0
    slow_until: float = 0.0
    slowness: float = 0.0
    fail_next: bool = False
    lose_next: bool = False

    def clear(self) -> None:
        self.requests_lost_until = self.replies_lost_until = self.slow_until = 0.0
        self.notifications_lost_until = 0.0
        self.fail_next = self.lose_next = False


@dataclass(slots=True)
class StoreFaults:
    """The faults of the store itself."""

    down_until: float = 0.0


class LinkListener(Protocol):
    """What a link reports to: the cluster."""

    def observe(self, link: Link, operation: str, effects: Iterable[Effect]) -> None:
        """An operation took effect, in this very step."""
        ...

    def at_point(self, link: Link, operation: str, nth: int, side: Side) -> Collection[Action]:
        """The faults of the plan at this code point."""
        ...


@dataclass(slots=True, eq=False)
class Link:
    """The connection of one process. `machine` is "w0"; `name` is the process: "w0", after a restart "w0#2"."""

    machine: str
    name: str
    loop: SimLoop
    listener: LinkListener
    latency: Latency
    faults: LinkFaults
    store: StoreFaults
    timeout: float
    calls: Counter[str]
    messages: int = 0
    waiting: set[SimTask[Any]] = field(default_factory=set[SimTask[Any]])

    async def call(
        self,
        operation: str,
        effect: Callable[[], Coroutine[Any, Any, T]],
        read: Callable[[T], Iterable[Effect]],
        *,
        term: Term | None = None,
        waits: bool = False,
    ) -> T:
        """Send one operation. `read` tells its effects from the answer. `term` is that of a fenced write."""
        self.calls[operation] += 1
        nth = self.calls[operation]
        if term is not None:
            self.listener.observe(self, operation, [Sent(term, operation)])
        await self._travel(self._delay())
        for action in self.listener.at_point(self, operation, nth, Side.BEFORE):
            await action()
        await self._pass_in()
        if waits:
            result = await self._inside_store(operation, effect, read)
        else:
            result = await effect()
            self.listener.observe(self, operation, read(result))
        arrives = self.loop.time() + self._delay()
        for action in self.listener.at_point(self, operation, nth, Side.AFTER):
            await action()
        await self._pass_out()
        # A reply that arrived while the machine stood still is received at once.
        await self._travel(arrives - self.loop.time())
        return result

    def close(self) -> None:
        """The process has ended: no operation that waits inside the store takes effect."""
        for task in self.waiting:
            task.cancel()

    def _delay(self) -> float:
        self.messages += 1
        # No two delays are equal, even in a calm run. Otherwise one of several machines would win every race.
        delay = self.latency.draw(self.loop) + self.latency.base * (self.messages * GOLDEN % 1.0)
        return delay + self.faults.slowness if self.loop.time() < self.faults.slow_until else delay

    async def _travel(self, delay: float) -> None:
        if delay > 0:  # without a delay nothing comes in between, as with a store in the same process
            await asyncio.sleep(delay)

    async def _pass_in(self) -> None:
        if self.loop.is_dead(self.name):
            raise BackendUnavailable("this node is dead")
        if self.loop.time() < self.faults.requests_lost_until:
            await asyncio.sleep(self.timeout)
            raise BackendUnavailable("the request was lost")
        if self.loop.time() < self.store.down_until:
            raise BackendUnavailable("connection refused")
        if self.faults.fail_next:
            self.faults.fail_next = False
            raise BackendUnavailable("error before any effect")

    async def _pass_out(self) -> None:
        now = self.loop.time()
        lost, self.faults.lose_next = self.faults.lose_next, False
        if lost or now < self.faults.replies_lost_until or now < self.store.down_until:
            await asyncio.sleep(self.timeout)
            raise BackendUnavailable("the reply was lost")

    async def _inside_store(
        self, operation: str, effect: Callable[[], Coroutine[Any, Any, T]], read: Callable[[T], Iterable[Effect]]
    ) -> T:
        async def serve() -> T:
            result = await effect()
            self.listener.observe(self, operation, read(result))
            return result

        served = self.loop.spawn(STORE, serve())
        self.waiting.add(served)
        served.add_done_callback(self.waiting.discard)
        try:
            return await asyncio.shield(served)
        except asyncio.CancelledError:
            served.cancel()
            raise
