"""The tree of errors: the data are attributes, and the class builds the message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from task_manager_core.domain import errors
from task_manager_core.domain.errors import (
    BackendCorrupt,
    BackendError,
    BackendMisconfigured,
    BackendUnavailable,
    DefinitionError,
    DuplicateFunction,
    DuplicateGroup,
    DuplicateTask,
    GroupNotFound,
    InvalidArguments,
    NothingMatches,
    RefusedError,
    TaskIsStatic,
    TaskManagerError,
    TaskNotFound,
    UnknownFunction,
    VersionConflict,
)

LEAVES: list[tuple[Callable[[], TaskManagerError], type[TaskManagerError], str]] = [
    (lambda: DuplicateTask("g", "n"), DefinitionError, "name='n': a task of this name already exists in group 'g'"),
    (lambda: DuplicateGroup("g"), DefinitionError, "name='g': a task group of this name already exists"),
    (
        lambda: DuplicateFunction("g", "f"),
        DefinitionError,
        "name='f': a function of this name is already registered in group 'g'",
    ),
    (
        lambda: UnknownFunction("g", "f"),
        DefinitionError,
        "function_name='f': this function is not registered in group 'g'",
    ),
    (lambda: TaskNotFound("g", "n"), RefusedError, "task 'n' not found in group 'g'"),
    (
        lambda: NothingMatches("task", {"task_name": "n", "tag": None, "run_id": "r"}),
        RefusedError,
        "task not found: none matches task_name='n', run_id='r'",
    ),
    (lambda: NothingMatches("task", {"tag": None}), RefusedError, "task not found: there is none"),
    (lambda: GroupNotFound("g"), RefusedError, "task group 'g' not found"),
    (lambda: TaskIsStatic("g", "n", "removed"), RefusedError, "task 'n' of group 'g' is static and cannot be removed"),
    (lambda: TaskIsStatic("g", "n", "changed"), RefusedError, "task 'n' of group 'g' is static and cannot be changed"),
    (lambda: VersionConflict("g", "n", 3, 5), RefusedError, "task 'n' of group 'g' is at version 5, not 3"),
    (lambda: BackendUnavailable("timeout"), BackendError, "the store is not available: timeout"),
    (lambda: BackendMisconfigured("lru"), BackendError, "the store cannot be used: lru"),
    (lambda: BackendCorrupt("a run", "junk"), BackendError, "cannot read a run: junk"),
]


@pytest.mark.parametrize(("make", "branch", "message"), LEAVES)
def test_every_error_builds_its_own_message_below_its_branch(
    make: Callable[[], TaskManagerError], branch: type[TaskManagerError], message: str
) -> None:
    error = make()
    assert isinstance(error, branch)
    assert isinstance(error, RuntimeError)
    assert str(error) == message


def test_the_data_of_an_error_are_attributes() -> None:
    conflict = VersionConflict("g", "n", 3, 5)
    assert (conflict.group, conflict.name, conflict.expected, conflict.found) == ("g", "n", 3, 5)
    corrupt = BackendCorrupt("a run", "junk")
    assert (corrupt.where, corrupt.reason) == ("a run", "junk")
    invalid = InvalidArguments("kwargs", {"a": 1}, "no")
    assert (invalid.field, invalid.value, invalid.reason) == ("kwargs", {"a": 1}, "no")


def test_the_tree_in_the_docstring_names_every_class_and_no_other() -> None:
    drawn = {word for word in (errors.__doc__ or "").split() if word.isidentifier() and word[0].isupper()}
    classes = {name for name, item in vars(errors).items() if isinstance(item, type)}
    assert classes <= drawn
    assert {name for name in drawn if name.startswith(("Backend", "Invalid", "Duplicate"))} <= classes


def test_a_megabyte_of_input_is_not_echoed() -> None:
    message = str(DefinitionError("kwargs", "x" * 1_000_000, "too long"))
    assert len(message) < 200
    assert "1000002 characters" in message


def test_a_value_that_python_refuses_to_show_is_named_by_its_class() -> None:
    assert str(DefinitionError("n", 10**5000, "too big")) == "n=(int that cannot be shown): too big"
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert "(list that cannot be shown)" in str(DefinitionError("n", nested, "too deep"))
