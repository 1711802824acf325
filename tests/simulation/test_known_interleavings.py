"""What the simulation has found in the product, kept: one plan each, which used to break the invariant in its name."""

from __future__ import annotations

import pytest

from task_manager_core.testing.simulation.campaign import simulate
from task_manager_core.testing.simulation.channel import Side
from task_manager_core.testing.simulation.faults import Fault, FaultKind, Point
from task_manager_core.testing.simulation.plan import Plan, TaskPlan
from task_manager_memory import MemoryStore

FOUND: dict[str, Plan] = {
    # Ever shorter rests before an instant, none of which a clock that runs slow sees the end of.
    "a slow clock does not keep a loop spinning": Plan(
        tasks=(TaskPlan(every=10.0, duration=3.0, run_on_start=True),),
        faults=(Fault(kind=FaultKind.DRIFT, at=0.2, amount=-0.08),),
    ),
    # With equal pauses two workers handed a run that they do not know to each other, past the one that does.
    "workers that do not know a function do not take turns for ever": Plan(
        tasks=(
            TaskPlan(every=2.0, overlap="buffer_one", priority="high", duration=1.0, failures=2, backoff=0.5, only=0),
            TaskPlan(every=6.0, overlap="skip", priority="high", duration=5.0, max_retries=1, run_on_start=True),
            TaskPlan(every=6.0, cron=True, catch_up="all", priority="high", duration=1.0, backoff=3.0, only=1),
        ),
        faults=(Fault(kind=FaultKind.PAUSE, at=Point("claim", 5, Side.BEFORE), machine=1, length=8.0),),
        tiny=True,
    ),
    # Its claim was lost, and so was a reply to the worker's next request: it was given again before it was reaped.
    "an attempt that was interrupted is not started again": Plan(
        tasks=(TaskPlan(duration=10.0, overlap="skip"),),
        faults=(Fault(kind=FaultKind.DOWN, at=4.2, length=4.0),),
    ),
    # It does not know that the attempt has been executed and settled: to execute it again is all that anybody can do.
    "an attempt of a store that was set back is started once more": Plan(
        tasks=(TaskPlan(), TaskPlan(), TaskPlan(run_on_start=True), TaskPlan(run_on_start=True)),
        faults=(
            Fault(kind=FaultKind.SLOW, at=1.1, length=2.0, amount=0.1),
            Fault(kind=FaultKind.REWIND, at=Point("settle", 1, Side.BEFORE), length=2.0),
        ),
    ),
    # With the same token: the attempt that its first giving started was forgotten by its worker.
    "a claim is given again by a store that was set back": Plan(
        tasks=(
            TaskPlan(every=6.0, slot_jitter=1.0, run_on_start=True),
            TaskPlan(every=2.0, cron=True, overlap="skip", duration=5.0, slot_jitter=1.0, dynamic=True),
            TaskPlan(every=2.0, cron=True, slot_jitter=1.0, run_on_start=True, sync=True, only=1),
            TaskPlan(every=10.0, cron=True, duration=0.0, run_on_start=True),
        ),
        faults=(
            Fault(kind=FaultKind.SLOW, at=11.3, length=2.0, amount=0.1),
            Fault(kind=FaultKind.ERROR, at=17.2),
            Fault(kind=FaultKind.DEAF, at=6.3, machine=2, length=1.0),
            Fault(kind=FaultKind.ENABLE, at=0.0),
            Fault(kind=FaultKind.ERROR, at=0.1),
            Fault(kind=FaultKind.PAUSE, at=1.1, length=8.0),
            Fault(kind=FaultKind.ENABLE, at=1.1),
            Fault(kind=FaultKind.PAUSE, at=19.8, length=4.0),
            Fault(kind=FaultKind.REWIND, at=Point("commit", 7, Side.AFTER), machine=2, length=2.0),
        ),
        seed=2086,
    ),
    # The store lost a change and was written to before anybody looked: readers asked for what is newer than the loss.
    **{
        f"a change that the store lost does not end the task, written to {delay} ms later": Plan(
            tasks=(TaskPlan(), TaskPlan(every=2.0, dynamic=True), TaskPlan(every=2.0, dynamic=True)),
            faults=(
                Fault(kind=FaultKind.REMOVE, at=2.5, task=2),
                Fault(kind=FaultKind.CHANGE, at=5.3, task=1),
                Fault(kind=FaultKind.REWIND, at=8.0, length=4.0),
                Fault(kind=FaultKind.ADD, at=7.985 + delay / 1000, task=2, machine=1),
            ),
            duration=12.0,
        )
        for delay in range(8, 16)
    },
}


@pytest.mark.parametrize("plan", FOUND.values(), ids=list(FOUND))
def test_what_was_found_stays_mended(plan: Plan) -> None:
    simulate(plan, MemoryStore)
