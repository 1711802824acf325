"""A cluster in one thread: virtual time, a seeded order of events, and nodes that pause and die.

The code under test is the production code. Only the loop below it is another one, and every choice that the world
makes comes out of a `Decider`, so that a failure is a seed, or a short list of deviations, and happens again as often
as you ask.
"""

from task_manager_core.testing.simulation.channel import Latency
from task_manager_core.testing.simulation.checkers import Checker, Violation, every_checker
from task_manager_core.testing.simulation.clock import START, SimClock
from task_manager_core.testing.simulation.decider import Decider
from task_manager_core.testing.simulation.failures import (
    SimBudget,
    SimDeadlock,
    SimLeak,
    SimulationError,
    Unhandled,
)
from task_manager_core.testing.simulation.loop import SimLoop
from task_manager_core.testing.simulation.process import ENVIRONMENT, SimTask, node
from task_manager_core.testing.simulation.run import SimResult, run_simulation, sim_loop, spawn
from task_manager_core.testing.simulation.stores import CopyableStore, SimStore
from task_manager_core.testing.simulation.world import Life, World

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
