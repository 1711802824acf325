"""Every known defect dies: by its directed plan, and by random ones."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from task_manager_core.testing.simulation.campaign import simulate
from task_manager_core.testing.simulation.checkers import Violation
from task_manager_core.testing.simulation.plan import Plan
from task_manager_core.testing.simulation.strategies import plans
from task_manager_memory import MemoryStore
from tests.simulation.mutants import MUTANTS, Mutant

BUDGET = 1000
"""Random plans within which a defect has to be found; the hardest needs three quarters of them."""

every_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.key)


def test_there_are_many_of_them() -> None:
    assert sum(mutant.random for mutant in MUTANTS) >= 20
    assert len({mutant.defect for mutant in MUTANTS}) == len(MUTANTS)


@every_mutant
def test_a_directed_plan_kills_it(mutant: Mutant) -> None:
    with mutant.switched_on(), pytest.raises(Violation) as caught:
        simulate(mutant.plan, MemoryStore)
    assert caught.value.invariant == mutant.breaks


@pytest.mark.control
@every_mutant
def test_the_directed_plan_is_harmless_without_it(mutant: Mutant) -> None:
    simulate(mutant.plan, MemoryStore)


@pytest.mark.hunt
@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.random], ids=lambda mutant: mutant.key)
def test_random_plans_kill_it(mutant: Mutant) -> None:
    needed, invariant = hunt(mutant)
    print(f"{mutant.defect}: {invariant} after {needed} plans")
    assert invariant is not None, f"{mutant.defect} survived {needed} plans"


def hunt(mutant: Mutant, *, hypothesis_seed: int = 1) -> tuple[int, str | None]:
    """How many random plans it takes to find the defect, and the invariant that names it; None if it survives."""
    needed = 0
    found: str | None = None

    @seed(hypothesis_seed)
    @settings(
        max_examples=BUDGET,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(plans())
    def survives(plan: Plan) -> None:
        nonlocal needed, found
        if found is None:
            needed += 1
        try:
            simulate(plan, MemoryStore, keep_lines=0)
        except Violation as violation:
            found = found or violation.invariant
            raise

    with mutant.switched_on(), suppress(Violation):
        survives()
    return needed, found
