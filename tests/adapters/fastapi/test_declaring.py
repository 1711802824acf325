"""Thousands of declarations: none of them looks at the others, and equal parts of their definitions are shared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from fastapi_task_manager import TaskGroup, TaskManager
from fastapi_task_manager.group_contents import contents_of
from task_manager_core.domain.errors import DuplicateTask, InvalidPolicy
from task_manager_core.domain.identity import TaskKey
from task_manager_memory import MemoryStore

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Unread(dict[str, object]):
    """A dictionary in which single keys may be looked up, and nothing else."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a declaration read all others")

    keys = values = items = __iter__  # type: ignore[assignment]


def test_a_declaration_does_not_read_the_other_declarations() -> None:
    group = TaskGroup("g")
    TaskManager(backend=MemoryStore().open).add_task_group(group)
    contents = contents_of(group)
    contents.static = Unread()  # type: ignore[assignment]  # it has all methods of a dictionary
    for number in range(3):
        group.add_task("0 0 * * *", name=f"{number}")(lambda: None)
    assert len(contents.static) == 3
    with pytest.raises(DuplicateTask):
        group.add_task("0 0 * * *", name="1")(lambda: None)


def test_tasks_with_equal_options_share_their_values() -> None:
    group = TaskGroup("g", timezone="Europe/Rome")
    manager = TaskManager(backend=MemoryStore().open)
    manager.add_task_group(group)
    for number in range(2):
        group.add_task("30 2 * * *", name=f"{number}", timeout=5.0, max_retries=1, retry_backoff=2.0)(lambda: None)
    first, second = group.tasks
    assert first.options is second.options
    declared = manager._groups.declarations.declared  # pyright: ignore[reportPrivateUsage]
    one, other = declared[TaskKey("g", "0")], declared[TaskKey("g", "1")]
    assert one.schedule is other.schedule
    assert one.retry is other.retry


def test_a_hashed_schedule_belongs_to_one_task() -> None:
    group = TaskGroup("g")
    manager = TaskManager(backend=MemoryStore().open)
    manager.add_task_group(group)
    for name in ("0", "1"):
        group.add_task("H H * * *", name=name)(lambda: None)
    declared = manager._groups.declarations.declared  # pyright: ignore[reportPrivateUsage]
    assert len({task.schedule for task in declared.values()}) == 2


def test_equal_instants_of_different_zones_keep_their_own_text() -> None:
    """The name of a dynamic task without a name is made of the texts, and must not depend on earlier tasks."""
    rome = NOON.astimezone(timezone(timedelta(hours=1)))
    names = [
        [_name(instant) for instant in order][:: 1 - 2 * at] for at, order in enumerate([(NOON, rome), (rome, NOON)])
    ]
    assert names[0] == names[1]
    assert names[0][0] != names[0][1]


def _name(instant: datetime) -> str:
    group = TaskGroup("g")
    group.register_function("f")(lambda: None)
    return group.add_dynamic_task("f", run_at=instant).name


@pytest.mark.parametrize(("word", "good", "bad"), [("max_retries", 1, True), ("run_on_start", True, 1)])
def test_a_value_that_was_accepted_does_not_make_an_equal_value_of_another_kind_accepted(
    word: str, good: object, bad: object
) -> None:
    group = TaskGroup("g")
    group.add_task("0 0 * * *", name="good", **{word: good})(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(InvalidPolicy, match=word):
        group.add_task("0 0 * * *", name="bad", **{word: bad})(lambda: None)  # type: ignore[arg-type]
