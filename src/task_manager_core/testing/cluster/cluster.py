"""The whole cluster: production nodes over one store, in virtual time, watched at every operation."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeVar

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.events import Event, TickFailed
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.policy import NodePolicy, Retention
from task_manager_core.ports import Backend, Observer, OpenBackend
from task_manager_core.testing.campaign.checkers import Checker, Violation
from task_manager_core.testing.campaign.coverage import Coverage
from task_manager_core.testing.campaign.model import ClusterModel, DeclaredByNode, ModelExecution, StoreModel
from task_manager_core.testing.cluster.clock import START, SimClock, StoreClock, local_clock
from task_manager_core.testing.cluster.effects import Effect
from task_manager_core.testing.cluster.link import Action, Latency, Link, LinkFaults, Side, StoreFaults
from task_manager_core.testing.cluster.ports import wrapped
from task_manager_core.testing.cluster.process import ENVIRONMENT
from task_manager_core.testing.cluster.run import sim_loop
from task_manager_core.testing.cluster.stores import CopyableStore
from task_manager_core.testing.cluster.timeline import Timeline

T = TypeVar("T")

CHANGE_OVER = 0.002
"""Seconds between two incarnations of a store: no failover fits into the millisecond that tokens are counted in."""

DEFAULT_POLICY = NodePolicy()
DEFAULT_RETENTION = Retention()
DEFAULT_LATENCY = Latency()

Declare = Callable[["SimCluster", str, Declarations], None]
"""Fills the registry of one life: (world, machine, registry). Called at every boot."""

Points = Callable[[Link, str, int, Side], Collection[Action]]
"""What a plan wants to happen at the n-th call of an operation by a machine, before or after its effect."""

_LOGGER = logging.getLogger("task_manager_core.testing.cluster.quiet")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


@dataclass(slots=True, eq=False)
class SimProcess:
    """One process from its boot to its end. `machine` is "w0", `name` is "w0", "w0#2", …"""

    machine: str
    name: str
    clock: SimClock
    link: Link
    node: Node
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class _Ear:
    """What a node's observer is."""

    world: SimCluster
    life: str

    def notice(self, event: Event) -> None:
        self.world.noticed(self.life, event)


