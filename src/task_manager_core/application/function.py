"""A function of the user's code: how it is called, and which arguments it accepts."""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType

from task_manager_core.application.context import RunContext
from task_manager_core.application.process_call import ProcessTarget
from task_manager_core.domain.errors import DefinitionError, InvalidArguments
from task_manager_core.domain.task import TaskDefinition

AnyFunction = Callable[..., object]

_CONTEXT_IN_TEXT = re.compile(r"\bRunContext\b")
_EMPTY = inspect.Parameter.empty
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_LAZY = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)


@dataclass(frozen=True, slots=True)
class Function:
    """A callable of the user, inspected once. `context` names the parameter that takes the RunContext, if there is one.
    `signature` is None for a callable that does not tell its parameters."""

    call: AnyFunction
    is_async: bool
    context: str | None
    signature: inspect.Signature | None = field(repr=False, compare=False)
    target: ProcessTarget | None = field(default=None, kw_only=True, repr=False, compare=False)
    """Set if the function is called in a process of its own."""

    @classmethod
    def of(cls, call: AnyFunction) -> Function:
        """Inspect a callable. Errors: DefinitionError for a generator, because a call does not execute its body."""
        if type(call) is FunctionType and _is_simple(call):
            return cls(call, bool(call.__code__.co_flags & inspect.CO_COROUTINE), None, _signature_of_simple(call))
        inner: object = call
        while isinstance(inner, functools.partial):
            inner = inner.func
        own_call: object = inspect.getattr_static(type(inner), "__call__", None)
        if any(is_lazy(one) for is_lazy in _LAZY for one in (inner, own_call)):
            raise DefinitionError("function", _name(inner), "is a generator: a call of it executes nothing")
        is_async = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(own_call)
        signature = signature_of(call)
        return cls(call, is_async, _context_parameter(signature), signature)

    def check(self, arguments: dict[str, object], field: str = "kwargs") -> None:
        """Raise InvalidArguments unless the function can be called with these keyword arguments."""
        if self.signature is None:
            return
        given = dict(arguments)
        if self.context is not None:
            if self.context in given:
                raise InvalidArguments(field, arguments, f"{self.context!r} is filled with the RunContext")
            given[self.context] = None
        try:
            self.signature.bind(**given)
        except TypeError as error:
            raise InvalidArguments(field, arguments, f"{_name(self.call)}() does not accept them: {error}") from None

    def check_text(self, kwargs: str) -> None:
        """The same for the JSON text of a run."""
        self.check({} if kwargs == "{}" else json.loads(kwargs))

    def check_task(self, task: TaskDefinition) -> None:
        """The same for a definition. A task without a schedule may leave its arguments to its requests."""
        if task.schedule.rules or task.kwargs != "{}":
            self.check_text(task.kwargs)


def _is_simple(call: FunctionType) -> bool:
    """Is this a function without attributes and without annotated parameters, and no generator? Its code tells
    everything, so that it need not be inspected."""
    if call.__dict__ or call.__code__.co_flags & _GENERATOR:
        return False
    try:
        return not call.__annotations__.keys() - {"return"}
    except Exception:  # noqa: BLE001 - Python 3.14 evaluates annotations here, and they may raise anything
        return False


def _signature_of_simple(call: FunctionType) -> inspect.Signature:
    code = call.__code__
    more = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    number = code.co_argcount + code.co_kwonlyargcount + more.bit_count()
    return _signature(
        code.co_varnames[:number],
        code.co_posonlyargcount,
        code.co_argcount,
        code.co_kwonlyargcount,
        more,
        len(call.__defaults__ or ()),
        frozenset(call.__kwdefaults__ or ()),
    )


@lru_cache(maxsize=1024)
def _signature(
    names: tuple[str, ...],
    only: int,
    positional: int,
    keywords: int,
    more: int,
    defaults: int,
    optional: frozenset[str],
) -> inspect.Signature:
    """The signature of all functions with these parameters. Of a default value it only tells that there is one."""
    kinds = (
        [inspect.Parameter.POSITIONAL_ONLY] * only
        + [inspect.Parameter.POSITIONAL_OR_KEYWORD] * (positional - only)
        + [inspect.Parameter.KEYWORD_ONLY] * keywords
    )
    parameters = [
        inspect.Parameter(
            name, kind, default=None if positional - defaults <= at < positional or name in optional else _EMPTY
        )
        for at, (name, kind) in enumerate(zip(names, kinds, strict=False))
    ]
    rest = iter(names[len(kinds) :])
    if more & inspect.CO_VARARGS:
        parameters.insert(positional, inspect.Parameter(next(rest), inspect.Parameter.VAR_POSITIONAL))
    if more & inspect.CO_VARKEYWORDS:
        parameters.append(inspect.Parameter(next(rest), inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


def _name(call: object) -> str:
    return str(getattr(call, "__name__", repr(call)))


def _context_parameter(signature: inspect.Signature | None) -> str | None:
    """The parameter that takes the RunContext, if there is one."""
    parameters = signature.parameters.values() if signature is not None else ()
    return next((parameter.name for parameter in parameters if is_context(parameter)), None)


def is_context(parameter: inspect.Parameter) -> bool:
    """Is this parameter annotated with RunContext (also as text or `RunContext | None`)?"""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return False
    annotation: object = parameter.annotation
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return _CONTEXT_IN_TEXT.search(annotation) is not None
    return annotation is RunContext or RunContext in typing.get_args(annotation)


def signature_of(call: AnyFunction) -> inspect.Signature | None:
    """The signature of a callable, None if the callable does not tell its parameters.

    Annotations are evaluated where that is possible: code may have imported RunContext under another name, or only for
    the type checker.
    """
    try:
        return inspect.signature(call, eval_str=True)
    except (NameError, AttributeError, SyntaxError, LookupError, TypeError, ValueError):
        pass
    try:
        return _unevaluated(call)
    except (TypeError, ValueError):
        return None


if sys.version_info >= (3, 14):
    import annotationlib

    def _unevaluated(call: AnyFunction) -> inspect.Signature:
        """A name that does not exist at run time becomes a ForwardRef. By default Python 3.14 evaluates every name."""
        return inspect.signature(call, annotation_format=annotationlib.Format.FORWARDREF)

else:

    def _unevaluated(call: AnyFunction) -> inspect.Signature:
        return inspect.signature(call)
