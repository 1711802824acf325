"""Roles and queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from task_manager_core.domain.duties import MOST_QUEUES, Duties, Role, check_queue
from task_manager_core.domain.errors import InvalidPolicy
from tests.application.cluster import a_task

EXECUTE = frozenset({Role.EXECUTE})


def test_a_process_does_everything_by_default() -> None:
    duties = Duties()
    assert (duties.schedules, duties.executes, duties.serves("any")) == (True, True, True)


def test_a_process_without_execute_serves_no_queue() -> None:
    duties = Duties(roles=frozenset({Role.SCHEDULE}))
    assert (duties.schedules, duties.executes, duties.serves("default")) == (True, False, False)


def test_a_process_serves_the_queues_that_it_names() -> None:
    duties = Duties(roles=EXECUTE, queues=frozenset({"heavy"}))
    assert (duties.serves("heavy"), duties.serves("default")) == (True, False)


@pytest.mark.parametrize(
    ("roles", "queues", "text"),
    [
        (frozenset[Role](), {"heavy"}, "queues=['heavy']: contradicts roles=[]"),
        ({Role.SCHEDULE}, {"b", "a"}, "queues=['a', 'b']: contradicts roles=['schedule']"),
        (EXECUTE, set[str](), "queues=[]: must name a queue"),
        (EXECUTE, {"a,b"}, "queues='a,b': the name of a queue"),
        (EXECUTE, {f"{number}" for number in range(MOST_QUEUES + 1)}, "queues=101: must be at most 100"),
    ],
)
def test_contradictions_are_refused_with_both_names(roles: set[Role], queues: set[str], text: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        Duties(roles=frozenset(roles), queues=frozenset(queues))
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["default", "a", "A.b-c_9", "x" * 64])
def test_names_of_queues(name: str) -> None:
    assert check_queue("queue", name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "a,b", "-a", "é", "a@b", "a:b", "x" * 65, "a\n", 5, None])
def test_other_names_of_queues_are_refused(name: object) -> None:
    with pytest.raises(InvalidPolicy, match="queue"):
        check_queue("queue", name)
    if isinstance(name, str):
        with pytest.raises(InvalidPolicy, match="queue"):
            replace(a_task(), queue=name)
