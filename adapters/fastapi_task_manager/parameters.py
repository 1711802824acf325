"""The parameters of a user's callable. Each annotation is evaluated on its own: a name that exists only for the type
checker makes one annotation unknown, and leaves the others."""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_origin

from task_manager_core.application.function import is_context, signature_of

Default = inspect.Parameter.empty
"""The default of a parameter without one, and the annotation of one without an annotation."""


class _UnknownType(type):
    """Stands in expressions like `models.Invoice`, `Page[Invoice]` and `Invoice | None`."""

    def __getattr__(cls, name: str) -> type[Unknown]:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unknown

    def __getitem__(cls, _item: object) -> type[Unknown]:
        return Unknown


class Unknown(metaclass=_UnknownType):
    """Stands for a name that does not exist at run time. No value can be converted to it."""


class _Names(dict[str, Any]):
    """The names that an annotation may use; any other name is Unknown."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a callable. `annotation` is evaluated, `type` is the same without metadata."""

    name: str
    default: object
    annotation: Any
    type: Any
    metadata: tuple[object, ...]
    written: str
    """The annotation as text."""
    is_context: bool
    is_args: bool
    is_kwargs: bool


def parameters_of(call: Callable[..., object]) -> list[Parameter]:
    """The parameters in their order. Empty for a callable that does not tell them."""
    signature = signature_of(call)
    if signature is None:
        return []
    names = _globals_of(call)
    return [_read(parameter, names) for parameter in signature.parameters.values()]


def _read(parameter: inspect.Parameter, names: Mapping[str, Any]) -> Parameter:
    annotation = _evaluated(parameter.annotation, names)
    while type(annotation).__name__ == "TypeAliasType":  # `type SessionDep = Annotated[...]`
        annotation = annotation.__value__
    is_annotated = get_origin(annotation) is Annotated
    return Parameter(
        name=parameter.name,
        default=parameter.default,
        annotation=annotation,
        type=get_args(annotation)[0] if is_annotated else annotation,
        metadata=tuple(annotation.__metadata__) if is_annotated else (),
        written=str(parameter.annotation),
        is_context=is_context(parameter),
        is_args=parameter.kind is parameter.VAR_POSITIONAL,
        is_kwargs=parameter.kind is parameter.VAR_KEYWORD,
    )


def _evaluated(annotation: object, names: Mapping[str, Any]) -> Any:
    """The annotation with the texts inside it evaluated; Unknown if that is not possible."""
    if annotation is Default:
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    holder: Any = SimpleNamespace(__annotations__={"it": annotation})
    known = _Names(names)
    try:
        return typing.get_type_hints(holder, globalns=known, localns=known, include_extras=True)["it"]
    except (NameError, AttributeError, SyntaxError, LookupError, TypeError, ValueError):
        return Unknown


def _globals_of(call: Callable[..., object]) -> Mapping[str, Any]:
    """The names of the module that wrote the annotations."""
    inner: Any = call
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    if not inspect.isroutine(inner):
        inner = inspect.unwrap(
            inspect.getattr_static(inner, "__init__") if isinstance(inner, type) else type(inner).__call__
        )
    names: Mapping[str, Any] | None = getattr(getattr(inner, "__func__", inner), "__globals__", None)
    return vars(sys.modules.get(getattr(inner, "__module__", None) or "", builtins)) if names is None else names


def is_injected(parameter: Parameter) -> bool:
    """Does dependency-injector fill it, because of `Provide[...]` and `@inject`?"""
    return any(is_marker(mark) for mark in (parameter.default, *parameter.metadata))


def is_marker(mark: object) -> bool:
    """Is it a `Provide[...]`? An import of dependency-injector takes long, and would be needed for this alone."""
    return getattr(type(mark), "__IS_MARKER__", False) is True
