"""The dependencies of a function, found in its signature once: what FastAPI's `Depends` names, and the dependencies of
that. A task runs outside of requests, so a parameter that needs one is refused here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import params
from fastapi.security import SecurityScopes
from pydantic.fields import FieldInfo
from starlette.background import BackgroundTasks
from starlette.datastructures import UploadFile
from starlette.requests import HTTPConnection
from starlette.responses import Response

from fastapi_task_manager.declaration_args import name_of
from fastapi_task_manager.injection import Dependency, Kind, Needs
from fastapi_task_manager.parameters import Default, Parameter, Unknown, is_injected, is_marker, parameters_of
from task_manager_core.domain.errors import DefinitionError

_OF_A_REQUEST = (HTTPConnection, Response, BackgroundTasks, SecurityScopes, UploadFile)


def needs_of_task(call: Callable[..., object], parameters: Sequence[Parameter]) -> Needs:
    """What a function needs that code registers. Its other parameters take arguments. Errors: DefinitionError."""
    return _needs(parameters, _Place(name_of(call)))


def dependency_of(call: Callable[..., Any]) -> Dependency:
    """A callable that an application sets in the place of a dependency. Errors: DefinitionError."""
    return _dependency(call, _Place(name_of(call), ("it",)))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the tree a parameter stands: the function, and the parameters that lead to the dependency."""

    function: str
    path: tuple[str, ...] = ()

    def inside(self, parameter: str) -> _Place:
        return _Place(self.function, (*self.path, parameter))

    def refused(self, parameter: str, reason: str) -> DefinitionError:
        where = f"parameter {parameter!r}" + "".join(f" of the dependency {one!r}" for one in reversed(self.path))
        return DefinitionError("function", self.function, f"{where} {reason}")


def _needs(parameters: Sequence[Parameter], place: _Place) -> Needs:
    contexts: list[str] = []
    injected: list[str] = []
    dependencies: dict[str, Dependency] = {}
    for one in parameters:
        depends = next(
            (mark for mark in (one.default, *reversed(one.metadata)) if isinstance(mark, params.Depends)), None
        )
        if is_injected(one) or (depends is not None and is_marker(depends.dependency)):
            injected.append(one.name)
        elif depends is not None:
            dependencies[one.name] = _named_by(depends, one, place)
        elif one.is_context:
            contexts.append(one.name)
        else:
            _refuse_request(one, place)
    return Needs(tuple(contexts), dependencies, tuple(injected))


def _named_by(depends: params.Depends, parameter: Parameter, place: _Place) -> Dependency:
    call: Any = parameter.type if depends.dependency is None else depends.dependency
    if call is Unknown or not callable(call):
        raise place.refused(parameter.name, "has a Depends whose dependency is not known when the module is run")
    found = _dependency(call, place.inside(parameter.name))
    limit: int | None = getattr(depends, "max_concurrency", None)  # FastAPI has had it since 2026
    return Dependency(call, found.kind, found.needs, depends.use_cache, limit, depends)


def _dependency(call: Callable[..., Any], place: _Place) -> Dependency:
    parameters = parameters_of(call)
    needs = _needs(parameters, place)
    for one in parameters:
        known = one.is_args or one.is_kwargs or one.name in (*needs.contexts, *needs.dependencies, *needs.injected)
        if not known and one.default is Default:
            raise place.refused(
                one.name,
                "would come from a request, and a task runs outside of requests: give it a default or a Depends",
            )
    return Dependency(call, _kind_of(call), needs)


def _refuse_request(parameter: Parameter, place: _Place) -> None:
    for mark in (parameter.default, *parameter.metadata):
        if isinstance(mark, (params.Param, params.Body)):
            raise place.refused(
                parameter.name, f"is a {type(mark).__name__} of a request, and a task runs outside of requests"
            )
    if isinstance(parameter.default, FieldInfo):
        raise place.refused(parameter.name, "has a Field as its default: write Annotated[..., Field(...)] = value")
    for kind in (parameter.type, *get_args(parameter.type)):
        if isinstance(kind, type) and issubclass(kind, _OF_A_REQUEST):
            raise place.refused(
                parameter.name, f"needs the {kind.__name__} of a request, and a task runs outside of requests"
            )
    if parameter.type is Unknown and "Depends(" in parameter.written:
        raise place.refused(parameter.name, "has a Depends, and its annotation cannot be evaluated")


def _kind_of(call: Callable[..., Any]) -> Kind:
    inner: Any = call
    while isinstance(inner, functools.partial):
        inner = inner.func
    if isinstance(inner, type):
        return Kind.FUNCTION
    for one in (inner, inspect.unwrap(inner), type(inner).__call__):
        if inspect.isasyncgenfunction(one):
            return Kind.ASYNC_GENERATOR
        if inspect.isgeneratorfunction(one):
            return Kind.GENERATOR
        if inspect.iscoroutinefunction(one):
            return Kind.COROUTINE
    return Kind.FUNCTION
