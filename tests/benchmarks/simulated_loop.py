"""The speed of simulated time: `python -m tests.benchmarks.simulated_loop`."""

from __future__ import annotations

import asyncio
import time

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.run import run_simulation, spawn

NODES = 5
INTERVAL = 0.1
HORIZON = 3600.0
REPEATS = 3


async def _toy() -> None:
    while True:  # noqa: ASYNC110 - waking up is what is measured
        await asyncio.sleep(INTERVAL)


async def _cluster() -> None:
    for number in range(NODES):
        spawn(f"w{number}", _toy())
    await asyncio.sleep(HORIZON)


def main() -> None:
    """Print one line for each repetition."""
    for _ in range(REPEATS):
        started = time.perf_counter()
        result = run_simulation(_cluster, Decider(1))
        wall = time.perf_counter() - started
        print(
            f"{NODES} nodes, a wake-up every {INTERVAL} s: {HORIZON / wall:,.0f} simulated seconds a second, "
            f"{result.steps / wall:,.0f} steps a second, trace {result.trace_hash}"
        )


if __name__ == "__main__":
    main()
