"""A function as code registers it, and as a worker calls it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from fastapi_task_manager.arguments import ArgumentTypes
from fastapi_task_manager.declaration_args import name_of
from fastapi_task_manager.parameters import parameters_of
from fastapi_task_manager.task import TaskFunction
from task_manager_core.application.function import Function


@dataclass(frozen=True, slots=True)
class CheckedFunction(Function):
    """A function that checks its arguments against the annotations, too."""

    arguments: ArgumentTypes = field(repr=False, compare=False)

    def check(self, arguments: dict[str, object], field: str = "kwargs") -> None:
        Function.check(self, arguments, field)
        self.arguments.check(arguments, field)


@dataclass(frozen=True, slots=True, eq=False)
class UserFunction:
    """A function of the user's code, inspected once.

    `call` is the function itself. A worker calls `function`, which converts the arguments first. Without types to
    convert to, the worker calls the function directly.
    """

    call: TaskFunction
    function: Function
    arguments: ArgumentTypes

    @classmethod
    def of(cls, call: TaskFunction) -> UserFunction:
        """Inspect a function. Errors: DefinitionError."""
        plain = Function.of(call)
        arguments = ArgumentTypes(name_of(call), parameters_of(call), [plain.context])
        return cls(call, _converting(plain, arguments) if arguments else plain, arguments)


def _converting(function: Function, arguments: ArgumentTypes) -> Function:
    call, convert = function.call, arguments.values

    # No coroutine of its own: a worker awaits what the function returns.
    @functools.wraps(call)
    def converting(**kwargs: object) -> object:
        return call(**convert(kwargs))

    return CheckedFunction(converting, function.is_async, function.context, function.signature, arguments)
