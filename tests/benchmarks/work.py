"""Workloads of runs: A and B, a full queue; C, one run at a time; H, several prefixes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial

from redis.crc import key_slot

from tests.benchmarks.bench import NAME, Bench, Unfit, repeated, settled
from tests.benchmarks.process import DriverProcess
from tests.benchmarks.store import Copy, Work, cluster, flush, work_of
from tests.benchmarks.systems import System
from tests.redis_server import RedisServer

FEW, MANY = 10_000, 20_000
CONCURRENCY = 100
BODY_SECONDS = 0.01
IDEAL = CONCURRENCY / BODY_SECONDS
BUDGET = 10.0
"""Seconds for the repeats of one workload of one system."""

SLOW = 4_000
"""Runs a second. Below this rate the start is a small part of the time for 10,000 runs, so 20,000 give the same
rate."""

TRIGGERS, WARM_UP, PAUSE = 200, 20, 0.005
PREFIXES = (1, 2, 4)
RUNS_PER_PREFIX = 5_000
NODES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One full queue: rates, and CPU seconds a run."""

    rate: float
    running: float
    cpu: float
    redis: float


# -- A and B: a full queue --------------------------------------------------------------------------------------------


async def full_queues(bench: Bench) -> None:
    for system in bench.systems:
        if bench.wanted & {"A", "B"}:
            await bench.attempt({"A": FEW, "B": FEW}, system, partial(_full_queues, bench, system))


async def _full_queues(bench: Bench, system: System) -> None:
    copy = None if system.in_memory else await _queued(bench, system, FEW)
    rate = 0.0
    if "A" in bench.wanted:
        rate = await _queue_of_nothing(bench, system, FEW, copy)
    if "B" in bench.wanted and "B" not in system.cannot:
        samples = await repeated(partial(_emptied, bench, system, FEW, copy, BODY_SECONDS), BUDGET)
        bench.figure("B", "share", system, [100 * one.rate / IDEAL for one in samples], FEW)
        bench.figure("B", "running", system, [100 * one.running / IDEAL for one in samples], FEW)
    if "A" in bench.wanted:
        if rate < SLOW and not system.ours:
            bench.dash("A", system, "as slow as with 10,000: its start hardly counts", MANY)
            return
        copy = None if system.in_memory else await _queued(bench, system, MANY)
        await _queue_of_nothing(bench, system, MANY, copy)


async def _queue_of_nothing(bench: Bench, system: System, runs: int, copy: Copy | None) -> float:
    samples = await repeated(partial(_emptied, bench, system, runs, copy, 0.0), BUDGET)
    bench.figure("A", "rate", system, [one.rate for one in samples], runs)
    bench.figure("A", "running", system, [one.running for one in samples], runs)
    bench.figure("A", "cpu", system, [one.cpu * 1e6 for one in samples], runs)
    if copy is not None:
        bench.figure("A", "redis", system, [one.redis * 1e6 for one in samples], runs)
    return max(one.rate for one in samples)


async def _queued(bench: Bench, system: System, runs: int) -> Copy:
    """The contents of the store when all runs are queued and no process runs."""
    flush(bench.server)
    async with bench.driver(system, bench.settings("runs", works=False)) as driver:
        await driver.ask("queue", patience=120.0, runs=runs)
        await driver.leave()
    return Copy(bench.server)


async def _emptied(bench: Bench, system: System, runs: int, copy: Copy | None, seconds: float) -> Sample:
    """Without a copy, the queue is in the memory of the process that executes it."""
    async with bench.driver(system, bench.settings("runs", seconds=seconds)) as driver:
        if copy is None:
            await driver.ask("queue", runs=runs)
        else:
            copy.restore()
        before = work_of([bench.server])
        answer = await driver.ask("run", patience=60.0, runs=runs)
        redis = work_of([bench.server]) - before
        await settled(driver, runs)
    return Sample(
        rate=runs / (answer["last"] - answer["began"]),
        running=runs / (answer["last"] - answer["first"]),
        cpu=answer["cpu"] / runs,
        redis=redis.cpu / runs,
    )


# -- C: one at a time -------------------------------------------------------------------------------------------------


async def single_runs(bench: Bench) -> None:
    for system in bench.systems:
        if "C" in bench.wanted:
            await bench.attempt({"C": 0}, system, partial(_single_runs, bench, system))


