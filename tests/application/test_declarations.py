"""What code declares: functions, static tasks, and which function a run calls."""

from __future__ import annotations

import pytest

from task_manager_core.application.declarations import Declarations
from task_manager_core.application.function import AnyFunction
from task_manager_core.domain.errors import DuplicateFunction, DuplicateTask, InvalidArguments
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.task import TaskDefinition
from tests.application.cluster import a_task, nothing


def test_a_task_whose_function_does_not_accept_its_arguments_is_refused_when_it_is_declared() -> None:
    declarations = Declarations()
    with pytest.raises(InvalidArguments, match="surprise"):
        declarations.declare(a_task(kwargs={"surprise": 1}), nothing)
    assert declarations.declared == {}


def test_a_task_is_declared_once() -> None:
    declarations = Declarations()
    declarations.declare(a_task(), nothing)
    with pytest.raises(DuplicateTask):
        declarations.declare(a_task(), print)
    assert declarations.declared == {TaskKey("group", "task"): a_task()}


def test_a_function_is_registered_once_and_again_only_as_itself() -> None:
    declarations, key = Declarations(), FunctionKey("group", "f")
    declarations.register(key, nothing)
    assert declarations.register(key, nothing) == declarations.function(key)
    with pytest.raises(DuplicateFunction):
        declarations.register(key, print)
    assert (declarations.functions, declarations.function(FunctionKey("group", "g"))) == (frozenset({key}), None)


def called(declarations: Declarations, task: TaskDefinition) -> AnyFunction | None:
    function = declarations.function_of(task.run_of_request("r", 1))
    return None if function is None else function.call


def test_a_run_calls_the_function_that_its_definition_named_at_its_dispatch() -> None:
    declarations = Declarations()
    declarations.declare(a_task(), nothing)
    declarations.register(FunctionKey("group", "report"), print)
    assert called(declarations, a_task()) is nothing
    assert called(declarations, a_task(function="report")) is print
    assert called(declarations, a_task("dynamic", function="report")) is print
    assert called(declarations, a_task(function="gone")) is None


def test_the_function_of_one_static_task_is_not_called_for_another_static_task() -> None:
    """Functions that a loop creates share one name, and a process of an older version knows only some of them."""
    declarations, acme, globex = (
        Declarations(),
        a_task("bill acme", function="bill"),
        a_task("bill globex", function="bill"),
    )
    declarations.declare(acme, nothing)
    declarations.register(FunctionKey("group", "bill"), nothing, named=False)
    assert called(declarations, acme) is nothing
    assert called(declarations, globex) is None
    assert called(declarations, a_task("dynamic", function="bill", dynamic=True)) is nothing


def test_a_name_given_by_the_user_means_its_function_for_every_task() -> None:
    declarations, key = Declarations(), FunctionKey("group", "old")
    declarations.register(key, nothing, named=False)
    declarations.register(key, nothing)
    assert called(declarations, a_task("renamed", function="old")) is nothing
