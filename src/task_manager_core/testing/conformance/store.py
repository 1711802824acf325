"""The store under test, with short methods for the steps of many tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import HeldByOther, Term
from task_manager_core.domain.observation import LiveRun, Presence, Snapshot, TaskView
from task_manager_core.domain.planning import DueTask, Skipped, SlotDecision
from task_manager_core.domain.run import AttemptRecord, Claim, Outcome, Run, RunState, Succeeded
from task_manager_core.domain.scope import EVERYTHING as EVERYTHING_IN_SCOPE
from task_manager_core.domain.scope import Scope
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import REQUEST_MEMORY, Backend, Enqueued
from task_manager_core.testing.conformance.factories import (
    DAY,
    HOUR,
    LEADER,
    NOTHING,
    SECOND,
    WORKER,
    definition,
    settlement,
)
from task_manager_core.testing.conformance.harness import Harness

SLACK = 5 * SECOND
"""The longest time by which a store whose time runs by itself may be ahead of a test."""

EVERYTHING = 1_000_000

INTERLEAVINGS = 1
"""The number of instants, during a verb that a server executes, at which the tests start another verb."""

_MAX_TURNS = 3

_SUCCESS = Succeeded()
_PROBE = NodeId("probe")
_PORT = TypeVar("_PORT")
_FIRST_RESULT = TypeVar("_FIRST_RESULT")
_RESULT = TypeVar("_RESULT")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOffset:
    """When a second verb starts, counted from the start of the first verb.

    `turns` counts turns of the event loop: a verb of a store in this process can be interrupted only between turns.
    `part` is a part of the time that the first verb took last: a verb of a server may be anywhere in its execution.
    """

    turns: int = 0
    part: float = 0.0

    def __str__(self) -> str:
        return f"{self.part:.0%} on its way" if self.part else f"{self.turns} turns later"


@dataclass(frozen=True, slots=True)
class StoreState:
    """The whole state of a store without its time. If two states are equal, nothing has changed."""

    term: Term | None
    tasks: tuple[TaskView, ...]
    nodes: tuple[Presence, ...]
    queued: int
    records: dict[TaskKey, tuple[AttemptRecord, ...]]
    skips: dict[TaskKey, tuple[Skipped, ...]]


class Store:
    """A harness with short methods. Its attributes `leadership`, `queue` and so on are the ports of the store."""

    def __init__(self, harness: Harness, interleavings: int = INTERLEAVINGS) -> None:
        self._harness = harness
        self._interleavings = interleavings
        self._first_seconds = 0.0
        self._first_done = False
        self.patience = harness.patience
        self.retained, self.kept_for = harness.retention.runs, harness.retention.ttl
        self._bind_ports(harness.backend)

    def _bind_ports(self, backend: Backend) -> None:
        self.leadership = _with_deadline("leadership", backend.leadership, self.patience)
        self.catalogue = _with_deadline("catalogue", backend.catalogue, self.patience)
        self.dispatch = _with_deadline("dispatch", backend.dispatch, self.patience)
        self.queue = _with_deadline("queue", backend.queue, self.patience)
        self.history = _with_deadline("history", backend.history, self.patience)
        self.membership = _with_deadline("membership", backend.membership, self.patience)
        self.notifier = _with_deadline("notifier", backend.notifier, self.patience)

    # -- time ---------------------------------------------------------------------------------------------------------

    async def now(self) -> datetime:
        return (await self.dispatch.agenda(1)).now

    async def advance(self, delta: timedelta) -> None:
        await _answer_in_time("harness.advance", self._harness.advance(delta), self.patience)

    @property
    def settable(self) -> bool:
        """True if the clock of this store can be set back."""
        return self._harness.set_back is not None

    async def set_back(self, delta: timedelta) -> None:
        """Set the clock of the store back.

        A store notices that by the times of its verbs. The test therefore calls a verb before and afterwards: a verb of
        leadership, because authors write that port first.
        """
        if self._harness.set_back is None:
            pytest.skip("this harness cannot set the clock of its store back")
        await self.leader()
        await _answer_in_time("harness.set_back", self._harness.set_back(delta), self.patience)
        await self.leader()

    async def slot(self, offset: timedelta = NOTHING) -> datetime:
        """The store's time, cut to a whole second, plus the offset."""
        return (await self.now()).replace(microsecond=0) + offset

    async def wipe(self) -> None:
        """Delete the content of the store and let a second pass, because its tokens may depend on its time."""
        if self._harness.wipe is None:
            pytest.skip("this harness cannot wipe its store")
        self._bind_ports(await _answer_in_time("harness.wipe", self._harness.wipe(), self.patience))
        await self.advance(SECOND)

    def extending_queue(self) -> AbstractAsyncContextManager[Backend]:
        """The store, as another thread may extend claims in it."""
        backend = self._harness.backend
        if backend.capabilities.extends_in_threads:
            return nullcontext(backend)
        if not backend.capabilities.durable or self._harness.reopen is None:
            pytest.skip("no other thread can use this store")
        return self._harness.reopen()

    # -- the state
    # ------------------------------------------------------------------------------------------------------

    async def view(self, key: TaskKey) -> TaskView:
        [view] = (await self.history.snapshot([key])).tasks
        return view

    async def live(self, key: TaskKey) -> tuple[LiveRun, ...]:
        return (await self.view(key)).live

    async def states(self, key: TaskKey) -> dict[str, RunState]:
        """The state of every live run of a task, by the run."""
        return {run.run.value: run.state for run in await self.live(key)}

    async def due(self, key: TaskKey) -> DueTask | None:
        agenda = await self.dispatch.agenda(EVERYTHING)
        return next((due for due in agenda.due if due.key == key), None)

    async def records(self, key: TaskKey) -> tuple[AttemptRecord, ...]:
        return await self.history.read(key, EVERYTHING)

    async def term(self) -> Term | None:
        return (await self.history.snapshot(())).term

    async def leader(self) -> NodeId | None:
        """The leader, found by a candidate that resigns at once.

        An author who starts with leadership has no snapshot yet.
        """
        answer = await self.leadership.campaign(_PROBE, SECOND)
        if isinstance(answer, HeldByOther):
            return answer.holder
        assert await self.leadership.resign(answer)
        return None

    async def leads(self, term: Term) -> bool:
        """True if this term lives. Its holder campaigns again, which does not extend the lease."""
        return await self.leader() == term.holder and await self.leadership.campaign(term.holder, SECOND) == term

    async def living(self) -> list[str]:
        return sorted(presence.node.value for presence in (await self.history.snapshot(())).nodes)

    async def state(self) -> StoreState:
        snapshot: Snapshot = await self.history.snapshot()
        keys = [view.key for view in snapshot.tasks]
        return StoreState(
            term=snapshot.term,
            tasks=snapshot.tasks,
            nodes=snapshot.nodes,
            queued=snapshot.queued,
            records={key: await self.records(key) for key in keys},
            skips={key: await self.history.skips(key, EVERYTHING) for key in keys},
        )

    # -- steps --------------------------------------------------------------------------------------------------------

    async def lead(self, node: NodeId = LEADER, ttl: timedelta = 10_000 * DAY) -> Term:
        term = await self.leadership.campaign(node, ttl)
        assert isinstance(term, Term), f"{node} was refused: {term}"
        return term

    async def define(self, task: TaskDefinition, slot: datetime | None = None) -> int:
        """Write a new task with its next slot (default: in an hour). Returns its version."""
        slot = await self.slot(HOUR) if slot is None else slot
        [version] = await self.catalogue.put([definition(task, slot=slot)])
        assert isinstance(version, int), f"{task.key} exists already: {version}"
        return version

    async def enqueue(self, *runs: Run, asked: str = "", memory: timedelta = REQUEST_MEMORY) -> tuple[Enqueued, ...]:
        """Queue runs. Fails if an earlier request asked for something else of them."""
        answers = await self.queue.enqueue(runs, asked, memory)
        assert isinstance(answers, tuple), f"something else was asked of {answers.runs}"
        return answers

    async def claim(
        self, worker: NodeId = WORKER, limit: int = 1000, scope: Scope = EVERYTHING_IN_SCOPE
    ) -> tuple[Claim, ...]:
        """Claim the queued runs without waiting."""
        return await self.queue.claim(worker, limit, NOTHING, scope=scope)

    async def claim_new(self, run: Run, worker: NodeId = WORKER) -> Claim:
        """Queue this run and claim it. No other run may be queued."""
        assert await self.enqueue(run) == (Enqueued.QUEUED,)
        [claim] = await self.claim(worker)
        assert claim.run == run
        return claim

    async def settle(self, claim: Claim, outcome: Outcome = _SUCCESS) -> bool:
        """Settle one claim; False if it was over."""
        lost = await self.queue.settle([settlement(claim, outcome)])
        assert lost <= {claim}
        return not lost

    async def release(self, claim: Claim, delay: timedelta = NOTHING, *, started: bool = False) -> bool:
        """Release one claim; False if it was over."""
        return not await self.queue.release([claim], delay, started=started)

    async def extend_one(self, claim: Claim, ttl: timedelta) -> bool:
        """Extend one claim; False if it is over."""
        return claim not in (await self.queue.extend([claim], ttl)).lost

    async def reap(self, term: Term, ttl: timedelta, limit: int = 1000) -> tuple[Claim, ...]:
        reaped = await self.queue.reap(term, ttl, limit)
        assert isinstance(reaped, tuple), f"{term} is over"
        return reaped

    async def commit_one(self, term: Term, decision: SlotDecision) -> bool:
        """Commit one decision; False if it was overtaken."""
        answer = await self.dispatch.commit(term, [decision])
        assert isinstance(answer, tuple), f"{term} is over"
        [kept] = answer
        return kept

    async def let_waiters_listen(self) -> None:
        """Give a verb that was just started the time to wait: a turn of the event loop and several calls of the
        store."""
        await asyncio.sleep(0)
        await self.state()

    async def soon(self, waiting: Awaitable[_RESULT]) -> _RESULT:
        """Await a result that must be there soon."""
        return await _answer_in_time("what is waited for", waiting, self.patience)

    def start_offsets(self) -> Iterator[StartOffset]:
        """The instants at which a second verb starts, spread over the time that the first verb takes."""
        for turns in range(_MAX_TURNS):
            yield StartOffset(turns=turns)
            if self._first_done:
                return
        for number in range(1, self._interleavings + 1):
            yield StartOffset(part=number / (self._interleavings + 1))

    async def interleave(
        self, outer: Awaitable[_FIRST_RESULT], inner: Awaitable[_RESULT], offset: StartOffset
    ) -> tuple[_FIRST_RESULT, _RESULT]:
        """Start the first verb, run the second one from its start to its end at this offset, then end the first."""
        time = asyncio.get_running_loop().time
        began = time()
        first = asyncio.ensure_future(outer)
        first.add_done_callback(lambda _: self._note_first_seconds(time() - began))
        for _ in range(offset.turns):
            await asyncio.sleep(0)
        while time() - began < offset.part * self._first_seconds:  # noqa: ASYNC110 - no sleep is as short
            await asyncio.sleep(0)
        self._first_done = first.done()
        second = await inner
        return await first, second

    def _note_first_seconds(self, seconds: float) -> None:
        self._first_seconds = seconds

    async def wakes(self, what: Callable[[], Awaitable[object]]) -> bool:
        """True if `what` ends a wait for a notification. It is repeated until then: the waiter may not listen yet."""
        waiter = asyncio.ensure_future(self.notifier.wait(timedelta(seconds=10 * self.patience)))
        try:
            async with asyncio.timeout(self.patience):
                while not waiter.done():
                    await what()
                    await asyncio.wait([waiter], timeout=0.05)
        except TimeoutError:
            return False
        finally:
            waiter.cancel()
            await asyncio.wait([waiter])
        return waiter.exception() is None