async def _single_runs(bench: Bench, system: System) -> None:
    flush(bench.server)
    async with AsyncExitStack() as stack:
        # The process that triggers starts first, so that the other process never gets the runs that occupy it.
        asking = await stack.enter_async_context(bench.driver(system, bench.settings("runs", works=False)))
        await asking.ask("start")
        idle = await stack.enter_async_context(bench.driver(system, bench.settings("runs", schedules=False)))
        await idle.ask("start")
        await _delays(asking, idle, 0, WARM_UP)
        medians: list[float] = []
        highest: list[float] = []
        for series in range(1, 4):
            delays = await _delays(asking, idle, series * TRIGGERS, TRIGGERS)
            medians.append(delays[TRIGGERS // 2] * 1e3)
            highest.append(delays[int(TRIGGERS * 0.99)] * 1e3)
    bench.figure("C", "median", system, medians)
    bench.figure("C", "p99", system, highest)


async def _delays(asking: DriverProcess, idle: DriverProcess, first: int, count: int) -> list[float]:
    """The sorted seconds from the request to the start of each run. Raises: Unfit, if a run did not start exactly
    once."""
    answer = await asking.ask("trigger", count=count, pause=PAUSE, first=first)
    asked: dict[int, float] = dict(answer["asked"])
    started: list[tuple[int, float]] = []
    for _ in range(100):
        started += (await idle.ask("marks"))["marks"]
        if len(started) >= count:
            break
        await asyncio.sleep(0.05)
    if sorted(number for number, _ in started) != sorted(asked):
        raise Unfit(f"{len(started)} starts of {count} triggers in the other process")
    return sorted(at - asked[number] for number, at in started)


# -- H: several prefixes ----------------------------------------------------------------------------------------------


async def prefixes(bench: Bench) -> None:
    system = bench.ours
    if "H" not in bench.wanted or system is None:
        return
    for count in PREFIXES:
        flush(bench.server)
        names = [f"{NAME}{number}" for number in range(count)]
        measured = partial(_prefixes, bench, system, [bench.server], names, "")
        await bench.attempt({"H": count}, system, measured)
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(NODES))
        for count in PREFIXES:
            for node in nodes:
                flush(node)
            measured = partial(_prefixes, bench, system, nodes, _spread(count), "cluster_")
            await bench.attempt({"H": count}, system, measured)


def _spread(count: int) -> list[str]:
    """Prefixes whose hash slots are on the nodes in turn."""
    names: list[str] = []
    number = 0
    while len(names) < count:
        name = f"{NAME}{number}"
        if key_slot(f"{{{name}}}".encode()) * NODES // 16384 == len(names) % NODES:
            names.append(name)
        number += 1
    return names


async def _prefixes(bench: Bench, system: System, servers: list[RedisServer], names: list[str], what: str) -> None:
    async def once() -> tuple[float, float, float]:
        for server in servers:
            flush(server)
        return await _side_by_side(bench, system, servers, names)

    samples = await repeated(once, BUDGET)
    count = len(names)
    bench.figure("H", f"{what}rate", system, [rate for rate, _, _ in samples], count)
    bench.figure("H", f"{what}busy", system, [busy * 100 for _, _, busy in samples], count)
    if not what:
        bench.figure("H", "redis", system, [cpu * 1e6 for _, cpu, _ in samples], count)


async def _side_by_side(
    bench: Bench, system: System, servers: list[RedisServer], names: list[str]
) -> tuple[float, float, float]:
    """Runs a second of all prefixes, CPU seconds of all stores a run, CPU seconds of the busiest store a second."""
    clustered = len(servers) > 1
    for name in names:
        settings = bench.settings("runs", servers[0], name=name, works=False, cluster=clustered)
        async with bench.driver(system, settings) as driver:
            await driver.ask("queue", runs=RUNS_PER_PREFIX)
            await driver.leave()
    async with AsyncExitStack() as stack:
        drivers = [
            await stack.enter_async_context(
                bench.driver(system, bench.settings("runs", servers[0], name=name, cluster=clustered))
            )
            for name in names
        ]
        before = [work_of([server]) for server in servers]
        answers = await asyncio.gather(*(one.ask("run", runs=RUNS_PER_PREFIX) for one in drivers))
        spent: list[Work] = [work_of([server]) - then for server, then in zip(servers, before, strict=True)]
        for one in drivers:
            await settled(one, RUNS_PER_PREFIX)
    seconds = max(one["last"] for one in answers) - min(one["began"] for one in answers)
    runs = len(names) * RUNS_PER_PREFIX
    return runs / seconds, sum(one.cpu for one in spent) / runs, max(one.cpu for one in spent) / seconds
