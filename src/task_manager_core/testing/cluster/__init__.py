"""A cluster in one thread: virtual time, a seeded order of events, and nodes that pause and die.

The code under test is the production code. Only the loop below it is another one, and every choice that the world
makes comes out of a `Decider`, so that a failure is a seed, or a short list of deviations, and happens again as often
as you ask.
"""

from task_manager_core.testing.campaign.checkers import Checker, Violation, every_checker
from task_manager_core.testing.cluster.clock import START, SimClock
from task_manager_core.testing.cluster.cluster import Life, World
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.failures import (
    SimBudget,
    SimDeadlock,
    SimLeak,
    SimulationError,
    Unhandled,
)
from task_manager_core.testing.cluster.link import Latency
from task_manager_core.testing.cluster.loop import SimLoop
from task_manager_core.testing.cluster.process import ENVIRONMENT, SimTask, node
from task_manager_core.testing.cluster.run import SimResult, run_simulation, sim_loop, spawn
from task_manager_core.testing.cluster.stores import CopyableStore, SimStore

__all__ = [
    "ENVIRONMENT",
    "START",
    "Checker",
    "CopyableStore",
    "Decider",
    "Latency",
    "Life",
    "SimBudget",
    "SimClock",
    "SimDeadlock",
    "SimLeak",
    "SimLoop",
    "SimResult",
    "SimStore",
    "SimTask",
    "SimulationError",
    "Unhandled",
    "Violation",
    "World",
    "every_checker",
    "node",
    "run_simulation",
    "sim_loop",
    "spawn",
]