def near(one: datetime, other: datetime) -> bool:
    """True if the instants are equal, for a store whose time may run by itself."""
    return abs(one - other) < SLACK


# -- time limits ------------------------------------------------------------------------------------------------------

_WAITS = {"claim": ("wait", 2), "wait": ("timeout", 0)}
"""The verbs that wait: the name and the position of the argument with the length."""


def _with_deadline(name: str, port: _PORT, patience: float) -> _PORT:
    """The same port with a time limit for each verb. A verb that hangs fails with its name."""
    return _PortWithDeadline(name, port, patience)  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - a stand-in


class _PortWithDeadline:
    """A port whose verbs have a time limit."""

    def __init__(self, name: str, port: object, patience: float) -> None:
        self._name, self._port, self._patience = name, port, patience

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[object]]:
        ask: Callable[..., Awaitable[object]] = getattr(self._port, verb)

        async def asked(*arguments: object, **named: object) -> object:
            waits = _asked_to_wait(verb, arguments, named)
            return await _answer_in_time(
                f"{self._name}.{verb}", ask(*arguments, **named), self._patience + waits.total_seconds()
            )

        return asked


def _asked_to_wait(verb: str, arguments: tuple[object, ...], named: dict[str, object]) -> timedelta:
    name, place = _WAITS.get(verb, ("", -1))
    wait = named.get(name, arguments[place] if 0 <= place < len(arguments) else None)
    return wait if isinstance(wait, timedelta) else NOTHING


async def _answer_in_time(what: str, asked: Awaitable[_RESULT], seconds: float) -> _RESULT:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await asked
    except TimeoutError:
        assert not limit.expired(), f"{what} has not answered for {seconds:g} s"
        raise
