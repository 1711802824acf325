"""Each checker is the first to catch some known defect."""

from __future__ import annotations

from task_manager_core.testing.campaign.checkers import CHECKERS
from task_manager_core.testing.campaign.liveness import Liveness
from tests.campaign.mutants import MUTANTS


def test_there_is_one_checker_for_each_invariant() -> None:
    assert sorted(kind.invariant for kind in CHECKERS) == sorted(f"I{number}" for number in range(1, 21))


def test_each_states_its_law_and_what_makes_it_true() -> None:
    for kind in CHECKERS:
        assert kind.law.endswith("."), kind
        assert kind.because.endswith("."), kind


def test_each_is_the_first_to_catch_some_defect() -> None:
    caught = {mutant.breaks for mutant in MUTANTS}
    wanted = {kind.invariant for kind in CHECKERS} | {Liveness.invariant}
    assert wanted - caught == set()
