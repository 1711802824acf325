"""Every known defect is exposed by its own plan, and by random ones."""

from __future__ import annotations

import pytest

from task_manager_core.testing.campaign.campaign import run_plan
from task_manager_core.testing.campaign.checkers import Violation
from task_manager_memory import MemoryStore
from tests.campaign.guarantees import found, hunt
from tests.campaign.mutants import MUTANTS, Mutant

every_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.key)


def test_there_are_many_of_them() -> None:
    assert sum(mutant.random for mutant in MUTANTS) >= 20
    assert len({mutant.defect for mutant in MUTANTS}) == len(MUTANTS)


@every_mutant
def test_its_own_plan_exposes_it(mutant: Mutant) -> None:
    with mutant.switched_on(), pytest.raises(Violation) as caught:
        run_plan(mutant.plan, MemoryStore)
    assert caught.value.invariant == mutant.breaks


@pytest.mark.control
@every_mutant
def test_its_own_plan_breaks_nothing_without_it(mutant: Mutant) -> None:
    run_plan(mutant.plan, MemoryStore)


@pytest.mark.hunt
@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.random], ids=lambda mutant: mutant.key)
def test_random_plans_expose_it(mutant: Mutant) -> None:
    assert hunt(mutant) == found()[mutant.defect]
