"""One process: elector, scheduler, worker, reconciler and registrar on one store, started and stopped in order."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar

from task_manager_core.application.claim_scope import ClaimScope
from task_manager_core.application.control import Control
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.definitions import Definitions
from task_manager_core.application.elector import Elector
from task_manager_core.application.executor import Around, Executor
from task_manager_core.application.keeper import Keeper
from task_manager_core.application.loop import Loop, Tick, once
from task_manager_core.application.overruns import Overruns
from task_manager_core.application.processes import ProcessPool
from task_manager_core.application.reconciler import RECOVERY, Reconciler
from task_manager_core.application.registrar import Registrar
from task_manager_core.application.result import ToJson, plain_json
from task_manager_core.application.scheduler import Scheduler
from task_manager_core.application.worker import Worker
from task_manager_core.domain.current_policy import CurrentNodePolicy
from task_manager_core.domain.duties import ALL_DUTIES, Duties, Role
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import ValueSetAside
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.run import Claim
from task_manager_core.ports import Backend, Clock, Observer, ReopenBackend

FAILING = 3
"""A service is failing after so many failed passes in a row: one or two may be a short outage of the store."""

SERVICES_OF_ROLE: dict[Role, tuple[str, ...]] = {
    Role.SCHEDULE: ("elector", "scheduler", "reconciler"),
    Role.EXECUTE: ("claims", "settlements", "heartbeat"),
}
"""The services of each role. The other services run in every process."""

LEAVING_AT_ONCE = ("scheduler", "reconciler", "elector", "claims")
"""The services that begin nothing more once the process is going to end."""

FIRST_WAIT = timedelta(seconds=1)
"""The first wait for notifications after a failed one."""

STOP_STEP_SECONDS = 5.0
"""How long one step of the stop waits for the store."""

COURTESY_SECONDS = 1.0
"""The same for the last step: a presence that the node does not remove ends by itself."""


class Node:
    """Law of the stop: resign first, claim no more, let running tasks end within the timeout, release the rest.

    `leave` resigns and stops claiming, as soon as the process learns that it is going to end. `stop` does the rest.
    Between the two the node keeps its claims and settles them, also if `stop` is called much later.
    """

    services: ClassVar[Collection[str] | None] = None
    """The services that run; None: those of its duties. A node with services of its own has no other node beside it: it
    has all duties."""

    def __init__(
        self,
        *,
        node: NodeId,
        service: str,
        backend: Backend,
        declarations: Declarations,
        policy: CurrentNodePolicy,
        clock: Clock,
        observer: Observer,
        logger: logging.Logger,
        to_json: ToJson = plain_json,
        state: object = None,
        reopen: ReopenBackend | None = None,
        processes: ProcessPool | None = None,
        duties: Duties = ALL_DUTIES,
        around: Around | None = None,
        keep_lines: bool = False,
    ) -> None:
        self.id = node
        self.duties = duties = duties if self.services is None else ALL_DUTIES
        self._backend = backend
        self._declarations = declarations
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self.definitions = Definitions()
        self.elector = Elector(
            node=node,
            leadership=backend.leadership,
            policy=policy,
            clock=clock,
            observer=observer,
        )
        self.scheduler = Scheduler(
            node=node,
            dispatch=backend.dispatch,
            elector=self.elector,
            definitions=self.definitions,
            policy=policy,
            clock=clock,
            observer=observer,
        )
        self.claim_scope = ClaimScope(duties, declarations, self.definitions, clock)
        self.worker = Worker(
            node=node,
            queue=backend.queue,
            history=backend.history,
            declarations=declarations,
            policy=policy.worker,
            batches=policy.batches,
            clock=clock,
            observer=observer,
            logger=logger,
            executor=Executor(
                clock,
                Overruns(node=node, policy=policy.worker, observer=observer),
                to_json,
                processes,
                around,
                keep_lines=keep_lines,
            ),
            state=state,
            scope=self.claim_scope if self.services is None else None,
        )
        self.keeper = Keeper(
            node=node,
            worker=self.worker,
            backend=backend,
            reopen=reopen if backend.capabilities.durable else None,
            presence=lambda: self.registrar.announced,
            policy=policy,
            clock=clock,
            observer=observer,
        )
        self.reconciler = Reconciler(
            node=node,
            backend=backend,
            elector=self.elector,
            definitions=self.definitions,
            policy=policy,
            observer=observer,
        )
        self.registrar = Registrar(
            node=node,
            service=service,
            backend=backend,
            declarations=declarations,
            definitions=self.definitions,
            policy=policy,
            clock=clock,
            observer=observer,
            duties=duties,
        )
        self.control = Control(
            backend=backend, declarations=declarations, definitions=self.definitions, registrar=self.registrar
        )
        self.ready = asyncio.Event()
        self._force_stopped = asyncio.Event()
        self._loops = self._wired()
        self._on_change: Callable[[], None] | None = None
        self._leaving: asyncio.Task[None] | None = None

    def _wired(self) -> dict[str, Loop]:
        """The loops, and the events that wake them."""
        heartbeat = self._policy.leadership.heartbeat.total_seconds()
        # After an outage of the store a leader asks again within the grace: no follower deposes it for the outage.
        half_grace = self._policy.grace.total_seconds() / 2
        loops = {
            "registrar": self._loop("registrar", self._register),
            "elector": self._loop("elector", self.elector.tick, patience=min(heartbeat / 3, half_grace)),
            "scheduler": self._loop("scheduler", self.scheduler.tick, patience=min(1.0, half_grace)),
            "reconciler": self._loop("reconciler", self.reconciler.tick),
            "claims": self._loop("claims", self.worker.claim, patience=2.0),
            "settlements": self._loop("settlements", self.worker.settle, patience=1.0),
            "heartbeat": self._loop(
                "heartbeat", self.worker.beat, patience=self._policy.worker.heartbeat.total_seconds() / 3
            ),
            "signals": self._loop("signals", self._watch),
        }

        def won() -> None:
            loops["scheduler"].wake()
            asyncio.get_running_loop().call_later(RECOVERY.total_seconds(), loops["reconciler"].wake)

        self.elector.on_won = won
        self.elector.on_other_leader = self.definitions.follow_other_leader
        self.scheduler.on_unknown = loops["registrar"].wake
        self.registrar.on_change = loops["scheduler"].wake
        self.registrar.overran = self.worker.overruns.announced
        self.worker.overruns.on_change = loops["registrar"].wake
        for loop in loops.values():  # After an outage the store may hold an older state, with earlier next slots.
            loop.on_recovered = loops["scheduler"].wake
        self.worker.on_free = loops["claims"].wake
        self.worker.on_finished = loops["settlements"].wake
        return loops

    def _loop(self, name: str, tick: Tick, patience: float = 5.0) -> Loop:
        async def accusing_nobody() -> float | None:
            try:
                return await tick()
            except BackendUnavailable:
                self.elector.drop_suspicion()
                raise

        return Loop(name, accusing_nobody, node=self.id, observer=self._observer, patience=patience)

    async def _register(self) -> float | None:
        try:
            seconds = await self.registrar.tick()
        finally:
            for error in self._backend.unreadable():
                self._observer.notice(ValueSetAside(node=self.id, error=error))
        self.ready.set()
        return seconds

    async def _watch(self) -> float | None:
        began, wait = self._clock.monotonic(), self._policy.notifier_wait
        if self._loops["signals"].failures:
            wait = min(wait, FIRST_WAIT)  # The service counts as failing until a wait has ended well.
        await self._backend.notifier.wait(wait)
        if self._clock.monotonic() - began < wait.total_seconds():
            # The wait ended with a notification. Without one each service waits for its own interval.
            self.elector.doubt()
            for name in ("elector", "heartbeat", "registrar"):
                self._loops[name].wake()
        return 0.0

    @property
    def alive(self) -> bool:
        """Do all services run?"""
        return all(loop.alive for loop in self._running_loops())

    @property
    def failing(self) -> tuple[str, ...]:
        """The services whose last passes all failed."""
        return tuple(name for name, loop in self._loops.items() if loop.failures >= FAILING)

    @property
    def leads(self) -> bool:
        return self.elector.trusted() is not None

    def start(self) -> None:
        """Start the loops. From now on a change of the declarations, in any thread, wakes the registrar and the
        claims."""
        loops = self._loops["registrar"], self._loops["claims"]
        self._on_change = functools.partial(_wake, loops, asyncio.get_running_loop())
        self._declarations.on_change = self._on_change
        for loop in self._running_loops():
            loop.start()

    def _running_loops(self) -> list[Loop]:
        left_out = {name for role in Role if role not in self.duties.roles for name in SERVICES_OF_ROLE[role]}
        chosen = self._loops if self.services is None else self.services
        return [loop for name, loop in self._loops.items() if name in chosen and name not in left_out]

    def force_stop(self) -> None:
        """Interrupt at once what still executes. The stop then releases it."""
        self._force_stopped.set()
        self.worker.interrupt_all()

    @property
    def leaving(self) -> bool:
        """Has `leave` been called: is the process going to end?"""
        return self._leaving is not None

    def leave(self) -> None:
        """Resign and claim no more. What executes goes on. May be called repeatedly."""
        if self._leaving is None:
            self.worker.accepting = False
            for name in LEAVING_AT_ONCE:
                self._loops[name].close()
            self._leaving = asyncio.get_running_loop().create_task(self._leave(), name=f"leave of {self.id}")

    async def _leave(self) -> None:
        claiming = asyncio.ensure_future(
            self._loops["claims"].finish(within=self._policy.worker.wait.total_seconds() + 1.0)
        )
        for name in ("scheduler", "reconciler", "elector"):
            await self._loops[name].finish(within=1.0)
        await self._step("resign", self.elector.resign())
        await claiming

    async def drain(self, within: timedelta) -> tuple[Claim, ...]:
        """Leave, and wait until nothing executes and all outcomes are written, at most for so long. Returns the claims
        whose attempts still execute. The node keeps them until `stop`."""
        self.leave()
        assert self._leaving is not None
        ends = self._clock.monotonic() + within.total_seconds()
        await asyncio.wait({self._leaving})  # Its steps are bounded. The last claim may begin more attempts.
        await self.worker.drain(self._force_stopped, timedelta(seconds=max(ends - self._clock.monotonic(), 0.0)))
        await self.worker.settled(max(ends - self._clock.monotonic(), 0.0))
        return tuple(attempt.claim for attempt in self.worker.attempts)

    async def stop(self) -> None:
        """Stop in order. If the store refuses a step, the observer is notified, and the claims end by themselves."""
        self.leave()
        await self.worker.drain(self._force_stopped, self._policy.shutdown_timeout)
        assert self._leaving is not None
        await asyncio.wait({self._leaving})
        await self._step("release", self.worker.release_running())
        for name in ("settlements", "heartbeat", "signals", "registrar"):
            await self._loops[name].finish(within=0.1)
        await self._step("flush", self.worker.flush())
        await self._step("depart", self._backend.membership.depart(self.id), within=COURTESY_SECONDS)
        if self._declarations.on_change is self._on_change:
            self._declarations.on_change = _nothing

    async def _step(self, name: str, step: Awaitable[None], within: float | None = None) -> None:
        """One step of the stop. Its time is bounded: a store that is away must not keep the process from ending."""
        within = STOP_STEP_SECONDS if within is None else within
        await once(name, step, node=self.id, observer=self._observer, within=within)


def _wake(loops: Collection[Loop], event_loop: asyncio.AbstractEventLoop) -> None:
    """Wake loops from any thread."""
    with suppress(RuntimeError):  # The event loop is closed: the node ended without a stop.
        for loop in loops:
            event_loop.call_soon_threadsafe(loop.wake)


def _nothing() -> None:
    """No node runs. The next one reads the declarations when it starts."""
