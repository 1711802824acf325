"""The speed of a simulated cluster: `make bench-simulation`.

Five production nodes with twenty tasks over the memory store, with every checker and without. The bare loop is measured
by `python -m tests.benchmarks.simulated_loop`.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import NodePolicy
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.campaign.checkers import every_checker
from task_manager_core.testing.campaign.monitor import Monitor
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.run import run_simulation
from task_manager_memory import MemoryStore

NODES = 5
TASKS = 20
HORIZON = 600.0
# Every ten seconds each: two runs start each second.
TASKS_OF_ALL = tuple(
    TaskDefinition(
        key=TaskKey("g", f"t{number:02}"), schedule=Schedule.every(timedelta(seconds=10)), function=f"t{number:02}"
    )
    for number in range(TASKS)
)


def _measure(title: str, policy: NodePolicy, monitor: Monitor | None) -> None:
    runs = 0

    def declare(_cluster: SimCluster, _machine: str, declarations: Declarations) -> None:
        async def work(context: RunContext) -> None:
            nonlocal runs
            runs += 1
            execution = None if monitor is None else monitor.begin(context, limit=None)
            await asyncio.sleep(0.5)
            if execution is not None:
                execution.ended = "returned"

        for task in TASKS_OF_ALL:
            declarations.declare(task, work)

    async def main() -> int:
        async with SimCluster(
            open_backend=MemoryStore().open, declare=declare, policy=policy, watcher=monitor
        ) as cluster:
            for number in range(NODES):
                cluster.boot(f"w{number}")
            await cluster.sleep(HORIZON)
            return runs

    started = time.perf_counter()
    result = run_simulation(main, Decider(1))
    wall = time.perf_counter() - started
    print(
        f"{title}: {HORIZON / wall:,.0f} simulated seconds a second "
        f"({result.steps / wall:,.0f} steps a second, {result.value} runs)"
    )


def main() -> None:
    """Print one line for each configuration."""
    print(f"{NODES} nodes, {TASKS} tasks, {HORIZON:g} simulated seconds")
    usual = NodePolicy()
    calm = NodePolicy(poll_interval=timedelta(seconds=1), refresh_interval=timedelta(seconds=5))
    _measure("usual settings, every checker", usual, Monitor(every_checker()))
    _measure("usual settings, no checker", usual, None)
    _measure("polls of 1 s, every checker", calm, Monitor(every_checker()))
    _measure("polls of 1 s, no checker", calm, None)


if __name__ == "__main__":
    main()
