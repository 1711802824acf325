"""Simulates a schedule in virtual time with the production nodes, and reports what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeGuard

from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.planning import NextSlot, next_slot_after
from task_manager_core.domain.policy import NodePolicy, Retention
from task_manager_core.domain.recurrence import calendar_instant
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import DefinitionWrite, OpenBackend
from task_manager_core.testing.cluster.clock import START
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.link import Latency
from task_manager_core.testing.cluster.run import run_simulation, sim_loop
from task_manager_core.testing.cluster.trace import Trace
from task_manager_core.testing.simulation.durations import Durations, durations_of, fill
from task_manager_core.testing.simulation.execution_log import ExecutionLog, FirstSlots
from task_manager_core.testing.simulation.fault_scheduler import FaultScheduler
from task_manager_core.testing.simulation.faults import Fault
from task_manager_core.testing.simulation.pacing import PacedNode, Pacing
from task_manager_core.testing.simulation.report import Report
from task_manager_core.testing.simulation.results import Settings

MONTH = timedelta(days=30)
CALM = timedelta(hours=1)
"""How long a node may wait between two passes, far from every fault."""

LEAD = timedelta(seconds=1)
"""The workers start so long before the period, so that a slot at its beginning is on time. The tasks are in the store
already, as after a deploy that changes none of them: no slot lies before the period."""

STARTUP = timedelta(seconds=30)
"""After this time one worker leads, and every worker has announced itself."""

MOST_STEPS = 200_000_000
MOST_WORKERS = 100

_INSTANT = timedelta(milliseconds=1)
_AT_ONCE = Latency(base=0.0, spread=0.0)


class _Untraced(Trace):
    """Saves time: no test compares two simulations step by step."""

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
    """Run `workers` processes with these tasks from `start` for `duration`, in virtual time.

    `registry` declares the static tasks and the functions of the `dynamic` ones. No function is called unless
    `durations` is REAL: each run takes a second, or as long as `durations` says. `policy` and `retention` are those of
    production. `latency` is the time of a message to the store; by default there is none. `seed` draws the order of
    events that happen at one instant on different workers. The same arguments give the same report. Far from every
    fault a node waits up to `calm` between two passes. With zero it waits as configured, at a hundred times the cost.

    Errors: DefinitionError for invalid arguments; RuntimeError if an event loop is running; `SimLeak` if a real
    function asks the event loop for connections, programs or signals.
    """
    _check(workers, duration)
    start = _rounded_up("start", start)
    faults = _checked_faults(faults, workers)
    _require_no_running_loop()
    configured = NodePolicy() if policy is None else policy
    begin, end = start - LEAD, _end(start, duration)
    first_slots = [(task, _first_slot(task, start)) for task in (*registry.declared.values(), *dynamic)]
    duration_of = durations_of([task.key for task, _ in first_slots], durations)
    settling = settling_time(configured)

    async def main() -> Report:
        loop = sim_loop()
        loop.trace = _Untraced(keep=0)
        pacing = Pacing(loop.time, calm=calm, settling=settling)
        pacing.start_until(STARTUP.total_seconds())
        log = ExecutionLog(first_slots, begin, loop.time)

        def declare(_cluster: SimCluster, _machine: str, target: Declarations) -> None:
            fill(target, registry, dynamic, duration_of, log.begin)

        async with SimCluster(
            watcher=log,
            open_backend=open_backend,
            declare=declare,
            policy=PacedNode(configured, pacing),
            retention=Retention() if retention is None else retention,
            start=begin,
            latency=latency,
        ) as cluster:
            await _write_tasks(cluster, first_slots)
            for number in range(workers):
                cluster.boot(f"w{number}")
            fault_scheduler = FaultScheduler(cluster, log, pacing, first_slots, begin)
            fault_scheduler.schedule(faults, start, end)
            await cluster.sleep((end - begin - _INSTANT).total_seconds())
            settings = Settings(
                start=start,
                end=end,
                workers=workers,
                concurrency=configured.worker.concurrency,
                calm=calm,
                settling=settling,
                steps=loop.steps,
            )
            return Report(
                settings=settings,
                tasks=log.results(end),
                injected_faults=fault_scheduler.injected.faults(),
                leaders=tuple((log.instant(at), leader) for at, leader in log.leaders),
                unused_faults=fault_scheduler.unused(),
                errors=(
                    *log.errors,
                    *(f"{one.node}: {one.message}: {one.error!r}" for one in loop.unhandled),
                ),
            )

    return run_simulation(main, Decider(seed), max_steps=MOST_STEPS).value


async def _write_tasks(cluster: SimCluster, first_slots: FirstSlots) -> None:
    """Write the tasks to the store as it has them when the period begins."""
    writes = [DefinitionWrite(definition=task, expected=0, replan=True, next_slot=first) for task, first in first_slots]
    if writes:
        await cluster.backend.catalogue.put(writes)


def _first_slot(task: TaskDefinition, start: datetime) -> NextSlot | None:
    """The first slot at or after `start`. For a task that runs on start it is `start` itself."""
    if task.run_on_start and task.schedule.holds(start):
        return NextSlot(slot=start, due_at=start)
    return next_slot_after(task, start - datetime.resolution)


def settling_time(policy: NodePolicy) -> timedelta:
    """How long a fault may have effects after its end: the lease and the claims of a dead worker end, the reconciler
    runs twice, and the presence of the worker ends."""
    leadership = policy.leadership.lease + policy.leadership.retry_interval
    return leadership + policy.worker.claim_ttl + 2 * policy.reconciliation_interval + policy.presence_ttl


def _check(workers: object, duration: object) -> None:
    if not isinstance(workers, int) or isinstance(workers, bool) or not 1 <= workers <= MOST_WORKERS:
        raise DefinitionError("workers", workers, f"must be 1 to {MOST_WORKERS}, a whole number")
    if not isinstance(duration, timedelta) or duration <= timedelta(0):
        raise DefinitionError("duration", duration, "must be a timedelta of more than 0 seconds")


def _rounded_up(field: str, instant: datetime) -> datetime:
    """The instant in UTC, rounded up to whole milliseconds, as every store keeps it."""
    whole = calendar_instant(field, instant)
    return whole if whole >= instant else whole + _INSTANT


def _end(start: datetime, duration: timedelta) -> datetime:
    """The end of the period. It must lie in the calendar of the schedules."""
    try:
        end = start + duration
    except OverflowError:
        raise DefinitionError("duration", duration, "leads out of the calendar") from None
    return calendar_instant("duration", end)


def _checked_faults(faults: object, workers: int) -> list[Fault]:
    if not _is_iterable(faults):
        raise DefinitionError("faults", faults, "must be a list of faults")
    found: list[Fault] = []
    for fault in faults:
        if not isinstance(fault, Fault):
            raise DefinitionError("faults", fault, "is not a fault")
        if isinstance(fault.worker, int) and fault.worker >= workers:
            raise DefinitionError("worker", fault.worker, f"workers are counted from 0 to {workers - 1} here")
        found.append(fault)
    return found


def _is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable)


def _require_no_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "a simulation has an event loop of its own and cannot run inside another; "
        "there, write `await asyncio.to_thread(simulate, ...)`"
    )
