"""Turn the arguments of `add_task` into pairs: the schedule of one task and the arguments of its function."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TypeGuard, TypeVar

from fastapi_task_manager.task import TaskFunction
from task_manager_core.domain.task import LONGEST_DESCRIPTION

Kwargs = Mapping[str, object]
Expression = str | Sequence[str]

T = TypeVar("T")


def name_of(function: TaskFunction) -> str:
    """The name of the function; for a callable object that of its class, for a partial that of its function."""
    if not callable(function):
        raise TypeError(f"a task is a function, not {function!r}")
    name = getattr(getattr(function, "func", function), "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def description_of(function: TaskFunction) -> str | None:
    """The docstring, up to a form feed as in FastAPI. Without the characters that a store cannot keep."""
    inner: object = getattr(function, "func", function)
    doc = inspect.getdoc(inner if inspect.isroutine(inner) else type(inner))
    if doc is None:
        return None
    text = doc.partition("\f")[0].strip().encode("utf-8", "replace").decode()
    return text[:LONGEST_DESCRIPTION] or None


def refuse_bare_decorator(written: str, first: object) -> None:
    """A decorator without parentheses gets the function itself. Errors: TypeError."""
    if callable(first):
        raise TypeError(f"write @group.{written} above {name_of(first)}: the parentheses are missing")


def pairs_of(
    expr: Expression | Sequence[Expression] | None, kwargs: Kwargs | Sequence[Kwargs] | None
) -> list[tuple[Expression | None, Kwargs | None]]:
    """One pair for each task. The items of two lists form pairs; a single value joins every item. Errors: TypeError."""
    expressions = _items("expr", expr) if isinstance(expr, list) else None
    arguments = None if kwargs is None or isinstance(kwargs, Mapping) else _items("kwargs", kwargs)
    lengths = {len(items) for items in (expressions, arguments) if items is not None}
    if len(lengths) > 1:
        raise TypeError(
            f"lists of expr and kwargs must have the same length, not {len(expressions or ())} and "
            f"{len(arguments or ())}"
        )
    if 0 in lengths:
        raise TypeError("lists of expr and kwargs must have something in them")
    count = max(lengths, default=1)
    single_expression = expr if _is_single(expr) else None
    single_arguments = kwargs if isinstance(kwargs, Mapping) else None
    return list(
        zip(
            [single_expression] * count if expressions is None else expressions,
            [single_arguments] * count if arguments is None else arguments,
            strict=True,
        )
    )


def _is_single(expr: Expression | Sequence[Expression] | None) -> TypeGuard[Expression | None]:
    """A tuple is one schedule, the union of its expressions. A list gives each task its own schedule."""
    return not isinstance(expr, list)


def _items(field: str, given: Sequence[T]) -> list[T]:
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"{field} must be a single value or a list, not {given!r}")
    return list(given)
