"""The time that a simulation of fifty tasks over a month takes: `python -m
tests.benchmarks.simulation_of_schedules`."""

from __future__ import annotations

import resource
import time
from datetime import timedelta

from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.simulation import Fault, kill, simulate_registry
from task_manager_memory import MemoryStore

MIXED = {"*/5 * * * *": 2, "*/15 * * * *": 5, "7 * * * *": 10, "30 */6 * * *": 8, "0 2 * * *": 20, "30 3 * * 1": 5}
BUSY = {"*/5 * * * *": 5, "*/15 * * * *": 10, "0 * * * *": 15, "0 2 * * *": 15, "30 3 * * 1": 5}
FAULTS = tuple(
    kill(timedelta(days=day, minutes=17), worker="leader", restart_after=timedelta(seconds=30))
    for day in range(1, 30, 3)
)
DURATION = timedelta(days=30)


async def _nothing() -> None: ...


def _measure(title: str, crons: dict[str, int], faults: tuple[Fault, ...]) -> None:
    registry = Declarations()
    number = 0
    for cron, count in crons.items():
        for _ in range(count):
            key = TaskKey("bench", f"t{number:02}")
            registry.declare(TaskDefinition(key=key, schedule=Schedule.cron(cron), function=key.name), _nothing)
            number += 1
    wall, cpu = time.perf_counter(), time.process_time()
    report = simulate_registry(
        registry, open_backend=MemoryStore().open, duration=DURATION, faults=faults, durations=timedelta(seconds=20)
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    drawn = time.process_time()
    size = len(report.to_html())
    drawn = time.process_time() - drawn
    executed = len(report.executions())
    print(
        f"{title}: {wall:.1f} s of wall time, {cpu:.1f} s of CPU; "
        f"{DURATION.total_seconds() / cpu:,.0f} simulated seconds and {executed / cpu:,.0f} of {executed:,} executions "
        "in a second of CPU; "
        f"page {size / 1e6:.1f} MB in {drawn:.1f} s"
    )


def main() -> None:
    """Print one line for each load."""
    print("30 days, 3 workers, 50 tasks, 20 s a run")
    _measure("mixed, calm", MIXED, ())
    _measure("mixed, 10 leaders killed", MIXED, FAULTS)
    _measure("busy, calm", BUSY, ())
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
