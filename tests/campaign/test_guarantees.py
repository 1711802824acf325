"""The table of guarantees has the laws of the code, and the figures of this code."""

from __future__ import annotations

import sys

import pytest

from task_manager_core.testing.campaign.campaign import run_plan
from task_manager_core.testing.campaign.violation import Violation
from task_manager_memory import MemoryStore
from tests.campaign.guarantees import PAGE, Found, broken_by, found, page_with, table
from tests.campaign.mutants import MUTANTS, Mutant

COUNTED_ON = (3, 11)
"""The Python on which the plans were counted."""

CHEAP = 8
"""So many random plans run with every defect. Of the later plans only those run that found a defect."""

HUNTED = [mutant for mutant in MUTANTS if mutant.random]


def test_the_table_of_guarantees_is_the_generated_one() -> None:
    """If not: `python -m tests.campaign.guarantees`."""
    assert PAGE.read_text() == page_with(table())


def test_every_defect_was_found_at_random() -> None:
    """If one is missing: `python -m tests.campaign.guarantees --hunt`."""
    assert found().keys() == {mutant.defect for mutant in HUNTED}


@pytest.mark.parametrize("mutant", HUNTED, ids=lambda mutant: mutant.key)
def test_a_defect_is_exposed_by_the_plan_that_the_table_counts(mutant: Mutant) -> None:
    """If another one does: `python -m tests.campaign.guarantees --hunt`."""
    kept = found()[mutant.defect]
    numbers = range(1, kept.plan + 1) if kept.plan <= CHEAP else [kept.plan]
    with mutant.switched_on():
        broken = ((number, broken_by(number, extended=mutant.extended)) for number in numbers)
        exposed = next((Found(number, name) for number, name in broken if name is not None), None)
        if exposed is None and sys.version_info[:2] != COUNTED_ON:
            # Another Python may run the callbacks of a plan in another order. The defect's own plan has to expose it.
            with pytest.raises(Violation) as caught:
                run_plan(mutant.plan, MemoryStore)
            assert caught.value.invariant == mutant.breaks
            return
    assert exposed == kept


def test_the_plans_that_the_table_counts_break_nothing_without_a_defect() -> None:
    plans = {(found()[mutant.defect].plan, mutant.extended) for mutant in HUNTED}
    assert {plan: broken_by(plan[0], extended=plan[1]) for plan in plans} == dict.fromkeys(plans)
