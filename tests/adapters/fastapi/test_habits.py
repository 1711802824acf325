"""What users of FastAPI write without a look at the pages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from fastapi_task_manager import Config, DuplicateFunction, DuplicateTask, TaskGroup, TaskManager
from fastapi_task_manager.options import Defaults
from fastapi_task_manager.task_translation import definition_of
from task_manager_core.domain.task import LONGEST_DESCRIPTION
from tests.adapters.fastapi.application import answer, build, serving

NEVER = "0 0 1 1 *"


async def documented() -> None:
    """Sends the report.

    A second paragraph,
        with an indented line.
    """


async def undocumented() -> None: ...


async def for_the_author_too() -> None:
    """For readers.\f
    For the author.
    """


class Report:
    """A report that is an object."""

    def __call__(self) -> None: ...

    async def send(self) -> None:
        """Sends it."""


def broken() -> None: ...


broken.__doc__ = "x\ud800" * LONGEST_DESCRIPTION


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (documented, "Sends the report.\n\nA second paragraph,\n    with an indented line."),
        (undocumented, None),
        (for_the_author_too, "For readers."),
        (Report(), "A report that is an object."),
        (Report().send, "Sends it."),
        (functools.partial(documented), "Sends the report.\n\nA second paragraph,\n    with an indented line."),
        (lambda: None, None),
        (broken, ("x?" * LONGEST_DESCRIPTION)[:LONGEST_DESCRIPTION]),
    ],
    ids=["paragraphs", "none", "form feed", "object", "method", "partial", "lambda", "long"],
)
def test_the_docstring_of_a_function_is_the_description_of_its_task(
    function: Callable[..., Any], shown: str | None
) -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, name="task")(function)
    assert group.tasks[0].description == shown
    assert definition_of(group.tasks[0], Defaults()).description == shown


def test_a_description_that_is_given_wins_over_the_docstring() -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, name="given", description="other")(documented)
    group.add_task(NEVER, name="empty", description="")(documented)
    assert [task.description for task in group.tasks] == ["other", ""]


async def test_the_list_of_tasks_shows_docstrings() -> None:
    group = TaskGroup("g")
    group.add_task(NEVER)(documented)
    app, _ = build(group)
    async with serving(app) as client:
        (task,) = await answer(client, "GET", "/tasks")
    assert task["description"].startswith("Sends the report.")


def test_a_docstring_changes_no_generated_name() -> None:
    one, other = TaskGroup("g"), TaskGroup("g")
    one.register_function("f")(documented)
    other.register_function("f")(undocumented)
    assert one.add_dynamic_task("f", NEVER).name == other.add_dynamic_task("f", NEVER).name


def test_a_second_lambda_in_a_group_is_told_what_to_do() -> None:
    group = TaskGroup("g")
    group.add_task(NEVER)(lambda: None)
    with pytest.raises(DuplicateTask, match="already exists in group 'g'; every lambda has this name: pass a name"):
        group.add_task(NEVER)(lambda: None)
    group.register_function("named")(lambda: None)
    with pytest.raises(DuplicateFunction, match="already registered in group 'g'; every lambda has this name"):
        group.register_function()(lambda: None)
    group.add_task(NEVER, name="second")(lambda: None)
    assert [task.name for task in group.tasks] == ["<lambda>", "second"]
    with pytest.raises(DuplicateTask) as refused:
        group.add_task(NEVER, name="second")(undocumented)
    assert "lambda" not in str(refused.value)


def test_a_manager_without_settings_names_the_variable_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASK_MANAGER_REDIS_HOST", raising=False)
    for build_without in (lambda: TaskManager(FastAPI()), lambda: Config.model_validate({})):
        with pytest.raises(ValidationError) as refused:
            build_without()
        said = "redis_host\n  Field required: set TASK_MANAGER_REDIS_HOST, or pass redis_host, or give the manager"
        assert said in str(refused.value)
        assert [(one["type"], one["loc"]) for one in refused.value.errors()] == [("missing", ("redis_host",))]


def test_other_mistakes_in_the_settings_are_reported_beside_the_missing_host() -> None:
    with pytest.raises(ValidationError) as refused:
        Config.model_validate({"redis_port": 0, "redis_password": "hunter2"})
    assert {one["loc"] for one in refused.value.errors()} == {("redis_host",), ("redis_port",)}
    assert "hunter2" not in str(refused.value)


def test_a_configuration_can_be_changed_after_it_was_built() -> None:
    config = Config(redis_host="h")
    config.redis_port = 7000
    assert (config.redis_host, config.redis_port) == ("h", 7000)
    with pytest.raises(ValidationError):
        config.redis_port = 0
