"""From a coroutine and a decider to a result."""

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
    """What a simulation came to. Equal `trace_hash` means: the same callbacks in the same order at the same times.

    `unhandled` includes errors of tasks that nobody had asked for when the run ended, though their node was alive and
    had nothing left to do at that moment.
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
    """Run `main` on the node `ENVIRONMENT` of a fresh simulation; when it returns, the simulation is over.

    Raises what `main` raises, or the `SimulationError` that ended the run; a note on the exception tells how to see it
    again. The garbage collector is off meanwhile.
    """
    loop = SimLoop(decider, max_steps=max_steps, keep_lines=keep_lines)
    home = contextvars.copy_context()
    home.run(node.set, ENVIRONMENT)
    with _garbage_kept(), closing(loop):
        try:
            value = loop.run_until_complete(loop.create_task(main(), context=home))
        except BaseException as error:
            error.add_note(_story(loop))
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
def _garbage_kept() -> Generator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _story(loop: SimLoop) -> str:
    lines = [f"simulated with {loop.decider!r} to t={loop.time()!r}, {loop.steps} steps, trace {loop.trace_hash()}"]
    lines += [f"  unhandled on {one.node} at t={one.time!r}: {one.message}: {one.error!r}" for one in loop.unhandled]
    lines += [f"  {line}" for line in loop.trace.last_lines()]
    return "\n".join(lines)
