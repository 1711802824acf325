"""Workloads in which nothing is due: D1, E, G and growth."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

from tests.benchmarks.bench import Bench, repeated
from tests.benchmarks.process import DriverProcess
from tests.benchmarks.store import Work, flush, memory_of, work_of
from tests.benchmarks.systems import System
from tests.redis_server import RedisServer

FEW, SOME, MANY, HUGE = 100, 1_000, 10_000, 100_000
THREE = 3
PROCESSES = (2, 4, 8)
ABREAST = 2
"""Most processes that start at the same time, where the time of a start is not measured."""

WINDOW = 31.0
"""An idle period must contain one run of our reconciler, which comes every thirty seconds."""
SETTLING = 5.0
SHORT_WINDOW, SHORT_SETTLING = 10.0, 3.0
"""For systems that read every task every second."""

PATIENCE = 60.0
QUICK = 6.0
"""A system that needs longer to start with ten thousand tasks is not tried with ten times as many."""
BUDGET = 12.0
MB = 1e6


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Processes of one system on a server of their own. All declare the same tasks."""

    bench: Bench
    system: System
    server: RedisServer
    stack: AsyncExitStack
    tasks: int
    drivers: list[DriverProcess] = field(default_factory=list[DriverProcess])
    took: float = 0.0

    async def grow(self, processes: int) -> None:
        """Start `size` processes. Only the first one does the work that one process must do."""
        while len(self.drivers) < processes:
            settings = self.bench.settings(
                "idle", self.server, tasks=self.tasks, defaults=True, schedules=not self.drivers
            )
            driver = await self.stack.enter_async_context(self.bench.driver(self.system, settings))
            self.took = (await driver.ask("start", patience=PATIENCE))["seconds"]
            self.drivers.append(driver)

    async def shrink(self) -> None:
        while self.drivers:
            await self.drivers.pop().leave()

    async def usage(self) -> Usage:
        answers = [await driver.ask("usage") for driver in self.drivers]
        return Usage(
            at=statistics.fmean(one["at"] for one in answers),
            cpu=sum(one["cpu"] for one in answers),
            collecting=sum(one.get("collecting", 0.0) for one in answers),
            rss=statistics.median(one["rss"] for one in answers),
            work=work_of([self.server]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The statistics of a cluster. `collecting` is the CPU time that the answer itself cost: a garbage collection."""

    at: float
    cpu: float
    collecting: float
    rss: float
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """The cost of a cluster for each second, and the memory of one of its processes."""

    commands: float
    cpu: float
    redis: float
    rss: float


async def nothing_due(bench: Bench) -> None:
    """Idle systems do not disturb each other, so they are measured together. Systems that read every task are measured
    alone."""
    if not bench.wanted & {"D1", "E", "G", "tasks", "processes"}:
        return
    together = [one for one in bench.systems if not one.looks_at_every_task]
    alone = [one for one in bench.systems if one.looks_at_every_task]
    await _by_tasks(bench, together)
    await _by_processes(bench, together)
    for system in alone:
        await _by_tasks(bench, [system])
        await _by_processes(bench, [system])


async def _idle(clusters: Sequence[Cluster]) -> list[Idle]:
    short = any(one.system.looks_at_every_task for one in clusters)
    await asyncio.sleep(SHORT_SETTLING if short else SETTLING)
    before = [await one.usage() for one in clusters]
    await asyncio.sleep(SHORT_WINDOW if short else WINDOW)
    after = [await one.usage() for one in clusters]
    return [_spent(then, now) for then, now in zip(before, after, strict=True)]


def _spent(before: Usage, after: Usage) -> Idle:
    seconds = after.at - before.at
    work = after.work - before.work
    return Idle(
        commands=work.commands / seconds,
        cpu=(after.cpu - before.cpu - before.collecting) / seconds,
        redis=work.cpu / seconds,
        rss=after.rss,
    )


def _cluster(bench: Bench, system: System, stack: AsyncExitStack, tasks: int) -> Cluster:
    server = stack.enter_context(RedisServer())
    return Cluster(bench=bench, system=system, server=server, stack=stack, tasks=tasks)


# -- one process, by tasks --------------------------------------------------------------------------------------------


async def _by_tasks(bench: Bench, systems: Sequence[System]) -> None:
    """One process of every size of every system."""
    async with AsyncExitStack() as stack:
        clusters: list[Cluster] = []
        empty: dict[str, float] = {}
        for system in systems:
            if bench.wanted & {"E", "tasks"}:
                bare = _cluster(bench, system, stack, 0)
                place = {"E": 0} if "E" in bench.wanted else {"tasks": FEW}
                await bench.attempt(place, system, partial(_without_tasks, bare, empty))
            for tasks in _sizes(bench.wanted):
                cluster = _cluster(bench, system, stack, tasks)
                await bench.attempt(_places(tasks), system, partial(_started, cluster))
                clusters.append(cluster)
        clusters = [one for one in clusters if one.drivers]
        if "tasks" in bench.wanted:
            clusters += await _huge(bench, [one for one in clusters if one.tasks == MANY], stack)
        for cluster, idle in zip(clusters, await _idle(clusters), strict=True):
            _one_process(bench, cluster, idle, empty.get(cluster.system.name))


def _sizes(wanted: frozenset[str]) -> list[int]:
    return [
        *([FEW] if wanted & {"G", "tasks"} else []),
        *([SOME] if wanted & {"tasks", "processes"} else []),
        *([MANY] if wanted & {"D1", "E", "G", "tasks"} else []),
    ]


def _places(tasks: int) -> dict[str, int]:
    """The workloads to which one process with so many tasks belongs, and its size there."""
    return {
        "tasks": tasks,
        **({"G": tasks} if tasks != SOME else {}),
        **({"processes": 1} if tasks == SOME else {}),
        **({"D1": 1, "E": 0} if tasks == MANY else {}),
    }


async def _without_tasks(cluster: Cluster, empty: dict[str, float]) -> None:
    """Measure the memory of a process without tasks, so that the memory of its tasks can be computed."""
    await cluster.grow(1)
    empty[cluster.system.name] = (await cluster.usage()).rss
    await cluster.shrink()


async def _started(cluster: Cluster) -> None:
    """Start a process and wait until it takes part: that time is workload G. This project starts several times, and
    again on a full store."""
    bench, system = cluster.bench, cluster.system
    if "G" not in bench.wanted or cluster.tasks == SOME:
        await cluster.grow(1)
        return

    async def once() -> tuple[float, float, float]:
        await cluster.shrink()
        flush(cluster.server)
        await cluster.grow(1)
        first = cluster.took
        if system.ours:
            await cluster.shrink()
            await cluster.grow(1)
        return first, cluster.took, cluster.drivers[0].declared

    samples = await repeated(once, BUDGET if system.ours else 0.0)
    bench.figure("G", "start", system, [first for first, _, _ in samples], cluster.tasks)
    bench.figure("G", "declared", system, [declared for _, _, declared in samples], cluster.tasks)
    if system.ours:
        bench.figure("G", "again", system, [again for _, again, _ in samples], cluster.tasks)


async def _huge(bench: Bench, many: Sequence[Cluster], stack: AsyncExitStack) -> list[Cluster]:
    found: list[Cluster] = []
    for one in many:
        if one.took > QUICK and not one.system.ours:
            reason = f"not tried, since it needs {one.took:.0f} s to start with {MANY:,}"
            bench.dash("tasks", one.system, reason, HUGE)
        else:
            found.append(_cluster(bench, one.system, stack, HUGE))
    await _grown(found, 1, "tasks", HUGE)
    return [one for one in found if one.drivers]


async def _grown(clusters: Sequence[Cluster], processes: int, workload: str, size: int) -> None:
    for at in range(0, len(clusters), ABREAST):
        some = clusters[at : at + ABREAST]
        await asyncio.gather(
            *(one.bench.attempt({workload: size}, one.system, partial(one.grow, processes)) for one in some)
        )


def _one_process(bench: Bench, cluster: Cluster, idle: Idle, empty: float | None) -> None:
    system = cluster.system
    for workload, size in _places(cluster.tasks).items():
        if workload in {"D1", "tasks", "processes"}:
            _cost(bench, workload, system, idle, size)
        if workload in {"E", "tasks"}:
            if empty is not None:
                bench.figure(workload, "process", system, [(idle.rss - empty) / MB], size)
            if not system.in_memory:
                bench.figure(workload, "redis", system, [memory_of(cluster.server) / MB], size)


def _cost(bench: Bench, workload: str, system: System, idle: Idle, size: int) -> None:
    bench.figure(workload, "cpu", system, [idle.cpu * 60], size)
    if not system.in_memory:
        bench.figure(workload, "commands", system, [idle.commands], size)
        if workload == "D1":
            bench.figure(workload, "redis", system, [idle.redis * 60], size)


# -- several processes ------------------------------------------------------------------------------------------------


async def _by_processes(bench: Bench, systems: Sequence[System]) -> None:
    """Clusters of two, four and eight processes with some tasks, and of three with many."""
    wanted = [
        *((SOME, processes) for processes in PROCESSES if "processes" in bench.wanted),
        *([(MANY, THREE)] if "D1" in bench.wanted else []),
    ]
    several = [one for one in systems if not one.in_memory]
    for one in systems:
        if one.in_memory and "processes" in bench.wanted:
            bench.dash("processes", one, "one process only")
    # The processes of a system that reads every task disturb each other.
    rounds = [[one] for one in wanted] if any(one.looks_at_every_task for one in several) else [wanted]
    for sizes in rounds:
        async with AsyncExitStack() as stack:
            clusters: list[Cluster] = []
            for tasks, processes in sizes:
                these = [_cluster(bench, one, stack, tasks) for one in several]
                await _grown(these, processes, _workload(tasks), processes)
                clusters += [one for one in these if len(one.drivers) == processes]
            for cluster, idle in zip(clusters, await _idle(clusters), strict=True):
                _cost(bench, _workload(cluster.tasks), cluster.system, idle, len(cluster.drivers))


def _workload(tasks: int) -> str:
    return "processes" if tasks == SOME else "D1"
