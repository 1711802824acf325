"""What the tests of the simulated loop share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TypeVar

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.run import run_simulation, sim_loop

_T = TypeVar("_T")


def simulate(main: Callable[[], Coroutine[object, None, _T]], seed: int | None = None) -> _T:
    """Run a simulation and return the value of `main`. Without a seed the decider is calm."""
    return run_simulation(main, Decider(seed)).value


def now() -> float:
    """Virtual seconds."""
    return sim_loop().time()
