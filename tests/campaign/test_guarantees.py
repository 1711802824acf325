"""The table of guarantees has the laws of the code, and the figures of this code."""

from __future__ import annotations

import pytest

from tests.campaign.guarantees import PAGE, Found, broken_by, found, page_with, table
from tests.campaign.mutants import MUTANTS, Mutant

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
        exposed = next((Found(number, name) for number in numbers if (name := broken_by(number))), None)
    assert exposed == kept


def test_the_plans_that_the_table_counts_break_nothing_without_a_defect() -> None:
    numbers = {one.plan for one in found().values()}
    assert {number: broken_by(number) for number in numbers} == dict.fromkeys(numbers)
