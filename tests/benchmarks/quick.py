"""The cost of frequent operations: `make bench-quick`, or `python -m tests.benchmarks.quick [idle throughput …]`.

Starts a Redis of its own for everything that it measures. Absolute figures depend on the machine and its load, so
compare only ratios, and only within one run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis

from fastapi_task_manager.container import SystemClock
from fastapi_task_manager.observers.fanout import Fanout
from fastapi_task_manager.observers.logs import LogObserver
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.application.reconciler import RECOVERY
from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.events import Event, RunSettled, RunStarted
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.planning import NextSlot, decide_slots
from task_manager_core.domain.policy import NodePolicy, Retention, WorkerPolicy
from task_manager_core.domain.recurrence import Cron
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Backend, DefinitionWrite
from task_manager_redis import RedisSettings, redis_backend
from tests.benchmarks.catalogue import catalogue
from tests.benchmarks.growth import growth
from tests.e2e.cluster import IDLE, Cluster
from tests.redis_server import RedisServer

PROCESSES = 3
IDLE_TASKS = (10, 100, 1000)
IDLE_SECONDS = 30.0
"""An idle period must contain one run of the reconciler, which comes every thirty seconds."""
SETTLING_SECONDS = 3 * RECOVERY.total_seconds()
"""The first run of the reconciler in a term reads all tasks. It comes after RECOVERY, and belongs to the start."""

TASKS = 200
RUNS = (1_000, 20_000)
REPEATS = 3
CONCURRENCY = 100
WAKE_UPS = 300
COMMITS = {1: 500, 100: 50}

# -- idle cost --------------------------------------------------------------------------------------------------------


def idle() -> None:
    print(f"\nidle: {PROCESSES} uvicorn processes, no task due, {IDLE_SECONDS:g} s, Redis INFO commandstats")
    rates: dict[int, float] = {}
    with ExitStack() as stack:
        servers = {count: stack.enter_context(RedisServer()) for count in IDLE_TASKS}
        for count, server in servers.items():
            cluster = Cluster(server.url, app=IDLE, variables={"E2E_TASKS": str(count)})
            stack.enter_context(cluster).start(PROCESSES)
        time.sleep(SETTLING_SECONDS)
        before = {count: _commands(server) for count, server in servers.items()}
        time.sleep(IDLE_SECONDS)
        for count, server in servers.items():
            calls, scripts = (now - then for now, then in zip(_commands(server), before[count], strict=True))
            rates[count] = calls / IDLE_SECONDS
            print(
                f"  {count:5,} tasks: {rates[count]:7.1f} commands/s, those inside scripts included; "
                f"{scripts / IDLE_SECONDS:5.1f} scripts/s"
            )
    least = rates[IDLE_TASKS[0]]
    print("  ratio:", " : ".join(f"{rates[count] / least:.2f}" for count in IDLE_TASKS))


def _commands(server: RedisServer) -> tuple[int, int]:
    """All commands so far but our own INFO, and the scripts among them."""
    with server.client() as client:
        stats: dict[str, Any] = client.info("commandstats")
    calls = {name: int(stat["calls"]) for name, stat in stats.items() if name != "cmdstat_info"}
    return sum(calls.values()), calls.get("cmdstat_evalsha", 0) + calls.get("cmdstat_eval", 0)


# -- one node on a real Redis -----------------------------------------------------------------------------------------


async def nothing() -> None: ...


class Watch:
    """An observer that records when each run was started, and when the last one was settled."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.settled = 0
        self._expected = 0
        self._done = asyncio.Event()

    def expect(self, runs: int) -> None:
        self.settled, self._expected = 0, runs
        self.started.clear()
        self._done.clear()

    async def done(self) -> None:
        await self._done.wait()

    def notice(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.started[event.claim.run.id.value] = time.perf_counter()
            case RunSettled():
                self.settled += 1
                if self.settled == self._expected:
                    self._done.set()
            case _:
                pass


def _task(number: int) -> TaskDefinition:
    cron = Cron(expression=CronExpression.parse("0 0 1 1 *"))
    return TaskDefinition(key=TaskKey("bench", f"task-{number}"), schedule=Schedule(rules=(cron,)), function="nothing")


@dataclass(frozen=True, slots=True)
class Bench:
    node: Node
    backend: Backend
    watch: Watch
    keys: Sequence[TaskKey]

    async def trigger(self, runs: int, label: str) -> None:
        for number in range(runs // len(self.keys)):
            await self.node.control.trigger(self.keys, f"{label} {number}")


@asynccontextmanager
async def bench(server: RedisServer, prefix: str) -> AsyncGenerator[Bench]:
    """A node with the observers of production. Its definitions are written; its loops do not run yet."""
    registry, watch = Declarations(), Watch()
    tasks = [_task(number) for number in range(TASKS)]
    for task in tasks:
        registry.declare(task, nothing)
    open_backend = redis_backend(RedisSettings(url=server.url, prefix=prefix))
    async with open_backend(clock=SystemClock(), retention=Retention()) as backend:
        node = Node(
            node=NodeId(f"bench {prefix}"),
            service="bench",
            backend=backend,
            declarations=registry,
            policy=NodePolicy(worker=WorkerPolicy(concurrency=CONCURRENCY)),
            clock=SystemClock(),
            observer=Fanout((LogObserver(), watch)),
            logger=logging.getLogger("bench"),
        )
        await node.registrar.tick()
        yield Bench(node, backend, watch, [task.key for task in tasks])


# -- throughput -------------------------------------------------------------------------------------------------------


async def throughput(server: RedisServer) -> None:
    print(f"\nthroughput: no-op runs of {TASKS} tasks, one process, concurrent_tasks={CONCURRENCY}, best of {REPEATS}")
    for runs in RUNS:
        whole, queueing, working = _Best(), _Best(), _Best()
        for repeat in range(REPEATS):
            label = f"{runs}-{repeat}"
            await _triggered_while_working(server, f"live-{label}", runs, whole)
            await _queued_before(server, f"queued-{label}", runs, queueing, working)
        print(f"  {runs:6,} runs: trigger to settled {whole}; apart: trigger {queueing}, claim to settled {working}")


class _Best:
    """The best of several measurements, because other programs only add time."""

    def __init__(self) -> None:
        self.rate = 0.0
        self.cpu = float("inf")

    @contextmanager
    def measuring(self, runs: int) -> Iterator[None]:
        began, worked = time.perf_counter(), time.process_time()
        yield
        self.rate = max(self.rate, runs / (time.perf_counter() - began))
        self.cpu = min(self.cpu, (time.process_time() - worked) / runs)

    def __str__(self) -> str:
        return f"{self.rate:7,.0f}/s ({self.cpu * 1e6:.0f} µs of CPU each)"


async def _triggered_while_working(server: RedisServer, prefix: str, runs: int, whole: _Best) -> None:
    async with bench(server, prefix) as made:
        made.watch.expect(runs)
        made.node.start()
        with whole.measuring(runs):
            await made.trigger(runs, prefix)
            await made.watch.done()
        await _check(made, runs)
        await made.node.stop()


async def _queued_before(server: RedisServer, prefix: str, runs: int, queueing: _Best, working: _Best) -> None:
    async with bench(server, prefix) as made:
        with queueing.measuring(runs):
            await made.trigger(runs, prefix)
        made.watch.expect(runs)
        made.node.start()
        with working.measuring(runs):
            await made.watch.done()
        await _check(made, runs)
        await made.node.stop()


async def _check(made: Bench, runs: int) -> None:
    """Check that the store holds every outcome: a figure for work that was not done would be wrong."""
    lines = [len(await made.backend.history.read(key, runs)) for key in made.keys]
    assert sum(lines) == runs, f"{sum(lines)} of {runs} runs are in the statistics"
    snapshot = await made.backend.history.snapshot()
    assert not [view for view in snapshot.tasks if view.live], "runs are left"


# -- wake-up ----------------------------------------------------------------------------------------------------------


async def wake_up(server: RedisServer) -> None:
    delays: list[float] = []
    async with bench(server, "wake-up") as made:
        made.node.start()
        for number in range(WAKE_UPS):
            made.watch.expect(1)
            await asyncio.sleep(0.01)
            asked = time.perf_counter()
            [triggered] = await made.node.control.trigger(made.keys[:1], f"wake {number}")
            await made.watch.done()
            delays.append(made.watch.started[triggered.run.value] - asked)
        await made.node.stop()
    delays.sort()
    median, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    print(f"\nwake-up: trigger to start on an idle worker: median {median * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms")


# -- commit -----------------------------------------------------------------------------------------------------------


async def commit(server: RedisServer) -> None:
    print("\ncommit: a leader dispatches due slots")
    costs: dict[int, float] = {}
    for size, calls in COMMITS.items():
        async with bench(server, f"commit-{size}") as made:
            costs[size] = await _commit(made.backend, size, calls)
        print(f"  {size:3} slots a call: {costs[size] * 1e6:6.1f} µs a slot")
    one, many = costs[1], costs[100]
    print(f"  ratio: {one / many:.1f} : 1")


async def _commit(backend: Backend, size: int, calls: int) -> float:
    """Seconds for each slot, with deciding and without reading the agenda."""
    now = (await backend.dispatch.agenda(0)).now
    tasks = {task.key: task for task in (_task(TASKS + number) for number in range(size * calls))}
    plan = NextSlot(slot=now, due_at=now)
    await backend.catalogue.put(
        [DefinitionWrite(definition=one, expected=0, replan=True, next_slot=plan) for one in tasks.values()]
    )
    term = await backend.leadership.campaign(NodeId("bench"), timedelta(minutes=10))
    assert isinstance(term, Term)
    agenda = await backend.dispatch.agenda(len(tasks))
    began = time.perf_counter()
    for first in range(0, len(tasks), size):
        decisions = [decide_slots(tasks[due.key], due, agenda.now) for due in agenda.due[first : first + size]]
        kept = await backend.dispatch.commit(term, decisions)
        assert not isinstance(kept, Fenced)
        assert all(kept)
    return (time.perf_counter() - began) / len(tasks)


PARTS = {"throughput": throughput, "wake-up": wake_up, "commit": commit, "growth": growth, "catalogue": catalogue}


def main() -> None:
    """Run the named parts, or all parts."""
    wanted = sys.argv[1:] or ["idle", *PARTS]
    unknown = set(wanted) - {"idle", *PARTS}
    if unknown:
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are idle, {', '.join(PARTS)}")
    with RedisServer() as server:
        with server.client() as client:
            version = client.info("server")["redis_version"]
        print(f"Python {platform.python_version()}, redis-py {redis.__version__}, server {version}, ", end="")
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}. Absolute figures are this machine's.")
        for name, part in PARTS.items():
            if name in wanted:
                asyncio.run(part(server))
    if "idle" in wanted:
        idle()


if __name__ == "__main__":
    main()
