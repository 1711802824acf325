"""Every broken store fails the test of the law that it breaks."""

from __future__ import annotations

import pytest

from tests.testing.broken import BROKEN
from tests.testing.broken.judging import failures, judgements
from tests.testing.broken.making import BrokenStore

# The exceptions of a test that finds a defect: an assertion, or an answer with fewer parts than the test unpacks. A
# broken store that does not fit the ports any more raises other exceptions.
SEEN = (AssertionError, ValueError)


def test_each_has_a_mistake_of_its_own() -> None:
    assert len({broken.mistake for broken in BROKEN}) == len(BROKEN)


@pytest.mark.parametrize("broken", BROKEN, ids=str)
async def test_the_law_that_it_breaks_turns_red(broken: BrokenStore) -> None:
    [law] = {judgement.law for judgement in judgements(broken.killed_by)}
    assert f"{law.port} {law.number}" == broken.law
    found = await failures(broken.open_harness, broken.killed_by)
    assert found, f"{broken.killed_by} lets it pass"
    for error in found:
        assert isinstance(error, SEEN), repr(error)
