"""Plans whose machines have some of the duties, and whose tasks name queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from task_manager_core.domain.duties import Duties, Role
from task_manager_core.testing.campaign.campaign import run_plan
from task_manager_core.testing.campaign.plan import Plan
from task_manager_core.testing.campaign.random_plans import random_plan
from task_manager_memory import MemoryStore

QUEUES = ("default", "mail", "mail")
DIVISIONS = (
    ("", "schedule", "execute@mail"),
    ("schedule", "execute@default", "execute@mail,default"),
    ("none", "", "execute"),
)


def divided(number: int) -> Plan:
    """A random plan whose machines divide the work."""
    plan = random_plan(number)
    tasks = tuple(replace(task, queue=QUEUES[index % len(QUEUES)]) for index, task in enumerate(plan.tasks))
    # The others cannot do the duties of a machine that is never healed.
    return replace(plan, tasks=tasks, duties=DIVISIONS[number % len(DIVISIONS)], broken=())


def test_the_duties_of_a_machine_stand_in_the_plan() -> None:
    plan = Plan.parse(divided(1).text())
    assert plan == divided(1)
    assert plan.duties_of("w0") == Duties(roles=frozenset({Role.SCHEDULE}))
    assert plan.duties_of("w2") == Duties(roles=frozenset({Role.EXECUTE}), queues=frozenset({"mail", "default"}))
    assert (Plan().duties_of("w1"), divided(2).duties_of("w0").roles) == (Duties(), frozenset())


@pytest.mark.parametrize("number", range(9))
def test_machines_that_divide_the_work_break_nothing(number: int) -> None:
    run_plan(divided(number), MemoryStore)
