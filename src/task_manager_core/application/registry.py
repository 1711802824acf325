"""The functions that this process can call and the static tasks that its code declares."""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass

from task_manager_core.application.context import RunContext
from task_manager_core.domain.errors import DefinitionError, DuplicateFunction, DuplicateTask, InvalidArguments
from task_manager_core.domain.identity import FunctionKey, TaskKey, check_name
from task_manager_core.domain.run import Run
from task_manager_core.domain.task import TaskDefinition

AnyFunction = Callable[..., object]

_CONTEXT_IN_TEXT = re.compile(r"\bRunContext\b")
_LAZY = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)


@dataclass(frozen=True, slots=True)
class Function:
    """A callable of the user, inspected once. `context` names the parameter that wants a RunContext."""

    call: AnyFunction
    is_async: bool
    context: str | None

    @classmethod
    def of(cls, call: AnyFunction) -> Function:
        """Errors: DefinitionError for a generator, whose body no call executes."""
        inner: object = call
        while isinstance(inner, functools.partial):
            inner = inner.func
        own_call: object = inspect.getattr_static(type(inner), "__call__", None)
        if any(is_lazy(one) for is_lazy in _LAZY for one in (inner, own_call)):
            raise DefinitionError("function", _name(inner), "is a generator: a call of it executes nothing")
        is_async = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(own_call)
        return cls(call, is_async, _context_parameter(call))

    def check(self, arguments: dict[str, object], field: str = "kwargs") -> None:
        """Raise InvalidArguments unless the function can be called with these keyword arguments."""
        signature = signature_of(self.call)
        if signature is None:
            return
        given = dict(arguments)
        if self.context is not None:
            if self.context in given:
                raise InvalidArguments(field, arguments, f"{self.context!r} is filled with the RunContext")
            given[self.context] = None
        try:
            signature.bind(**given)
        except TypeError as error:
            raise InvalidArguments(field, arguments, f"{_name(self.call)}() does not accept them: {error}") from None

    def check_text(self, kwargs: str) -> None:
        """The same for the JSON text of a definition."""
        self.check(json.loads(kwargs))


def _name(call: object) -> str:
    return str(getattr(call, "__name__", repr(call)))


def _context_parameter(call: AnyFunction) -> str | None:
    """The parameter annotated with RunContext (also as text or `RunContext | None`), if there is one."""
    signature = signature_of(call)
    for name, parameter in signature.parameters.items() if signature is not None else ():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation: object = parameter.annotation
        if isinstance(annotation, typing.ForwardRef):
            annotation = annotation.__forward_arg__
        if isinstance(annotation, str):
            if _CONTEXT_IN_TEXT.search(annotation):
                return name
        elif annotation is RunContext or RunContext in typing.get_args(annotation):
            return name
    return None


def signature_of(call: AnyFunction) -> inspect.Signature | None:
    """With annotations as objects where their texts can be evaluated: RunContext may have been imported as something
    else, or only for the type checker. None for a callable that does not tell its parameters."""
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
        """What no name stands for at run time is a ForwardRef: by default Python 3.14 evaluates all annotations."""
        return inspect.signature(call, annotation_format=annotationlib.Format.FORWARDREF)

else:

    def _unevaluated(call: AnyFunction) -> inspect.Signature:
        return inspect.signature(call)


class Registry:
    """Law: what is declared here stays callable for the life of the process."""

    def __init__(self) -> None:
        self._functions: dict[FunctionKey, Function] = {}
        self._named: set[FunctionKey] = set()
        self._static: dict[TaskKey, tuple[TaskDefinition, Function]] = {}
        self._in_order: list[TaskDefinition] = []
        self.revision = 0
        """Another one with every function and every declaration."""

    @property
    def functions(self) -> frozenset[FunctionKey]:
        """Functions that dynamic tasks may name."""
        return frozenset(self._functions)

    @property
    def declared(self) -> dict[TaskKey, TaskDefinition]:
        """The static tasks of this process."""
        return {key: task for key, (task, _) in self._static.items()}

    def declared_after(self, number: int) -> list[TaskDefinition]:
        """The static tasks that were declared after the first so many."""
        return self._in_order[number:]

    def declaration(self, key: TaskKey) -> TaskDefinition | None:
        """The static task of this key."""
        declared = self._static.get(key)
        return None if declared is None else declared[0]

    def register(self, key: FunctionKey, call: AnyFunction, *, named: bool = True) -> Function:
        """Make a function callable for dynamic tasks.

        `named`: somebody chose this name for it, so that whatever names it means this function. Else a static task
        brought it along, and another task's function may have the same name.
        """
        check_name("name", key.name)
        known = self._functions.get(key)
        if known is not None and known.call is not call:
            raise DuplicateFunction(key.group, key.name)
        self._functions[key] = function = Function.of(call)
        if named:
            self._named.add(key)
        self.revision += 1
        return function

    def declare(self, task: TaskDefinition, call: AnyFunction) -> None:
        """Declare a static task with its own function, which has to accept the arguments of the task."""
        if task.key in self._static:
            raise DuplicateTask(task.key.group, task.key.name)
        task.check_names()
        function = Function.of(call)
        function.check_text(task.kwargs)
        self._static[task.key] = (task, function)
        self._in_order.append(task)
        self.revision += 1

    def function(self, key: FunctionKey) -> Function | None:
        return self._functions.get(key)

    def function_of(self, run: Run) -> Function | None:
        """What to call for this run, None if this process does not know it.

        A static task has its own function, and a name that it shares with others says nothing about it.
        """
        declared = self._static.get(run.task)
        if declared is not None and declared[0].function == run.function:
            return declared[1]
        key = FunctionKey(run.task.group, run.function)
        return self._functions.get(key) if run.dynamic or key in self._named else None
