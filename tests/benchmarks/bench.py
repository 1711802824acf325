"""The frame of a comparison: the systems, their common Redis, and the results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from tests.benchmarks.driver import Kind, Settings
from tests.benchmarks.environments import Environment
from tests.benchmarks.figures import WORKLOADS, Dash, Figure
from tests.benchmarks.process import DriverError, DriverProcess, driving
from tests.benchmarks.systems import System
from tests.redis_server import RedisServer

REPEATS = 3
DECLARING = 120.0
"""Seconds in which a driver must have declared its tasks."""

NAME = "bench"
"""The key prefix of a system, or the name of its queue."""

IDLE_HOUR = (datetime.now(UTC).hour + 12) % 24
"""An hour of the day that is half a day away, so idle tasks are not due during the run."""

T = TypeVar("T")

_TITLES = {one.name: one for one in WORKLOADS}


@dataclass(slots=True, kw_only=True)
class Bench:
    """A comparison. `figures` and `dashes` collect the results; the other fields are its settings."""

    server: RedisServer
    systems: Sequence[System]
    environments: Mapping[str, Environment]
    wanted: frozenset[str]
    figures: list[Figure] = field(default_factory=list[Figure])
    dashes: list[Dash] = field(default_factory=list[Dash])

    @property
    def ours(self) -> System | None:
        return next((system for system in self.systems if system.ours), None)

    def settings(self, kind: Kind, server: RedisServer | None = None, **more: Any) -> Settings:
        return Settings(
            **{"url": (server or self.server).url, "name": NAME, "kind": kind, "idle_hour": IDLE_HOUR, **more}
        )

    @asynccontextmanager
    async def driver(self, system: System, settings: Settings) -> AsyncGenerator[DriverProcess]:
        environment = self.environments[system.name]
        async with driving(environment.command, environment.variables, settings) as driver:
            driver.declared = (await driver.ask("hello", patience=DECLARING))["declared"]
            yield driver

    # -- results ------------------------------------------------------------------------------------------------------

    def figure(self, workload: str, measure: str, system: System, values: Sequence[float], size: int = 0) -> None:
        if workload not in self.wanted:
            return
        one = Figure(workload=workload, measure=measure, system=system.name, values=tuple(values), size=size)
        self.figures.append(one)
        [known] = [each for each in _TITLES[workload].measures if each.name == measure]
        at = f" of {size:,}" if size else ""
        print(f"  {workload}{at}  {system.title:14} {shown(one, known.digits):>28} {known.title}", flush=True)

    def dash(self, workload: str, system: System, reason: str, size: int = 0) -> None:
        if workload in self.wanted:
            self.dashes.append(Dash(workload=workload, system=system.name, reason=reason, size=size))
            print(f"  {workload}  {system.title:14} – {reason}", flush=True)

    async def attempt(self, places: Mapping[str, int], system: System, measured: Callable[[], Awaitable[None]]) -> None:
        """Measure for these workloads, each with its size, unless the system cannot or none is wanted. A system that
        fails gets a dash for each, and the other systems are still measured."""
        wanted = {workload: size for workload, size in places.items() if workload in self.wanted}
        for workload in wanted.keys() & system.cannot.keys():
            del wanted[workload]
            if self._cannot(workload, system) is None:
                self.dash(workload, system, system.cannot[workload])
        if not wanted:
            return
        try:
            await measured()
        except (DriverError, Unfit) as error:
            for workload, size in wanted.items():
                self.dash(workload, system, str(error), size)

    def _cannot(self, workload: str, system: System) -> Dash | None:
        return next((one for one in self.dashes if (one.workload, one.system) == (workload, system.name)), None)


class Unfit(Exception):
    """A system did not do the work that a benchmark measures."""


def shown(figure: Figure, digits: int) -> str:
    """The median, and the range where there are several values."""
    median = f"{figure.median:,.{digits}f}"
    if len(figure.values) == 1:
        return median
    return f"{median} ({min(figure.values):,.{digits}f}–{max(figure.values):,.{digits}f})"


async def repeated(once: Callable[[], Awaitable[T]], seconds: float, times: int = REPEATS) -> list[T]:
    """Repeat a measurement up to the given number of times, or as often as the time allows, but at least once."""
    found: list[T] = []
    began = time.monotonic()
    while len(found) < times and (not found or time.monotonic() - began < seconds):
        found.append(await once())
    return found


async def settled(driver: DriverProcess, expected: int, patience: float = 20.0) -> None:
    """Check that the store holds no run any more, and that as many bodies ran as there were runs. Raises: Unfit."""
    ends = time.monotonic() + patience
    while True:
        answer = await driver.ask("left")
        if answer["left"] == 0 and answer["started"] == expected:
            return
        if time.monotonic() > ends:
            raise Unfit(f"{answer['started']} bodies for {expected} runs, and {answer['left']} left in the queue")
        await asyncio.sleep(0.05)
