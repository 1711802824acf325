"""Workloads of cron tasks: D1, E, G and growth, nothing due; D2, everything at once; F, the leader dies."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import Bench, Unfit, repeated
from tests.benchmarks.process import DriverProcess
from tests.benchmarks.store import Work, flush, memory_of, work_of
from tests.benchmarks.systems import System
from tests.redis_server import RedisServer

MANY = 10_000
SIZES = (100, 1_000, MANY)
HUGE = 100_000
SMALL = 1_000
PROCESSES = (1, 2, 4, 8)
FEW_PROCESSES = 3

WINDOW = 31.0
"""One look of our reconciler, which comes every thirty seconds, is a part of being idle."""
SHORT_WINDOW = 10.0
"""For systems that look at every task every second."""
SETTLING = 5.0
BUDGET = 12.0
START_PATIENCE = 60.0

BURST_PATIENCE = 30.0
LONGEST_LEAD = 60
FAILOVER_RUNS = 3
FAILOVER_PATIENCE = 20.0
MB = 1e6


# -- nothing is due ---------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Processes of one system over one server of their own, that declare the same tasks."""

    bench: Bench
    system: System
    server: RedisServer
    stack: AsyncExitStack
    tasks: int
    drivers: list[DriverProcess]

    async def grow(self, processes: int, patience: float = START_PATIENCE) -> None:
        """So many processes. Only the first one does what one process has to do."""
        while len(self.drivers) < processes:
            settings = self.bench.settings(
                "idle", self.server, tasks=self.tasks, defaults=True, schedules=not self.drivers
            )
            driver = await self.stack.enter_async_context(self.bench.driver(self.system, settings))
            await driver.ask("start", patience=patience)
            self.drivers.append(driver)

    async def usage(self) -> Usage:
        answers = [await driver.ask("usage") for driver in self.drivers]
        return Usage(
            at=statistics.fmean(one["at"] for one in answers),
            cpu=sum(one["cpu"] for one in answers),
            rss=statistics.median(one["rss"] for one in answers),
            work=work_of([self.server]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    at: float
    cpu: float
    rss: float
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """What a cluster costs a second, and a process of it in memory."""

    commands: float
    cpu: float
    redis: float
    rss: float


async def _idle(clusters: Sequence[Cluster], window: float) -> list[Idle]:
    await asyncio.sleep(SETTLING)
    before = [await one.usage() for one in clusters]
    await asyncio.sleep(window)
    after = [await one.usage() for one in clusters]
    return [_spent(then, now) for then, now in zip(before, after, strict=True)]


def _spent(before: Usage, after: Usage) -> Idle:
    seconds = after.at - before.at
    work = after.work - before.work
    return Idle(
        commands=work.commands / seconds,
        cpu=(after.cpu - before.cpu) / seconds,
        redis=work.cpu / seconds,
        rss=after.rss,
    )


async def nothing_due(bench: Bench) -> None:
    """Idle systems do not disturb each other and wait together; those that look at every task wait alone."""
    if not bench.wanted & {"D1", "E", "G", "tasks", "processes"}:
        return
    await _together(bench, [one for one in bench.systems if not one.looks_at_every_task], WINDOW)
    for system in bench.systems:
        if system.looks_at_every_task:
            await _together(bench, [system], SHORT_WINDOW)


async def _together(bench: Bench, systems: Sequence[System], window: float) -> None:
    if systems:
        await _by_tasks(bench, systems, window)
    several = [one for one in systems if not one.in_memory]
    if several and bench.wanted & {"D1", "processes"}:
        await _by_processes(bench, several, window)


async def _by_tasks(bench: Bench, systems: Sequence[System], window: float) -> None:
    """One process of every size of every system."""
    sizes = [size for size in SIZES if "tasks" in bench.wanted or size == MANY or ("G" in bench.wanted and size == 100)]
    async with AsyncExitStack() as stack:
        empty: dict[str, float] = {}
        clusters: list[Cluster] = []
        for system in systems:
            for size in (0, *sizes):
                cluster = _cluster(bench, system, stack, size)
                workloads = ["D1", "E", "G", "tasks"] if size == MANY else ["G", "tasks"]
                await bench.attempt(workloads if size else [], system, partial(_started, cluster), size)
                if not size:
                    await bench.attempt(["E", "tasks"], system, partial(_measured_empty, cluster, empty))
                elif cluster.drivers:
                    clusters.append(cluster)
        if "tasks" in bench.wanted:
            huge = [_cluster(bench, system, stack, HUGE) for system in systems]
            # Two at a time: how long these take to start is no figure.
            for pair in (huge[at : at + 2] for at in range(0, len(huge), 2)):
                await asyncio.gather(
                    *(bench.attempt(["tasks"], one.system, partial(one.grow, 1), HUGE) for one in pair)
                )
            clusters += [one for one in huge if one.drivers]
        for cluster, idle in zip(clusters, await _idle(clusters, window), strict=True):
            _one_process(bench, cluster, idle, empty.get(cluster.system.name))


def _cluster(bench: Bench, system: System, stack: AsyncExitStack, tasks: int) -> Cluster:
    server = stack.enter_context(RedisServer())
    return Cluster(bench=bench, system=system, server=server, stack=stack, tasks=tasks, drivers=[])


async def _measured_empty(cluster: Cluster, empty: dict[str, float]) -> None:
    """Memory of a process without tasks."""
    await cluster.grow(1)
    empty[cluster.system.name] = (await cluster.usage()).rss
    await cluster.drivers.pop().kill()


async def _started(cluster: Cluster) -> None:
    """G for the sizes that it is about; the last process that was started stays."""
    bench, system = cluster.bench, cluster.system

    async def once() -> tuple[float, float, float]:
        flush(cluster.server)
        while cluster.drivers:
            await cluster.drivers.pop().leave()
        settings = bench.settings("idle", cluster.server, tasks=cluster.tasks, defaults=True)
        took: list[float] = []
        declared = 0.0
        for again in (False, True):
            driver = await cluster.stack.enter_async_context(bench.driver(system, settings))
            took.append((await driver.ask("start", patience=START_PATIENCE))["seconds"])
            declared = driver.declared
            if not again and not system.in_memory:
                await driver.leave()
            else:
                cluster.drivers.append(driver)
                break
        return took[0], took[-1], declared

    if "G" not in bench.wanted or cluster.tasks not in {100, MANY}:
        await cluster.grow(1)
        return
    samples = await repeated(once, BUDGET)
    bench.figure("G", "start", system, [first for first, _, _ in samples], cluster.tasks)
    bench.figure("G", "declared", system, [declared for _, _, declared in samples], cluster.tasks)
    if not system.in_memory:
        bench.figure("G", "again", system, [again for _, again, _ in samples], cluster.tasks)


def _one_process(bench: Bench, cluster: Cluster, idle: Idle, empty: float | None) -> None:
    system, tasks = cluster.system, cluster.tasks
    grown = None if empty is None else (idle.rss - empty) / MB
    stored = None if system.in_memory else memory_of(cluster.server) / MB
    for workload, size in (("D1", 1), ("tasks", tasks)):
        if workload == "tasks" or tasks == MANY:
            if not system.in_memory:
                bench.figure(workload, "commands", system, [idle.commands], size)
            bench.figure(workload, "cpu", system, [idle.cpu * 60], size)
    if tasks == MANY and not system.in_memory:
        bench.figure("D1", "redis", system, [idle.redis * 60], 1)
    for workload, size in (("E", 0), ("tasks", tasks)):
        if workload == "tasks" or tasks == MANY:
            if grown is not None:
                bench.figure(workload, "process", system, [grown], size)
            if stored is not None:
                bench.figure(workload, "redis", system, [stored], size)


async def _by_processes(bench: Bench, systems: Sequence[System], window: float) -> None:
    """Clusters that grow from one process to eight, and beside them one of three processes with many tasks."""
    async with AsyncExitStack() as stack:
        small = [_cluster(bench, one, stack, SMALL) for one in systems if "processes" in bench.wanted]
        large = [_cluster(bench, one, stack, MANY) for one in systems if "D1" in bench.wanted]
        for one in large:
            await bench.attempt(["D1"], one.system, partial(one.grow, FEW_PROCESSES), FEW_PROCESSES)
        large = [one for one in large if len(one.drivers) == FEW_PROCESSES]
        for processes in PROCESSES if small else ():
            await asyncio.gather(
                *(bench.attempt(["processes"], one.system, partial(one.grow, processes), processes) for one in small)
            )
            small = [one for one in small if len(one.drivers) == processes]
            watched = [*small, *large]
            for one, idle in zip(watched, await _idle(watched, window), strict=True):
                _several(bench, one, idle)
            large = await _dismissed(large)
        if large:
            for one, idle in zip(large, await _idle(large, window), strict=True):
                _several(bench, one, idle)


async def _dismissed(clusters: list[Cluster]) -> list[Cluster]:
    for one in clusters:
        for driver in one.drivers:
            await driver.kill()
    return []


def _several(bench: Bench, cluster: Cluster, idle: Idle) -> None:
    workload = "processes" if cluster.tasks == SMALL else "D1"
    processes = len(cluster.drivers)
    bench.figure(workload, "commands", cluster.system, [idle.commands], processes)
    bench.figure(workload, "cpu", cluster.system, [idle.cpu * 60], processes)
    if workload == "D1":
        bench.figure(workload, "redis", cluster.system, [idle.redis * 60], processes)


# -- everything is due ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Milliseconds from the slot to the start of each run, sorted, and to the last dispatch where that is told."""

    starts: Sequence[float]
    dispatched: float | None
    stored: float


async def bursts(bench: Bench) -> None:
    for system in bench.systems:
        if bench.wanted & {"D2", "E"}:
            await bench.attempt(["D2"], system, partial(_bursts, bench, system))


async def _bursts(bench: Bench, system: System) -> None:
    found = await _bursts_in_time(bench, system, system.lead)
    bench.figure("D2", "median", system, [one.starts[MANY // 2] for one in found])
    bench.figure("D2", "p99", system, [one.starts[MANY * 99 // 100] for one in found])
    bench.figure("D2", "last", system, [one.starts[-1] for one in found])
    dispatched = [one.dispatched for one in found if one.dispatched is not None]
    if dispatched:
        bench.figure("D2", "dispatched", system, dispatched)
    if not system.in_memory:
        bench.figure("E", "redis_run", system, [one.stored / MB for one in found])


async def _bursts_in_time(bench: Bench, system: System, lead: int) -> list[Burst]:
    """With twice the lead where the machine is slower than expected."""
    try:
        return await repeated(partial(_burst, bench, system, lead), 2.5 * BUDGET)
    except TooLate:
        if 2 * lead > LONGEST_LEAD:
            raise
        return await _bursts_in_time(bench, system, 2 * lead)


class TooLate(Unfit):
    """The slot came before the system took part."""


async def _burst(bench: Bench, system: System, lead: int) -> Burst:
    """A fresh process whose tasks are all due once, soon after it takes part."""
    flush(bench.server)
    now = time.time()
    slot = int(now) + lead
    if system.minutes:
        slot += -slot % 60
    async with bench.driver(system, bench.settings("burst", tasks=MANY, slot=slot)) as driver:
        await driver.ask("start", patience=START_PATIENCE)
        if time.time() > slot - 0.5:
            raise TooLate(f"it takes part only {time.time() - now:.0f} s after its launch")
        starts: list[float] = []
        numbers: set[int] = set()
        dispatched: list[float] = []
        ends = slot + BURST_PATIENCE
        await asyncio.sleep(slot + 1.0 - time.time())
        while len(starts) < MANY and time.time() < ends:
            for number, at in (await driver.ask("marks"))["marks"]:
                numbers.add(number)
                starts.append((at - slot) * 1e3)
            await asyncio.sleep(0.5)
        dispatched += (await driver.ask("facts")).get("dispatched", [])
        if len(starts) != MANY or len(numbers) != MANY:
            raise Unfit(f"{len(starts)} starts of {len(numbers)} tasks within {BURST_PATIENCE:g} s of the slot")
        await asyncio.sleep(0.5)
        stored = memory_of(bench.server)
    last = (max(dispatched) - slot) * 1e3 if dispatched else None
    return Burst(starts=sorted(starts), dispatched=last, stored=stored)


# -- the leader dies --------------------------------------------------------------------------------------------------


async def failovers(bench: Bench) -> None:
    """All systems at the same time: they wait, each for its own seconds."""
    if "F" in bench.wanted:
        await asyncio.gather(
            *(bench.attempt(["F"], system, partial(_failovers, bench, system)) for system in bench.systems)
        )


async def _failovers(bench: Bench, system: System) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        samples: list[tuple[float, int]] = []
        for _ in range(FAILOVER_RUNS):
            flush(server)
            samples.append(await _failover(bench, system, server))
    bench.figure("F", "gap", system, [gap for gap, _ in samples])
    bench.figure("F", "skipped", system, [skipped for _, skipped in samples])


async def _failover(bench: Bench, system: System, server: RedisServer) -> tuple[float, int]:
    """Seconds from the kill to the next run, and how many slots since then have no run."""
    with tempfile.TemporaryDirectory(prefix="bench-effects-") as folder:
        effects = Path(folder) / "effects"
        effects.touch()
        async with AsyncExitStack() as stack:
            drivers: list[DriverProcess] = []
            for first in (True, False):
                settings = bench.settings("second", server, effects=str(effects), defaults=True, schedules=first)
                driver = await stack.enter_async_context(bench.driver(system, settings))
                await driver.ask("start", patience=30.0)
                drivers.append(driver)
            begun = await _runs(effects, after=time.time(), enough=FAILOVER_RUNS, patience=FAILOVER_PATIENCE)
            if len(begun) < FAILOVER_RUNS:
                raise Unfit(f"{len(begun)} runs of an every-second task within {FAILOVER_PATIENCE:g} s")
            leader = await _leader(drivers, begun[-1][1])
            await asyncio.sleep(0.4)
            # Both clocks are the machine's. A slot that fell between these two lines would count as one after the kill.
            killed = time.time()
            await leader.kill()
            following = await _runs(effects, after=killed, enough=1, patience=FAILOVER_PATIENCE)
            if not following:
                raise Unfit(f"no run within {FAILOVER_PATIENCE:g} s of the kill")
            await asyncio.sleep(following[0][0] + 3.0 - time.time())
            until = time.time()
        runs = [at for at, _ in _read(effects) if killed < at < until]
        # A run comes some milliseconds after its slot: the last half second has no say.
        slots = int(until - 0.5) - int(killed)
        return following[0][0] - killed, max(slots - sum(at < until - 0.5 for at in runs), 0)


async def _leader(drivers: Sequence[DriverProcess], last: int) -> DriverProcess:
    """The process that leads, or where none does, the one that executed the last run."""
    for driver in drivers:
        facts: dict[str, Any] = await driver.ask("facts")
        if facts.get("leads"):
            return driver
    return next(driver for driver in drivers if driver.pid == last)


def _read(effects: Path) -> list[tuple[float, int]]:
    lines = effects.read_text().splitlines()
    return [(float(at), int(pid)) for at, pid in (line.split() for line in lines)]


async def _runs(effects: Path, *, after: float, enough: int, patience: float) -> list[tuple[float, int]]:
    """The runs since an instant, when there are enough or time is up."""
    ends = time.time() + patience
    while True:
        found = [one for one in _read(effects) if one[0] > after]
        if len(found) >= enough or time.time() > ends:
            return found
        await asyncio.sleep(0.02)
