"""How a simulation ends before its time, and what it collects on the way."""

from __future__ import annotations

from dataclasses import dataclass


class SimulationError(RuntimeError):
    """The simulation cannot go on. Never an answer to the code under test."""


class SimDeadlock(SimulationError):
    """Nobody can run, no timer is set, and the simulation is not over."""

    def __init__(
        self, *, time: float, paused: tuple[str, ...], dead: tuple[str, ...], waiting: tuple[str, ...]
    ) -> None:
        self.time = time
        self.paused = paused
        self.dead = dead
        self.waiting = waiting
        super().__init__(
            f"nobody can run at t={time!r}; paused: {_listed(paused)}; dead: {_listed(dead)}; "
            f"waiting: {_listed(waiting)}"
        )


class SimBudget(SimulationError):
    """More steps than allowed: most likely somebody spins without letting time pass."""

    def __init__(self, *, steps: int, time: float) -> None:
        self.steps = steps
        self.time = time
        super().__init__(f"more than {steps} steps at t={time!r}")


class SimLeak(SimulationError):
    """The code under test reached for the real world."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} would leave the simulation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhandled:
    """An error that a node reported to its event loop because nobody else wanted it."""

    node: str
    time: float
    message: str
    error: BaseException | None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
