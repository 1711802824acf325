"""Random plans break no invariant, and cover everything that can happen."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from task_manager_core.testing.campaign.campaign import EVERYTHING, run_plan
from task_manager_core.testing.campaign.faults import Injection, InjectionKind, Point
from task_manager_core.testing.campaign.plan import Plan, TaskPlan
from task_manager_core.testing.campaign.strategies import calm_plans, plans
from task_manager_memory import MemoryStore

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
PLANS = {"long": 400, "nightly": 6000}.get(PROFILE, 40)


def pauses(operation: str) -> tuple[Injection, ...]:
    """Every machine stands still before the first call of this operation, until its claims are lost."""
    return tuple(
        Injection(kind=InjectionKind.PAUSE, at=Point(operation, 1), machine=machine, length=8.0) for machine in range(3)
    )


# What happens rarely in random plans, each with a plan in which it happens.
RARE: dict[str, Plan] = {
    "deposition": Plan(faults=(Injection(kind=InjectionKind.KILL, at=7.5),)),
    "fenced write": Plan(faults=(Injection(kind=InjectionKind.PAUSE, at=Point("commit", 2), length=5.0),)),
    "skipped: deleted": Plan(
        tasks=(TaskPlan(), TaskPlan(every=2.0, dynamic=True)),
        faults=(
            Injection(kind=InjectionKind.KILL, at=5.0),
            Injection(kind=InjectionKind.CHANGE, at=6.5, machine=1, task=1),
        ),
    ),
    "overtaken decision": Plan(
        tasks=(TaskPlan(overlap="skip", duration=1.0),),
        faults=(Injection(kind=InjectionKind.TRIGGER, at=Point("commit", 2)),),
    ),
    "cancelled run": Plan(tasks=(TaskPlan(duration=3.0),), faults=(Injection(kind=InjectionKind.CANCEL, at=5.0),)),
    "expired run": Plan(tasks=(TaskPlan(every=2.0, duration=5.0, overlap="buffer_one", deadline=2.0),)),
    "skipped: deadline": Plan(
        tasks=(TaskPlan(every=2.0, deadline=3.0),), faults=(Injection(kind=InjectionKind.DOWN, at=5.0, length=8.0),)
    ),
    "skipped: store_lost": Plan(tasks=(TaskPlan(every=2.0),), faults=(Injection(kind=InjectionKind.WIPE, at=5.6),)),
    "request refused": Plan(faults=(Injection(kind=InjectionKind.TRIGGER, at=3.0, amount=1.0),)),
    "retired task": Plan(
        tasks=(TaskPlan(), TaskPlan(every=2.0, only=2)),
        faults=(Injection(kind=InjectionKind.KILL, at=1.0, machine=2),),
        duration=40.0,
    ),
    "result kept": Plan(tasks=(TaskPlan(returns=True),)),
    "cursor kept": Plan(tasks=(TaskPlan(cursor=True),)),
    "cursor read": Plan(tasks=(TaskPlan(cursor=True),)),
    "lost result": Plan(tasks=(TaskPlan(returns=True),), faults=pauses("settle")),
    "progress shown": Plan(tasks=(TaskPlan(duration=5.0, progress=True),)),
    "lost progress": Plan(tasks=(TaskPlan(every=6.0, duration=5.0, progress=True),), faults=pauses("report")),
    "callback: Succeeded": Plan(tasks=(TaskPlan(callbacks=True),)),
    "callback: Retried": Plan(tasks=(TaskPlan(failures=1, callbacks=True),)),
    "callback: Exhausted": Plan(tasks=(TaskPlan(failures=1, max_retries=0, callbacks=True),)),
    "one-off task removed": Plan(tasks=(TaskPlan(), TaskPlan(dynamic=True, once=4.0))),
    "delayed run started": Plan(faults=(Injection(kind=InjectionKind.LATER, at=3.0, length=2.0),)),
    "requested run expired": Plan(
        machines=1,
        tasks=(TaskPlan(duration=10.0),),
        faults=(Injection(kind=InjectionKind.LATER, at=9.0, length=1.0, amount=0.2),),
    ),
}


CRASHING = TaskPlan(every=60.0, crashes=9, max_lost_attempts=1)
"""Each attempt ends its process."""


def campaign(strategy: st.SearchStrategy[Plan], examples: int, *chosen: Plan) -> Counter[str]:
    """Run the chosen plans and so many random ones. The answer counts what happened, by its name.

    The random plans are the same every time, except for the nightly ones.
    """
    seen: Counter[str] = Counter()
    for plan in chosen:
        seen.update(run_plan(plan, MemoryStore).seen)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=PROFILE != "nightly",
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(strategy)
    def no_invariant_breaks(plan: Plan) -> None:
        seen.update(run_plan(plan, MemoryStore).seen)
        seen["plans"] += 1

    no_invariant_breaks()
    return seen


@pytest.mark.parametrize("name", RARE)
def test_what_is_rare_happens_in_its_plan(name: str) -> None:
    assert run_plan(RARE[name], MemoryStore).seen[name] > 0


def test_a_task_that_ends_its_process_each_time_is_given_up_and_harms_no_other_run() -> None:
    """Two losses end the run. The runs of the other task, some of which lost a worker, too, succeed."""
    plan = Plan(tasks=(CRASHING, TaskPlan(every=2.0)), faults=(Injection(kind=InjectionKind.TRIGGER, at=3.0),))
    seen = run_plan(plan, MemoryStore).seen
    assert seen["exhausted run"] == 1
    assert seen["reaped claim"] >= 2
    assert seen["retry"] == 0


def test_no_invariant_breaks_without_faults() -> None:
    seen = campaign(calm_plans(), PLANS // 4)
    assert seen["operation: commit"] > 0
    assert seen["takeover"] == 0


@pytest.mark.hypothesis
def test_no_invariant_breaks_with_faults() -> None:
    seen = campaign(plans(), PLANS, *RARE.values())
    print(f"{seen['plans']} plans; seen: {dict(sorted(seen.items()))}")
    if PROFILE in {"long", "nightly"}:
        assert [name for name in EVERYTHING if not seen[name]] == []
