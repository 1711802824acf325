"""Each kind of fault has a description and is survived."""

from __future__ import annotations

import pytest

from task_manager_core.testing.campaign.campaign import run_plan
from task_manager_core.testing.campaign.faults import MEANING, Injection, InjectionKind
from task_manager_core.testing.campaign.plan import Plan, TaskPlan
from task_manager_memory import MemoryStore


def test_every_kind_of_fault_has_a_meaning() -> None:
    assert MEANING.keys() == set(InjectionKind)


@pytest.mark.parametrize("kind", InjectionKind, ids=lambda kind: kind.value)
def test_one_fault_of_each_kind_is_survived(kind: InjectionKind) -> None:
    fault = Injection(kind=kind, at=6.2, task=1, length=4.0, amount=0.05)
    plan = Plan(tasks=(TaskPlan(every=3.0), TaskPlan(every=2.0, dynamic=True)), faults=(fault,), duration=14.0)
    assert run_plan(plan, MemoryStore).seen[f"fault: {kind.value}"] >= 1
