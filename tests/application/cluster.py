"""The helpers of the tests of the services: a store, a clock that the test moves, and processes that use both."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TypeVar

from task_manager_core.application.declarations import Declarations
from task_manager_core.application.function import AnyFunction
from task_manager_core.application.node import Node
from task_manager_core.domain.duties import ALL_DUTIES, Duties
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.identity import FunctionKey, NodeId, TaskKey
from task_manager_core.domain.observation import LiveRun
from task_manager_core.domain.policy import (
    CatchUp,
    LeadershipPolicy,
    NodePolicy,
    Overlap,
    Priority,
    Retention,
    RetryPolicy,
    WorkerPolicy,
)
from task_manager_core.domain.run import AttemptStatus
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition, canonical_kwargs
from task_manager_core.ports import Backend, Clock
from task_manager_core.testing import ManualClock, Recorder
from task_manager_memory import MemoryStore

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
SOON = timedelta(seconds=10)
"""Longest real time that a test waits before it fails."""

POLICY = NodePolicy(
    leadership=LeadershipPolicy(heartbeat=3 * SECOND, retry_interval=5 * SECOND),
    worker=WorkerPolicy(concurrency=2, heartbeat=3 * SECOND, wait=timedelta(milliseconds=1)),
    refresh_interval=SECOND,
)
LOGGER = logging.getLogger("tests")
_ALWAYS = RetryPolicy()
_LATEST = CatchUp()
_MINUTELY = Schedule.every(MINUTE)

KEY = TaskKey("group", "task")
"""The task of these tests, unless they name another."""

P = TypeVar("P")


def nothing() -> None:
    """A task that does nothing."""


def a_task(
    name: str = "task",
    *,
    schedule: Schedule = _MINUTELY,
    kwargs: dict[str, object] | None = None,
    priority: Priority = Priority.LOW,
    overlap: Overlap = Overlap.ALLOW,
    catch_up: CatchUp = _LATEST,
    retry: RetryPolicy = _ALWAYS,
    timeout: timedelta | None = None,
    start_deadline: timedelta | None = None,
    expires: timedelta | None = None,
    max_instances: int | None = None,
    run_on_start: bool = False,
    dynamic: bool = False,
    function: str | None = None,
) -> TaskDefinition:
    return TaskDefinition(
        key=TaskKey("group", name),
        schedule=schedule,
        function=function or name,
        kwargs=canonical_kwargs(kwargs),
        priority=priority,
        overlap=overlap,
        catch_up=catch_up,
        retry=retry,
        timeout=timeout,
        start_deadline=start_deadline,
        expires=expires,
        max_instances=max_instances,
        run_on_start=run_on_start,
        dynamic=dynamic,
    )


class Trouble(Enum):
    """What happens to a request: it never arrives, or its reply is lost."""

    LOST_REQUEST = "lost request"
    LOST_REPLY = "lost reply"


Intervention = Callable[[], Awaitable[object]]


class Link:
    """The connection of one process to the store. A test plans what disturbs the next calls of a verb.

    `between(verb, intervention)`: the intervention happens after the store has answered and before the answer arrives.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._disturbances: dict[str, deque[Trouble | Intervention]] = defaultdict(deque)
        self._held: set[str] = set()
        self.away = False

    def trouble(self, verb: str, *troubles: Trouble) -> None:
        self._disturbances[verb] += troubles

    def between(self, verb: str, intervention: Intervention) -> None:
        self._disturbances[verb].append(intervention)

    def hold(self, *verbs: str) -> None:
        """From now on no call of these verbs gets an answer."""
        self._held.update(verbs)

    def through(self, port: P) -> P:
        """The same port, reached through this link."""
        return _LinkedPort(port, self)  # type: ignore[return-value]  # it has every verb of the port

    async def carry(self, verb: str, call: Callable[[], Awaitable[object]]) -> object:
        self.calls.append(verb)
        if verb in self._held:
            await asyncio.Event().wait()
        disturbance = self._disturbances[verb].popleft() if self._disturbances[verb] else None
        if self.away or disturbance is Trouble.LOST_REQUEST:
            raise BackendUnavailable("the request was lost")
        answer = await call()
        if disturbance is Trouble.LOST_REPLY:
            raise BackendUnavailable("the reply was lost")
        if disturbance is not None and not isinstance(disturbance, Trouble):
            await disturbance()
        return answer


class _LinkedPort:
    def __init__(self, port: object, link: Link) -> None:
        self._port, self._link = port, link

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object, **named: object) -> object:
            return await self._link.carry(verb, lambda: getattr(self._port, verb)(*arguments, **named))

        return call


