"""The names of exception classes in `retry_on` and `no_retry_on`, checked where they are given.

A store keeps a policy as text. A worker compares this text with the qualified names of an exception's classes. The
qualified name of `asyncio.TimeoutError` is `builtins.TimeoutError`, and a misspelt name matches no exception: so each
name is looked up. Only loaded modules are searched: a request must not make a process import a module.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from types import ModuleType
from typing import TypeGuard

from fastapi_task_manager.observers.logs import logger_of
from task_manager_core.domain.errors import InvalidPolicy

_log = logger_of("group")

LONGEST_CLASS_NAME = 300


def class_name(field: str, value: object) -> str:
    """The name by which an exception knows its class; a name without a dot is a builtin's. A name of a module that is
    not loaded is taken as it is, and told in the log.

    Errors: InvalidPolicy for what no process can name.
    """
    if _is_exception_class(value):
        return _name_of(value)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_CLASS_NAME or not value.isprintable():
        raise InvalidPolicy(field, value, "must be exception classes or their names")
    name = value if "." in value else f"builtins.{value}"
    module, attributes = _split(name)
    if module is None:
        if _can_be_imported(attributes[0]):
            return _as_given(field, name)
        raise InvalidPolicy(field, value, "names a class that no process can name: there is no such module")
    found: object = sys.modules[module]
    for place, attribute in enumerate(attributes):
        following: object = inspect.getattr_static(found, attribute, None)
        if following is None and isinstance(found, ModuleType) and _may_be_made_later(found, attributes[place:]):
            return _as_given(field, name)
        found = following
    if not _is_exception_class(found):
        raise InvalidPolicy(field, value, f"names a class that no process can name: {module!r} has no such exception")
    return _name_of(found)


def _as_given(field: str, name: str) -> str:
    _log.warning(
        "%s: the module of %s is not loaded: it must be the exact qualified name of a class",
        field,
        name,
    )
    return name


def _split(name: str) -> tuple[str | None, list[str]]:
    """The longest part of the name that is a loaded module, and the attributes behind it."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        if sys.modules.get(module) is not None:
            return module, parts[length:]
    return None, parts


def _may_be_made_later(module: ModuleType, attributes: list[str]) -> bool:
    """Does the module make its names when they are asked for, or have a part of this name that nothing has loaded?"""
    return "__getattr__" in vars(module) or (
        len(attributes) > 1 and _can_be_imported(attributes[0], inside=f"{module.__name__}.")
    )


def _can_be_imported(name: str, *, inside: str = "") -> bool:
    """Is there a module of this name? Nothing is imported to find out: what it is inside of is loaded."""
    try:
        return name.isidentifier() and importlib.util.find_spec(f"{inside}{name}") is not None
    except (ImportError, ValueError):
        return False


def _name_of(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_exception_class(value: object) -> TypeGuard[type[BaseException]]:
    return isinstance(value, type) and issubclass(value, BaseException)