class SimCluster:
    """A cluster of machines over one store. Made and used inside `run_simulation`:

        async def main() -> None:
            async with World(open_backend=MemoryStore().open, declare=declare) as world:
                for number in range(3):
                    world.boot(f"w{number}")
                await world.sleep(86_400)

        run_simulation(main, Decider(seed))

    `declare` fills the registry of every life; its functions take virtual time with `asyncio.sleep`. Every life gets
    its own clock, channel and registry, and shares the store, which is opened once. `store` can be copied, if there
    shall be wipes and older states. Checkers see every operation; without any the world is faster and keeps no ledger.
    `observer` hears the events of all nodes. The first violation ends the simulation with its timeline.
    """

    def __init__(
        self,
        *,
        open_backend: OpenBackend,
        declare: Declare,
        policy: NodePolicy | Callable[[str], NodePolicy] = DEFAULT_POLICY,
        retention: Retention = DEFAULT_RETENTION,
        start: datetime = START,
        checkers: Sequence[Checker] = (),
        observer: Observer | None = None,
        store: CopyableStore | None = None,
        latency: Latency = DEFAULT_LATENCY,
        timeout: float = 1.0,
        points: Points | None = None,
        keep_lines: int = 200,
    ) -> None:
        self.loop = sim_loop()
        self.store_clock = StoreClock(self.loop.time, start)
        self.processes: dict[str, SimProcess] = {}
        self.link_faults: dict[str, LinkFaults] = {}
        self.store_faults = StoreFaults()
        self.coverage = Coverage()
        self.timeline = Timeline(keep_lines)
        self.checkers = tuple(checkers)
        self.points = points
        self.ended: list[str] = []
        self._open_backend = open_backend
        self._declare = declare
        self._policy = policy
        self._retention = retention
        self._start = start
        self._observer = observer
        self._store = store
        self._latency = latency
        self._timeout = timeout
        self._calls: dict[str, Counter[str]] = {}
        self._births: Counter[str] = Counter()
        self._opened = AsyncExitStack()
        self._backend: Backend | None = None
        self.model = ClusterModel(claim_ttl=self.policy_of("w0").worker.claim_ttl)

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
        assert self._backend is not None, "the world is open inside `async with` only"
        return self._backend

    def policy_of(self, machine: str) -> NodePolicy:
        return self._policy if isinstance(self._policy, NodePolicy) else self._policy(machine)

    async def sleep(self, seconds: float) -> None:
        """Let the cluster live."""
        await asyncio.sleep(seconds)

    # -- machines ------------------------------------------------------------------------------------------------------

    def boot(self, machine: str) -> SimProcess:
        """Start the next life of a machine."""
        alive = self.processes.get(machine)
        assert alive is None or self.loop.is_dead(alive.name), f"{machine} is alive"
        self._births[machine] += 1
        births = self._births[machine]
        name = machine if births == 1 else f"{machine}#{births}"
        clock = SimClock(self.loop.time, self._start) if alive is None else alive.clock
        channel = Link(
            machine=machine,
            name=name,
            loop=self.loop,
            watcher=self,
            latency=self._latency,
            faults=self.link_faults.setdefault(machine, LinkFaults()),
            store=self.store_faults,
            timeout=self._timeout,
            calls=self._calls.setdefault(machine, Counter()),
        )
        registry = Declarations()
        self._declare(self, machine, registry)
        node = Node(
            node=NodeId(name),
            service="simulated",
            backend=wrapped(self.backend, channel),
            declarations=registry,
            policy=self.policy_of(machine),
            clock=clock,
            observer=_Ear(self, name),
            logger=_LOGGER,
        )
        self.model.known[node.id] = DeclaredByNode(tasks=frozenset(registry.declared), functions=registry.functions)
        life = self.processes[machine] = SimProcess(machine=machine, name=name, clock=clock, link=channel, node=node)
        self.loop.spawn(name, _started(node, clock))
        self.tell(name, "boots")
        return life

    def process(self, machine: str) -> SimProcess | None:
        """The present life of a machine, None if it is dead."""
        life = self.processes.get(machine)
        return None if life is None or self.loop.is_dead(life.name) else life

    def alive(self) -> list[SimProcess]:
        return [life for life in self.processes.values() if not self.loop.is_dead(life.name)]

    def kill(self, machine: str, restart_after: float | None = None) -> None:
        """Kill -9, and boot again later if asked."""
        life = self.process(machine)
        if life is None:
            return
        self.tell(life.name, "is killed")
        self._bury(life)
        if restart_after is not None:
            self.later(restart_after, lambda: self._reboot(machine))

    def _bury(self, life: SimProcess) -> None:
        self.loop.kill(life.name)
        life.link.close()
        for execution in self.model.executions.values():
            if execution.node == life.name and execution.ended is None:
                execution.ended = "died"

    def _reboot(self, machine: str) -> None:
        if self.process(machine) is None:
            self.boot(machine)

    def pause(self, machine: str, seconds: float) -> None:
        """Let a machine stand still for a while."""
        life = self.process(machine)
        if life is None or self.loop.is_paused(life.name):
            return
        self.tell(life.name, f"stands still for {seconds:g} s")
        self.loop.pause(life.name)
        self.later(seconds, lambda: self.loop.resume(life.name))

    def stop(self, machine: str, restart_after: float | None = None) -> None:
        """Ask a machine to leave in order, and boot again later if asked."""
        life = self.process(machine)
        if life is None or life.stopping:
            return
        life.stopping = True
        self.tell(life.name, "is asked to stop")

        async def leave() -> None:
            await life.node.stop()
            self.later(0.0, gone)

        def gone() -> None:
            if self.process(machine) is not life:
                return
            self.tell(life.name, "has left")
            self._bury(life)
            if restart_after is not None:
                self.later(restart_after, lambda: self._reboot(machine))

        self.loop.spawn(life.name, leave())

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Do something from outside all machines."""

        async def act() -> None:
            await asyncio.sleep(seconds)
            action()

        self.loop.spawn(ENVIRONMENT, act())

    async def on(self, machine: str, work: Callable[[Node], Coroutine[Any, Any, T]], within: float = 5.0) -> T | None:
        """Run something on a machine, as a request that it serves; None if it is dead or does not answer in time."""
        life = self.process(machine)
        if life is None:
            return None
        served = self.loop.spawn(life.name, work(life.node))
        await asyncio.wait({served}, timeout=within)
        return served.result() if served.done() and not served.cancelled() else None

    # -- the store -----------------------------------------------------------------------------------------------------

    def store_down(self, seconds: float) -> None:
        self.tell("store", f"is down for {seconds:g} s")
        self.store_faults.down_until = max(self.store_faults.down_until, self.time + seconds)

    def look_at_the_clock(self) -> None:
        """What is judged next happens now."""
        self.model.store.at, self.model.store.clock = self.store_clock.steady(), self.store_clock.now()

    def copy_store(self) -> tuple[object, StoreModel]:
        """The state of the store and of the books."""
        assert self._store is not None, "this world's store cannot be copied"
        return self._store.copy_state(), self.model.store.copy()

    def restore_store(self, copy: tuple[object, StoreModel] | None) -> None:
        """Set the store back, as a failover that lost writes does; None wipes it."""
        assert self._store is not None, "this world's store cannot be restored"
        self.tell("store", "is wiped" if copy is None else "is set back to an older state")
        self._store.restore_state(None if copy is None else copy[0])
        self.store_faults.down_until = max(self.store_faults.down_until, self.time + CHANGE_OVER)
        self.model.begin_again(None if copy is None else copy[1])

    # -- watching ------------------------------------------------------------------------------------------------------

    def tell(self, node: str, what: object) -> None:
        self.timeline.add(self.time, node, what)

    def fail(self, violation: Violation) -> None:
        """The first violation ends the simulation, whatever the code that met it does with the exception."""
        violation.add_note("\n".join(self.timeline.lines()))
        self.loop.fail(violation)

    def observe(self, channel: Link, operation: str, facts: Iterable[Effect]) -> None:
        if not self.checkers:
            return
        ledger = self.model
        ledger.node, news = channel.name, False
        self.look_at_the_clock()
        try:
            for fact in facts:
                self.tell(channel.name, fact)
                for checker in self.checkers:
                    checker.judge(fact, ledger)
                fact.enter(ledger.store)
                self.coverage.fact(fact)
                news = True
            if news and not any(standing.returns(ledger.at) for standing in ledger.store.standings()):
                # Looking would move a run whose instant has come, and hide that nobody else does.
                self._compare()
        except Violation as violation:
            self.fail(violation)
            raise
        self.coverage.note(f"operation: {operation}")

    def _compare(self) -> None:
        snapshot = _at_once(self.backend.history.snapshot())
        for checker in self.checkers:
            checker.compare(snapshot, self.model)

    def at_point(self, channel: Link, operation: str, nth: int, side: Side) -> Collection[Action]:
        return () if self.points is None else self.points(channel, operation, nth, side)

    def noticed(self, life: str, event: Event) -> None:
        """A node's observer."""
        if self._observer is not None:
            self._observer.notice(event)
        if not self.checkers:
            return
        self.look_at_the_clock()
        try:
            if isinstance(event, TickFailed):
                self.tell(life, f"{event.service} failed: {event.error}")
                if not isinstance(event.error, (BackendError, TimeoutError)):
                    raise Violation("code", f"{event.service} of {life} raised {event.error!r}")
            for checker in self.checkers:
                checker.noticed(event, self.model)
        except Violation as violation:
            self.fail(violation)
            raise

    # -- what executes -------------------------------------------------------------------------------------------------

    def begin(self, machine: str, context: RunContext, *, exclusive: bool) -> ModelExecution:
        """A function of the user is called: for the functions that `declare` declares. Set `ended` when it ends."""
        execution = ModelExecution(
            node=context.worker.value,
            task=context.task,
            run=context.run_id,
            attempt=context.attempt,
            token=context.fencing_token,
            exclusive=exclusive,
        )
        self.tell(machine, f"executes {context.task} {context.slot} attempt {context.attempt}")
        self.look_at_the_clock()
        try:
            for checker in self.checkers:
                checker.begun(execution, self.model)
        except Violation as violation:
            self.fail(violation)
            raise
        key = (context.run_id, context.fencing_token, context.worker.value)
        self.model.executions[key] = execution
        self.model.begun.add(key)
        return execution


async def _started(node: Node, clock: SimClock) -> None:
    local_clock.set(clock)
    node.start()


def _at_once(reading: Coroutine[Any, Any, Snapshot]) -> Snapshot:
    """The answer of a verb that does not wait."""
    try:
        reading.send(None)
    except StopIteration as stop:
        answer = stop.value
        assert isinstance(answer, Snapshot)
        return answer
    reading.close()
    raise TypeError("a simulated store must answer in one step")
