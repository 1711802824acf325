"""A cluster in one thread: virtual time, a seeded order of events, and nodes that pause and die.

The code under test is the production code. Only the loop below it is another one, and every choice that the world
makes comes out of a `Decider`, so that a failure is a seed, or a short list of deviations, and happens again as often
as you ask.
"""

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

__all__ = [
    "ENVIRONMENT",
    "Decider",
    "SimBudget",
    "SimDeadlock",
    "SimLeak",
    "SimLoop",
    "SimResult",
    "SimTask",
    "SimulationError",
    "Unhandled",
    "node",
    "run_simulation",
    "sim_loop",
    "spawn",
]
