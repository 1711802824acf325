"""Runs a schedule in virtual time with the production nodes, and reports."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeGuard

from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.policy import NodePolicy, Retention
from task_manager_core.domain.recurrence import calendar_instant
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import OpenBackend
from task_manager_core.testing.cluster.clock import START
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.link import Latency
from task_manager_core.testing.cluster.run import run_simulation, sim_loop
from task_manager_core.testing.cluster.trace import Trace
from task_manager_core.testing.simulation.durations import Durations, durations_of, fill
from task_manager_core.testing.simulation.execution_log import ExecutionLog
from task_manager_core.testing.simulation.faults import Fault
from task_manager_core.testing.simulation.pacing import PacedNode, Pacing
from task_manager_core.testing.simulation.recorded_cluster import FaultScheduler, RecordedCluster, first_slot
from task_manager_core.testing.simulation.report import Report, Settings

MONTH = timedelta(days=30)
CALM = timedelta(hours=1)
"""The longest rest of a node far from any fault."""

LEAD = timedelta(seconds=1)
"""The workers start so long before the period, so that a slot at its very beginning is on time. No slot lies before
the period: the tasks stand in the store already, as after a deploy that changes none."""

OPENING = timedelta(seconds=30)
"""By then somebody leads, and everybody is known to everybody."""

MOST_STEPS = 200_000_000
MOST_WORKERS = 100

_INSTANT = timedelta(milliseconds=1)
_AT_ONCE = Latency(base=0.0, spread=0.0)


class _Untraced(Trace):
    """Nobody compares two rehearsals step by step."""

    def write(self, time: str, node: str, callback: str) -> None: ...


def simulate_registry(
    registry: Declarations,
    *,
    open_backend: OpenBackend,
    dynamic: Collection[TaskDefinition] = (),
    policy: NodePolicy | None = None,
    retention: Retention | None = None,
    workers: int = 3,
    start: datetime = START,
    duration: timedelta = MONTH,
    faults: Sequence[Fault] = (),
    durations: Durations | None = None,
    latency: Latency = _AT_ONCE,
    seed: int | None = None,
    calm: timedelta = CALM,
) -> Report:
    """Let `workers` processes with these tasks live from `start` for `duration`, in virtual time.

    `registry` declares the static tasks and the functions of the `dynamic` ones. No function is called unless
    `durations` says REAL: each run takes a second, or as long as said. `policy` and `retention` are those of
    production; `latency` is the way to the store, none if nothing is said. `seed` draws the order of what happens at
    one instant on different workers; the same arguments give the same report. `calm` is the longest rest of a node far
    from any fault: with zero every rest is the configured one, at a hundred times the cost.

    Errors: DefinitionError for what cannot be; RuntimeError where an event loop is running; `SimLeak` if a real
    function asks the event loop for connections, programs or signals.
    """
    _check(workers, duration)
    start = _whole("start", start)
    faults = _checked(faults, workers)
    _refuse_a_running_loop()
    configured = NodePolicy() if policy is None else policy
    begin, end = start - LEAD, _end(start, duration)
    opening = [(task, first_slot(task, start)) for task in (*registry.declared.values(), *dynamic)]
    bodies = durations_of([task.key for task, _ in opening], durations)
    settling = settling_time(configured)

    async def main() -> Report:
        loop = sim_loop()
        loop.trace = _Untraced(keep=0)
        tide = Pacing(loop.time, calm=calm, settling=settling)
        tide.open_until(OPENING.total_seconds())
        chronicle = ExecutionLog(opening, begin, loop.time)

        def declare(_world: SimCluster, _machine: str, target: Declarations) -> None:
            fill(target, registry, dynamic, bodies, chronicle.begin)

        async with RecordedCluster(
            chronicle=chronicle,
            open_backend=open_backend,
            declare=declare,
            policy=PacedNode(configured, tide),
            retention=Retention() if retention is None else retention,
            start=begin,
            latency=latency,
        ) as stage:
            await stage.add(opening)
            for number in range(workers):
                stage.boot(f"w{number}")
            strikes = FaultScheduler(stage, tide, opening, begin)
            strikes.plan(faults, start, end)
            await stage.sleep((end - begin - _INSTANT).total_seconds())
            circumstances = Settings(
                start=start,
                end=end,
                workers=workers,
                concurrency=configured.worker.concurrency,
                calm=calm,
                settling=settling,
                steps=loop.steps,
            )
            return Report(
                settings=circumstances,
                stories=chronicle.results(end),
                marks=strikes.marks.told(),
                leaders=tuple((chronicle.instant(at), who) for at, who in chronicle.leaders),
                unused_faults=strikes.left(),
                errors=(
                    *chronicle.errors,
                    *(f"{one.node}: {one.message}: {one.error!r}" for one in loop.unhandled),
                ),
            )

    return run_simulation(main, Decider(seed), max_steps=MOST_STEPS).value


def settling_time(policy: NodePolicy) -> timedelta:
    """How long after a fault the last trace of it is gone: a lease and a claim have ended, the reconciler has looked
    twice, and whoever is gone is known to be gone."""
    leadership = policy.leadership.lease + policy.leadership.retry_interval
    return leadership + policy.worker.claim_ttl + 2 * policy.reconciliation_interval + policy.presence_ttl


def _check(workers: object, duration: object) -> None:
    if not isinstance(workers, int) or isinstance(workers, bool) or not 1 <= workers <= MOST_WORKERS:
        raise DefinitionError("workers", workers, f"must be 1 to {MOST_WORKERS}, a whole number")
    if not isinstance(duration, timedelta) or duration <= timedelta(0):
        raise DefinitionError("duration", duration, "must be a timedelta of more than 0 seconds")


def _whole(field: str, instant: datetime) -> datetime:
    """In UTC, since a local zone would count hours of the wrong length, and in the milliseconds of every store; not
    before what was asked for."""
    whole = calendar_instant(field, instant)
    return whole if whole >= instant else whole + _INSTANT


def _end(start: datetime, duration: timedelta) -> datetime:
    """Of the calendar that schedules know, too."""
    try:
        end = start + duration
    except OverflowError:
        raise DefinitionError("duration", duration, "leads out of the calendar") from None
    return calendar_instant("duration", end)


def _checked(faults: object, workers: int) -> list[Fault]:
    if not _is_iterable(faults):
        raise DefinitionError("faults", faults, "must be a list of faults")
    found: list[Fault] = []
    for fault in faults:
        if not isinstance(fault, Fault):
            raise DefinitionError("faults", fault, "is no fault")
        if isinstance(fault.worker, int) and fault.worker >= workers:
            raise DefinitionError("worker", fault.worker, f"workers count from 0 to {workers - 1} here")
        found.append(fault)
    return found


def _is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable)


def _refuse_a_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "a simulation has an event loop of its own and cannot run inside another; "
        "there, write `await asyncio.to_thread(simulate, ...)`"
    )
