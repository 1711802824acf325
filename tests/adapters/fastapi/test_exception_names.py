"""The package reports a name in `retry_on` that no exception can match as soon as the name is given."""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

import pytest

from fastapi_task_manager import TaskGroup, TaskManager
from fastapi_task_manager.exception_names import LONGEST_CLASS_NAME, class_name
from task_manager_core.domain.errors import InvalidPolicy
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import answer, build, serving


class OurError(Exception):
    """An exception that has the name of this module."""

    class Inner(Exception):
        """A nested exception, known by both names."""


HERE = OurError.__module__


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (ValueError, "builtins.ValueError"),
        ("ValueError", "builtins.ValueError"),
        ("OSError", "builtins.OSError"),
        ("IOError", "builtins.OSError"),
        ("asyncio.TimeoutError", "builtins.TimeoutError"),
        ("asyncio.exceptions.CancelledError", "asyncio.exceptions.CancelledError"),
        ("asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        (f"{HERE}.OurError", f"{HERE}.OurError"),
        (f"{HERE}.OurError.Inner", f"{HERE}.OurError.Inner"),
        (OurError.Inner, f"{HERE}.OurError.Inner"),
    ],
)
def test_a_class_is_known_by_the_name_that_its_exceptions_report(given: object, name: str) -> None:
    """Users write `asyncio.TimeoutError`, but no exception reports this name."""
    assert class_name("retry_on", given) == name


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("ValeuError", "'builtins' has no such exception"),
        ("print", "'builtins' has no such exception"),
        ("builtins.int", "'builtins' has no such exception"),
        ("json.JSONDecodeEror", "'json' has no such exception"),
        (f"{HERE}.OurError.Outer", "has no such exception"),
        (f"{HERE}.nothing.at.all", "has no such exception"),
        ("no_such_module_anywhere.Error", "there is no such module"),
        ("no such module.Error", "there is no such module"),
        ("../x.Error", "there is no such module"),
        ("..", "there is no such module"),
        ("x" * (LONGEST_CLASS_NAME + 1), "must be exception classes or their names"),
        ("", "must be exception classes or their names"),
        ("a\nb", "must be exception classes or their names"),
        (int, "must be exception classes or their names"),
        (5, "must be exception classes or their names"),
    ],
)
def test_a_name_that_no_process_can_know_is_refused(given: object, reason: str) -> None:
    with pytest.raises(InvalidPolicy, match=reason) as refused:
        class_name("retry_on", given)
    assert refused.value.field == "retry_on"


def test_a_name_in_a_module_that_is_not_loaded_is_accepted_without_loading_it() -> None:
    assert "this" not in sys.modules
    assert class_name("retry_on", "this.Error") == "this.Error"
    assert "this" not in sys.modules


def test_a_submodule_that_is_not_loaded_may_have_any_class() -> None:
    sys.modules.pop("wsgiref.validate", None)
    import wsgiref  # noqa: F401 - the package, without its submodules

    assert class_name("retry_on", "wsgiref.validate.WSGIWarning") == "wsgiref.validate.WSGIWarning"
    assert "wsgiref.validate" not in sys.modules
    with pytest.raises(InvalidPolicy, match="'wsgiref' has no such exception"):
        class_name("retry_on", "wsgiref.invalidate.WSGIWarning")


def test_the_check_does_not_call_the_getattr_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = ModuleType("lazy_module")

    def never(name: str) -> Any:
        raise AssertionError(name)

    lazy.__getattr__ = never  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    assert class_name("retry_on", "lazy_module.Error") == "lazy_module.Error"


async def test_a_request_that_names_no_exception_is_refused_with_its_field() -> None:
    group = TaskGroup("g")
    group.register_function("work")(lambda: None)
    app, _ = build(group)
    body = {"task_group_name": "g", "function_name": "work", "name": "n", "cron_expression": "0 0 1 1 *"}
    async with serving(app) as client:
        for field in ("retry_on", "no_retry_on"):
            refused = await client.post("/tasks", json={**body, field: ["ValueError", "ValeuError"]})
            assert (refused.status_code, refused.json()["field"]) == (400, field)
            assert "no process can name" in refused.json()["detail"]
        await answer(client, "POST", "/tasks", json={**body, "retry_on": ["asyncio.TimeoutError"]})
        refused = await client.put("/tasks/g/n", json={"retry_on": ["nowhere.Error"]})
        assert (refused.status_code, refused.json()["field"]) == (400, "retry_on")


def test_a_name_that_cannot_be_looked_up_is_logged_when_it_is_given(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastapi.task-manager.group")

    class Local(Exception):
        """It cannot be imported by name. Its qualified name is enough."""

    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="n", retry_on=["this.Error", ValueError, Local], no_retry_on=OSError)(lambda: None)
    TaskManager(backend=MemoryStore().open).add_task_group(group)
    assert caplog.messages == [
        "retry_on: the module of this.Error is not loaded: it must be the exact qualified name of a class"
    ]
