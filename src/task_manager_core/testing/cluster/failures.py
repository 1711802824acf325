"""The errors that end a simulation early, and the errors that it collects."""

from __future__ import annotations

from dataclasses import dataclass


class SimulationError(RuntimeError):
    """The simulation cannot go on. The code under test never gets this as an answer."""


class SimDeadlock(SimulationError):
    """No node can run, no timer is set, and `main` has not returned."""

    def __init__(
        self, *, time: float, paused: tuple[str, ...], dead: tuple[str, ...], waiting: tuple[str, ...]
    ) -> None:
        self.time = time
        self.paused = paused
        self.dead = dead
        self.waiting = waiting
        super().__init__(
            f"no node can run at t={time!r}; paused: {_listed(paused)}; dead: {_listed(dead)}; "
            f"waiting: {_listed(waiting)}"
        )


class SimBudget(SimulationError):
    """More steps than allowed. Most likely some code spins and lets no time pass."""

    def __init__(self, *, steps: int, time: float) -> None:
        self.steps = steps
        self.time = time
        super().__init__(f"more than {steps} steps at t={time!r}")


class SimLeak(SimulationError):
    """The code under test used something outside the simulation."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} would leave the simulation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhandled:
    """An error that reached the event loop because no code handled it."""

    node: str
    time: float
    message: str
    error: BaseException | None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
