"""Workloads in which cron tasks are due: D2, all tasks at once; F, the leader is killed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import Bench, Unfit, repeated
from tests.benchmarks.process import DriverProcess
from tests.benchmarks.store import flush, memory_of
from tests.benchmarks.systems import System
from tests.redis_server import RedisServer

MANY = 10_000
BUDGET, BUDGET_OF_OURS = 12.0, 26.0
"""Seconds for the bursts of one system. A system with a long burst has only one."""
START_PATIENCE, BURST_PATIENCE = 60.0, 45.0
LONGEST_LEAD = 60
FAILOVER_RUNS = 3
FAILOVER_PATIENCE = 20.0
MB = 1e6


# -- everything is due ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Milliseconds from the slot to the start of each run, sorted, and to the last dispatch if reported."""

    starts: Sequence[float]
    dispatched: float | None
    stored: float


async def bursts(bench: Bench) -> None:
    for system in bench.systems:
        if bench.wanted & {"D2", "E"}:
            await bench.attempt({"D2": 0}, system, partial(_bursts, bench, system))


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
    """Measure again with twice the lead if the machine is slower than expected."""
    try:
        return await repeated(partial(_burst, bench, system, lead), BUDGET_OF_OURS if system.ours else BUDGET)
    except TooLate:
        if 2 * lead > LONGEST_LEAD:
            raise
        return await _bursts_in_time(bench, system, 2 * lead)


class TooLate(Unfit):
    """The slot passed before the system was ready."""


async def _burst(bench: Bench, system: System, lead: int) -> Burst:
    """A new process whose tasks are all due once, soon after it is ready."""
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


# -- the leader is killed ---------------------------------------------------------------------------------------------


async def failovers(bench: Bench) -> None:
    """Measure all systems at the same time, because they mostly wait."""
    if "F" in bench.wanted:
        await asyncio.gather(
            *(bench.attempt({"F": 0}, system, partial(_failovers, bench, system)) for system in bench.systems)
        )


async def _failovers(bench: Bench, system: System) -> None:
    with RedisServer() as server:
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
            # Both clocks belong to one machine. A slot between these two lines would count as one after the kill.
            killed = time.time()
            await leader.kill()
            following = await _runs(effects, after=killed, enough=1, patience=FAILOVER_PATIENCE)
            if not following:
                raise Unfit(f"no run within {FAILOVER_PATIENCE:g} s of the kill")
            await asyncio.sleep(following[0][0] + 3.0 - time.time())
            until = time.time()
        runs = [at for at, _ in _read(effects) if killed < at < until]
        # A run comes some milliseconds after its slot: so the count ignores the last half second.
        slots = int(until - 0.5) - int(killed)
        return following[0][0] - killed, max(slots - sum(at < until - 0.5 for at in runs), 0)


async def _leader(drivers: Sequence[DriverProcess], last: int) -> DriverProcess:
    """The process that leads. In a system without a leader: the process that executed the last run."""
    for driver in drivers:
        facts: dict[str, Any] = await driver.ask("facts")
        if facts.get("leads"):
            return driver
    return next(driver for driver in drivers if driver.pid == last)


def _read(effects: Path) -> list[tuple[float, int]]:
    lines = effects.read_text().splitlines()
    return [(float(at), int(pid)) for at, pid in (line.split() for line in lines)]


async def _runs(effects: Path, *, after: float, enough: int, patience: float) -> list[tuple[float, int]]:
    """The runs since an instant, as soon as there are enough, or at the deadline."""
    ends = time.time() + patience
    while True:
        found = [one for one in _read(effects) if one[0] > after]
        if len(found) >= enough or time.time() > ends:
            return found
        await asyncio.sleep(0.02)
