"""Runs a coroutine in a simulation and returns the result."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.failures import Unhandled
from task_manager_core.testing.cluster.loop import DEFAULT_BUDGET, SimLoop
from task_manager_core.testing.cluster.process import ENVIRONMENT, SimTask, node

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimResult(Generic[_T]):
    """The result of a simulation. Equal `trace_hash` means: the same callbacks in the same order at the same times.

    `unhandled` also has the errors of finished tasks that no code had asked for at the end, if their node was alive and
    had nothing left to do.
    """

    value: _T
    trace_hash: str
    steps: int
    time: float
    unhandled: tuple[Unhandled, ...]
    last_lines: tuple[str, ...]


def run_simulation(
    main: Callable[[], Coroutine[Any, Any, _T]],
    decider: Decider,
    *,
    max_steps: int = DEFAULT_BUDGET,
    keep_lines: int = 20,
) -> SimResult[_T]:
    """Run `main` on the node `ENVIRONMENT` of a new simulation. The simulation ends when `main` returns.

    Raises what `main` raises, or the `SimulationError` that ended the run. A note on the exception tells how to repeat
    the run. The garbage collector is off meanwhile.
    """
    loop = SimLoop(decider, max_steps=max_steps, keep_lines=keep_lines)
    home = contextvars.copy_context()
    home.run(node.set, ENVIRONMENT)
    with _without_garbage_collector(), closing(loop):
        try:
            value = loop.run_until_complete(loop.create_task(main(), context=home))
        except BaseException as error:
            error.add_note(_note(loop))
            raise
    return SimResult(
        value=value,
        trace_hash=loop.trace_hash(),
        steps=loop.steps,
        time=loop.time(),
        unhandled=tuple(loop.unhandled),
        last_lines=loop.trace.last_lines(),
    )


def sim_loop() -> SimLoop:
    """The simulation that the current code runs in."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimLoop):
        raise TypeError("this code does not run in a simulation")
    return loop


def spawn(name: str, coro: Coroutine[Any, Any, _T]) -> SimTask[_T]:
    """Start a coroutine on a node of the current simulation: `SimLoop.spawn`."""
    return sim_loop().spawn(name, coro)


@contextmanager
def _without_garbage_collector() -> Generator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _note(loop: SimLoop) -> str:
    lines = [f"simulated with {loop.decider!r} to t={loop.time()!r}, {loop.steps} steps, trace {loop.trace_hash()}"]
    lines += [f"  unhandled on {one.node} at t={one.time!r}: {one.message}: {one.error!r}" for one in loop.unhandled]
    lines += [f"  {line}" for line in loop.trace.last_lines()]
    return "\n".join(lines)
