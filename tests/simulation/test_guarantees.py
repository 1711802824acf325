"""The table of guarantees says what the code says."""

from __future__ import annotations

from tests.simulation.guarantees import PAGE, figures, page_with, table
from tests.simulation.mutants import MUTANTS


def test_the_table_of_guarantees_is_the_generated_one() -> None:
    """If not: `python -m tests.simulation.guarantees`."""
    assert PAGE.read_text() == page_with(table())


def test_every_defect_was_found_at_random() -> None:
    """If one is missing: `python -m tests.simulation.guarantees --hunt`."""
    found = figures()
    assert found.keys() == {mutant.defect for mutant in MUTANTS if mutant.random}
    assert [defect for defect, (_, invariant) in found.items() if invariant is None] == []
