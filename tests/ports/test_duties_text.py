"""The duties of a process in the text of its presence."""

from __future__ import annotations

import pytest

from task_manager_core.domain.duties import ALL_DUTIES, Duties, Role
from task_manager_core.ports.duties_text import duties_members, read_duties
from task_manager_core.ports.reader import Reader


@pytest.mark.parametrize(
    "duties",
    [
        ALL_DUTIES,
        Duties(roles=frozenset()),
        Duties(queues=frozenset({"a", "b"})),
        Duties(roles=frozenset({Role.EXECUTE})),
    ],
)
def test_duties_are_read_as_they_were_written(duties: Duties) -> None:
    assert read_duties(Reader("a presence", duties_members(duties))) == duties


def test_a_process_with_all_duties_writes_none() -> None:
    assert duties_members(ALL_DUTIES) == {}


def test_a_role_of_a_later_release_is_left_out() -> None:
    assert read_duties(Reader("a presence", {"roles": ["execute", "later"]})) == Duties(roles=frozenset({Role.EXECUTE}))