class Process:
    """One process of an application: the declarations of its code, and its node with a link of its own."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        clock: Clock,
        policy: NodePolicy = POLICY,
        duties: Duties = ALL_DUTIES,
    ) -> None:
        self._clock = clock
        self.link = Link()
        self.declarations = Declarations()
        self.events = Recorder()
        through = self.link.through
        self.backend = replace(
            backend,
            leadership=through(backend.leadership),
            catalogue=through(backend.catalogue),
            dispatch=through(backend.dispatch),
            queue=through(backend.queue),
            history=through(backend.history),
            membership=through(backend.membership),
            notifier=through(backend.notifier),
        )
        self.id = NodeId(name)
        self.node = Node(
            node=self.id,
            service="tests",
            backend=self.backend,
            declarations=self.declarations,
            policy=policy,
            clock=clock,
            observer=self.events,
            logger=LOGGER,
            duties=duties,
        )

    def declares(self, task: TaskDefinition, call: AnyFunction = nothing) -> Process:
        self.declarations.declare(task, call)
        return self

    def knows(self, function: str, call: AnyFunction = nothing) -> Process:
        self.declarations.register(FunctionKey("group", function), call)
        return self

    async def lead(self) -> Process:
        """Register, and win the term."""
        await self.node.registrar.tick()
        return await self.ensure_leads()

    async def ensure_leads(self, after: timedelta = timedelta(0)) -> Process:
        """Let the time pass, with heartbeats. At the end this process leads, if necessary by winning a new term."""
        left = after
        while left > timedelta(0):
            step = min(left, POLICY.leadership.heartbeat)
            assert isinstance(self._clock, ManualClock)
            self._clock.advance(step)
            await self.node.elector.tick()
            left -= step
        for _ in range(3):  # the first tick may forget an old term, the second may win a new one
            await self.node.elector.tick()
        assert self.node.leads
        return self

    async def work(self) -> None:
        """Claim what is queued, wait until it has ended, and settle it."""
        await self.node.worker.claim()
        await self.ended()
        await self.node.worker.settle()

    async def ended(self) -> None:
        """Wait until nothing executes."""
        await self.node.worker.drain(asyncio.Event(), SOON)
        assert self.node.worker.running == 0


class Cluster:
    """One store, its clock, and the processes that a test creates. `backend` reaches the store without a link."""

    def __init__(self, backend: Backend, store: MemoryStore, clock: ManualClock) -> None:
        self.backend = backend
        self.store = store
        self.clock = clock

    def process(self, name: str = "a", policy: NodePolicy = POLICY, duties: Duties = ALL_DUTIES) -> Process:
        return Process(name, self.backend, self.clock, policy, duties)


@asynccontextmanager
async def open_cluster() -> AsyncGenerator[Cluster]:
    clock, store = ManualClock(NOON), MemoryStore()
    async with store.open(clock=clock, retention=Retention()) as backend:
        yield Cluster(backend, store, clock)


class Steps:
    """A task that waits until the test sets `door`. It counts how often it began and how often it was interrupted."""

    def __init__(self, *, swallow: bool = False, error: Exception | None = None) -> None:
        self.door = asyncio.Event()
        self.began = 0
        self.interrupted = 0
        self._swallow = swallow
        self._error = error

    async def __call__(self) -> None:
        self.began += 1
        try:
            await self.door.wait()
        except asyncio.CancelledError:
            self.interrupted += 1
            if self._error is not None:
                raise self._error from None
            if not self._swallow:
                raise


async def started(process: Process) -> None:
    """Claim, and let the attempts start their functions."""
    await process.node.worker.claim()
    await asyncio.sleep(0)


async def queued(
    cluster: Cluster,
    call: AnyFunction,
    task: TaskDefinition | None = None,
    *,
    runs: int = 1,
    policy: NodePolicy = POLICY,
) -> Process:
    """A process that declares a task and has triggered runs of it."""
    process = cluster.process(policy=policy).declares(task or a_task(), call)
    await process.node.registrar.tick()
    await asyncio.gather(*(process.node.control.trigger([KEY], f"request {number}") for number in range(runs)))
    return process


async def live(cluster: Cluster) -> list[LiveRun]:
    return list((await cluster.backend.history.snapshot([KEY])).tasks[0].live)


async def statuses(cluster: Cluster) -> list[AttemptStatus]:
    return [record.status for record in await cluster.backend.history.read(KEY, 2000)]


async def reap(cluster: Cluster) -> None:
    """Let the claims without a heartbeat expire, and let a leader reap them."""
    leader = await cluster.process("leader").lead()
    await leader.ensure_leads(after=POLICY.worker.claim_ttl)
    await leader.node.reconciler.tick()
