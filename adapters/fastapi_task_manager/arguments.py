"""Keyword arguments: JSON in the store, values of the annotated types in the function. pydantic converts them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Optional, TypeGuard

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaError, to_json

from fastapi_task_manager.parameters import Default, Parameter
from task_manager_core.application.failure import ArgumentsRefused
from task_manager_core.domain.errors import InvalidArguments
from task_manager_core.domain.task import canonical_kwargs

MOST_PROBLEMS = 5
"""An error names this many at most."""

_FREE: tuple[object, ...] = (Default, Any, object)
"""Annotations that every value fits."""

_optional: Any = Optional


class ArgumentTypes:
    """The annotated types of a function's parameters. A parameter without one takes what it is given.

    Laws: an argument that is JSON is kept as it is given; any other argument is kept as the JSON that its type makes of
    it, and comes back as the same value. An argument that does not fit is refused by its name.
    """

    def __init__(self, function: str, parameters: Iterable[Parameter], without: Collection[str | None] = ()) -> None:
        """`without` names the parameters that take no arguments."""
        self._function = function
        self._types: dict[str, TypeAdapter[Any] | None] = {}
        self._further: TypeAdapter[Any] | None = None
        for parameter in parameters:
            if parameter.is_kwargs:
                self._further = _adapter(parameter)
            else:
                self._types[parameter.name] = None if parameter.name in without else _adapter(parameter)

    def __bool__(self) -> bool:
        """Is there a type that arguments must fit?"""
        return self._further is not None or any(adapter is not None for adapter in self._types.values())

    def to_json(self, kwargs: object, field: str = "kwargs") -> object:
        """The arguments that code gives, as the JSON to keep. Arguments without a type are left for later checks.

        Errors: InvalidArguments.
        """
        return self.kwargs_to_json(kwargs, field) if self and _is_kwargs(kwargs) else kwargs

    def kwargs_to_json(self, kwargs: Mapping[str, object], field: str = "kwargs") -> dict[str, object]:
        """The same for arguments that are a mapping."""
        kept = dict(kwargs)
        problems: list[str] = []
        for name, adapter in self._typed(kwargs):
            if not _is_json(kwargs[name]):
                kept[name] = self._dumped(name, adapter, kwargs[name], problems)
        if problems:
            raise InvalidArguments(field, kwargs, self._sentence(problems))
        return kept

    def check(self, kwargs: Mapping[str, object], field: str = "kwargs") -> None:
        """Check arguments that are JSON. Errors: InvalidArguments."""
        problems: list[str] = []
        self._converted(kwargs, problems)
        if problems:
            raise InvalidArguments(field, kwargs, self._sentence(problems))

    def values(self, kwargs: Mapping[str, object]) -> dict[str, object]:
        """The values that the function is called with. Errors: ArgumentsRefused."""
        problems: list[str] = []
        converted = self._converted(kwargs, problems)
        if problems:
            raise ArgumentsRefused(self._sentence(problems))
        return converted

    def _typed(self, kwargs: Mapping[str, object]) -> Iterable[tuple[str, TypeAdapter[Any]]]:
        for name in kwargs:
            adapter = self._types.get(name, self._further)
            if adapter is not None:
                yield name, adapter

    def _converted(self, kwargs: Mapping[str, object], problems: list[str]) -> dict[str, object]:
        values = dict(kwargs)
        for name, adapter in self._typed(kwargs):
            try:
                # A type may be stricter about Python values than about JSON: a strict date takes no text in Python.
                values[name] = adapter.validate_json(json.dumps(kwargs[name]))
            except ValidationError as error:
                problems += _problems(name, error)
        return values

    def _dumped(self, name: str, adapter: TypeAdapter[Any], given: object, problems: list[str]) -> object:
        """The JSON of a value that code gives. The type must make the same value of it again."""
        try:
            value = adapter.validate_python(given)
        except ValidationError as error:
            problems += [f"{problem} (and it is no JSON)" for problem in _problems(name, error)]
            return None
        try:
            dumped = adapter.dump_json(value, by_alias=True, round_trip=True)
            is_kept = bool(adapter.validate_json(dumped) == value)
        except (ValidationError, PydanticSerializationError, ValueError):
            is_kept, dumped = False, b"null"
        if not is_kept:
            problems.append(f"{name!r}: a {type(given).__name__} does not come back from JSON as it was")
        return json.loads(dumped)

    def _sentence(self, problems: list[str]) -> str:
        shown = "; ".join(problems[:MOST_PROBLEMS]) + ("; …" if len(problems) > MOST_PROBLEMS else "")
        return f"{self._function}() does not accept them: {shown}"


def json_of(value: object) -> str:
    """The JSON of what a function returned: also of models, dataclasses, dates and whatever pydantic turns into JSON.

    Errors: PydanticSerializationError for a value that is none of these.
    """
    return to_json(value, inf_nan_mode="null").decode()


def _adapter(parameter: Parameter) -> TypeAdapter[Any] | None:
    """The type that converts the arguments of this parameter, None if it takes what it is given."""
    if parameter.is_args or parameter.type in _FREE:
        return None
    annotation = parameter.annotation
    if parameter.default is None:  # `name: str = None` is an old way to write `str | None`
        annotation = _optional[annotation]
    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, SchemaError, TypeError, NameError, AttributeError, LookupError):
        return None  # a class that pydantic does not know, or a name that does not exist at run time


def _is_kwargs(given: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(given, Mapping)


def _is_json(value: object) -> bool:
    try:
        canonical_kwargs({"it": value})
    except InvalidArguments:
        return False
    return True


def _problems(name: str, error: ValidationError) -> list[str]:
    """What is wrong, by the place of each value. The values themselves may be secret."""
    return [
        f"{'.'.join([name, *map(str, problem['loc'])])!r}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]
