"""A whole cluster: production nodes over one store, in virtual time. A watcher sees every operation."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeVar

from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.duties import ALL_DUTIES, Duties
from task_manager_core.domain.events import Event
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import NodePolicy, Retention
from task_manager_core.ports import Backend, Observer, OpenBackend
from task_manager_core.testing.cluster.clock import START, SimClock, StoreClock, local_clock
from task_manager_core.testing.cluster.effects import Effect
from task_manager_core.testing.cluster.link import Action, Latency, Link, LinkFaults, Side, StoreFaults
from task_manager_core.testing.cluster.ports import linked
from task_manager_core.testing.cluster.process import ENVIRONMENT
from task_manager_core.testing.cluster.run import sim_loop
from task_manager_core.testing.cluster.stores import CopyableStore
from task_manager_core.testing.cluster.watcher import NullWatcher, Watcher

T = TypeVar("T")

FAILOVER_SECONDS = 0.002
"""How long a store is away between two incarnations. Tokens count milliseconds: a failover within one is impossible."""

DEFAULT_POLICY = NodePolicy()
DEFAULT_RETENTION = Retention()
DEFAULT_LATENCY = Latency()

Declare = Callable[["SimCluster", str, Declarations], None]
"""Fills the declarations of one process: (cluster, machine, declarations). Called at every boot."""

Points = Callable[[Link, str, int, Side], Collection[Action]]
"""The faults of a plan at the n-th call of an operation by a machine, before or after its effect."""

_LOGGER = logging.getLogger("task_manager_core.testing.cluster.quiet")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


@dataclass(slots=True, eq=False)
class SimProcess:
    """One process, from its boot to its end. `machine` is "w0"; `name` is "w0", after a restart "w0#2"."""

    machine: str
    name: str
    clock: SimClock
    link: Link
    node: Node
    stopping: bool = False
    paused: bool = False
    keeper: str | None = None
    """The loop node of its keeper, while its event loop is blocked."""


@dataclass(frozen=True, slots=True)
class StoreCopy:
    """The state of a store, and what the watcher knew of it."""

    state: object
    watched: object


@dataclass(frozen=True, slots=True)
class _NodeObserver:
    """The observer of one node. `own` is the observer that only this process has."""

    cluster: SimCluster
    process: str
    own: Observer | None

    def notice(self, event: Event) -> None:
        self.cluster.notice(self.process, event)
        if self.own is not None:
            self.own.notice(event)


class SimCluster:
    """A cluster of machines over one store. Made and used inside `run_simulation`:

        async def main() -> None:
            async with SimCluster(open_backend=MemoryStore().open, declare=declare) as cluster:
                for number in range(3):
                    cluster.boot(f"w{number}")
                await cluster.sleep(86_400)

        run_simulation(main, Decider(seed))

    `declare` fills the declarations of every process. Its functions take virtual time with `asyncio.sleep`. Every
    process has its own link and declarations, every machine its own clock. All share the store, which is opened once.
    `store` must be given if the plan wipes it or sets it back. `watcher` sees every operation; `observer` gets the
    events of all nodes; `make_observer` makes an observer for each process, which gets its events and dies with it.
    """

    def __init__(
        self,
        *,
        open_backend: OpenBackend,
        declare: Declare,
        policy: CurrentNodePolicy = DEFAULT_POLICY,
        retention: Retention = DEFAULT_RETENTION,
        start: datetime = START,
        watcher: Watcher | None = None,
        observer: Observer | None = None,
        make_observer: Callable[[], Observer | None] | None = None,
        store: CopyableStore | None = None,
        latency: Latency = DEFAULT_LATENCY,
        timeout: float = 1.0,
        points: Points | None = None,
        duties: Callable[[str], Duties] = lambda _machine: ALL_DUTIES,
    ) -> None:
        self.loop = sim_loop()
        self.store_clock = StoreClock(self.loop.time, start)
        self.processes: dict[str, SimProcess] = {}
        """The latest process of each machine."""
        self.link_faults: dict[str, LinkFaults] = {}
        self.store_faults = StoreFaults()
        self.points = points
        self.policy = policy
        self.watcher: Watcher = NullWatcher() if watcher is None else watcher
        self._duties = duties
        self._open_backend = open_backend
        self._declare = declare
        self._retention = retention
        self._start = start
        self._observer = observer
        self._make_observer = make_observer
        self._store = store
        self._latency = latency
        self._timeout = timeout
        self._calls: dict[str, Counter[str]] = {}
        self._boots: Counter[str] = Counter()
        self._blocks = 0
        self._opened = AsyncExitStack()
        self._backend: Backend | None = None
        self.watcher.attach(self)

    async def __aenter__(self) -> Self:
        opening = self._open_backend(clock=self.store_clock, retention=self._retention)
        self._backend = await self._opened.enter_async_context(opening)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._opened.aclose()

    @property
    def time(self) -> float:
        """Virtual seconds since the simulation began."""
        return self.loop.time()

    @property
    def backend(self) -> Backend:
        """The store itself, without a network."""
        assert self._backend is not None, "the cluster is open inside `async with` only"
        return self._backend

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)

    # -- machines ------------------------------------------------------------------------------------------------------

    def boot(self, machine: str) -> SimProcess:
        """Start the next process of a machine."""
        last = self.processes.get(machine)
        assert last is None or self.loop.is_dead(last.name), f"{machine} is alive"
        self._boots[machine] += 1
        boots = self._boots[machine]
        name = machine if boots == 1 else f"{machine}#{boots}"
        clock = SimClock(self.loop.time, self._start) if last is None else last.clock
        link = Link(
            machine=machine,
            name=name,
            loop=self.loop,
            listener=self,
            latency=self._latency,
            faults=self.link_faults.setdefault(machine, LinkFaults()),
            store=self.store_faults,
            timeout=self._timeout,
            calls=self._calls.setdefault(machine, Counter()),
        )
        declarations = Declarations()
        self._declare(self, machine, declarations)
        node = Node(
            node=NodeId(name),
            service="simulated",
            backend=linked(self.backend, link),
            declarations=declarations,
            policy=self.policy,
            clock=clock,
            observer=_NodeObserver(self, name, None if self._make_observer is None else self._make_observer()),
            logger=_LOGGER,
            reopen=lambda: nullcontext(linked(self.backend, link)),
            duties=self._duties(machine),
        )
        process = SimProcess(machine=machine, name=name, clock=clock, link=link, node=node)
        self.processes[machine] = process
        self.loop.spawn(name, _start(node, clock))
        self.watcher.booted(machine, node, declarations)
        return process

    def process(self, machine: str) -> SimProcess | None:
        """The live process of a machine; None if it has none."""
        process = self.processes.get(machine)
        return None if process is None or self.loop.is_dead(process.name) else process

    def alive(self) -> list[SimProcess]:
        return [process for process in self.processes.values() if not self.loop.is_dead(process.name)]

    def kill(self, machine: str, restart_after: float | None = None) -> None:
        """Kill -9; then boot again, if asked."""
        process = self.process(machine)
        if process is None:
            return
        self.watcher.note(process.name, "is killed")
        self._end(process)
        if restart_after is not None:
            self.later(restart_after, lambda: self._reboot(machine))

    def _end(self, process: SimProcess) -> None:
        self.loop.kill(process.name)
        if process.keeper is not None:
            self.loop.kill(process.keeper)
        process.link.close()
        self.watcher.ended(process.name)

    def _reboot(self, machine: str) -> None:
        if self.process(machine) is None:
            self.boot(machine)

    def pause(self, machine: str, seconds: float) -> None:
        """Let the process of a machine stand still for a while."""
        process = self.process(machine)
        if process is None or process.paused:
            return
        self.watcher.note(process.name, f"stands still for {seconds:g} s")
        process.paused = True
        for name in (process.name, process.keeper):
            if name is not None:
                self.loop.pause(name)
        self.later(seconds, lambda: self._continue(process))

    def _continue(self, process: SimProcess) -> None:
        """The process goes on. If its event loop is blocked, only its keeper does."""
        process.paused = False
        self.loop.resume(process.name if process.keeper is None else process.keeper)

    def block(self, machine: str, seconds: float) -> None:
        """Let a function of the process block its event loop for a while. The keeper of the process goes on."""
        process = self.process(machine)
        if process is None or process.paused or process.keeper is not None:
            return
        self.watcher.blocked(process.name, seconds)
        self._blocks += 1
        process.keeper = f"{process.name} keeper {self._blocks}"
        self.loop.pause(process.name)
        self.loop.spawn(process.keeper, _keep(process))
        self.later(seconds, lambda: self._unblock(process))

    def _unblock(self, process: SimProcess) -> None:
        if process.keeper is None or self.loop.is_dead(process.name):
            return
        self.watcher.unblocked(process.name)
        self.loop.kill(process.keeper)
        process.keeper = None
        if not process.paused:
            self.loop.resume(process.name)

    def resume(self, machine: str) -> None:
        """End the pause and the block of the process of a machine, if it has one."""
        process = self.process(machine)
        if process is not None:
            self._unblock(process)
            self._continue(process)

    def stop(self, machine: str, restart_after: float | None = None) -> None:
        """Stop the node of a machine gracefully; boot again after it has stopped, if asked."""
        process = self.process(machine)
        if process is None or process.stopping:
            return
        process.stopping = True
        self.watcher.note(process.name, "is asked to stop")

        async def stop_node() -> None:
            await process.node.stop()
            self.later(0.0, stopped)

        def stopped() -> None:
            if self.process(machine) is not process:
                return
            self.watcher.note(process.name, "has stopped")
            self._end(process)
            if restart_after is not None:
                self.later(restart_after, lambda: self._reboot(machine))

        self.loop.spawn(process.name, stop_node())

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something from outside all machines."""

        async def act() -> None:
            await asyncio.sleep(seconds)
            action()

        self.loop.spawn(ENVIRONMENT, act())

    async def on(self, machine: str, work: Callable[[Node], Coroutine[Any, Any, T]], within: float = 5.0) -> T | None:
        """Run something on a machine, like a request that it serves. None if it is dead or does not answer in time."""
        process = self.process(machine)
        if process is None:
            return None
        served = self.loop.spawn(process.name, work(process.node))
        await asyncio.wait({served}, timeout=within)
        return served.result() if served.done() and not served.cancelled() else None

    # -- the store -----------------------------------------------------------------------------------------------------

    def store_down(self, seconds: float) -> None:
        """Let the store refuse every operation for a while."""
        self.watcher.note("store", f"is down for {seconds:g} s")
        self.store_faults.down_until = max(self.store_faults.down_until, self.time + seconds)

    def copy_store(self) -> StoreCopy:
        """The present state of the store."""
        assert self._store is not None, "the store of this cluster cannot be copied"
        return StoreCopy(self._store.copy_state(), self.watcher.copy())

    def restore_store(self, copy: StoreCopy | None) -> None:
        """Set the store back, as a failover that lost writes does. None wipes it."""
        assert self._store is not None, "the store of this cluster cannot be restored"
        self.watcher.note("store", "is wiped" if copy is None else "is set back to an older state")
        self._store.restore_state(None if copy is None else copy.state)
        self.store_faults.down_until = max(self.store_faults.down_until, self.time + FAILOVER_SECONDS)
        self.watcher.restore(None if copy is None else copy.watched)

    # -- what links and nodes report -----------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """End the simulation with this error after the current step. The first error wins."""
        self.loop.fail(error)

    def observe(self, link: Link, operation: str, effects: Iterable[Effect]) -> None:
        self.watcher.observe(link.name, operation, effects)

    def at_point(self, link: Link, operation: str, nth: int, side: Side) -> Collection[Action]:
        return () if self.points is None else self.points(link, operation, nth, side)

    def notice(self, process: str, event: Event) -> None:
        if self._observer is not None:
            self._observer.notice(event)
        self.watcher.notice(process, event)


async def _start(node: Node, clock: SimClock) -> None:
    local_clock.set(clock)
    node.keeper.attach()
    node.start()


async def _keep(process: SimProcess) -> None:
    local_clock.set(process.clock)
    await process.node.keeper.watch()
