"""A function as code registers it, and as a worker calls it."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from fastapi_task_manager.arguments import ArgumentTypes
from fastapi_task_manager.declaration_args import name_of
from fastapi_task_manager.injection import DependencyResolver, Needs
from fastapi_task_manager.parameters import Default, Parameter, is_injected, parameters_of
from fastapi_task_manager.task import TaskFunction
from task_manager_core.application.function import Function
from task_manager_core.application.process_call import ProcessTarget
from task_manager_core.domain.errors import DefinitionError, InvalidArguments

ExecutorName: TypeAlias = Literal["thread", "process"]
"""Where a synchronous function is called."""

_NO_ARGUMENTS = ArgumentTypes("", ())
_NO_NEEDS = Needs((), {}, ())
"""Those of every function without parameters. Most tasks have none."""


@dataclass(frozen=True, slots=True)
class CheckedFunction(Function):
    """A function that checks its arguments against the annotations, too. `filled`: what dependencies fill."""

    arguments: ArgumentTypes = field(repr=False, compare=False)
    filled: frozenset[str] = frozenset()

    def check(self, arguments: dict[str, object], field: str = "kwargs") -> None:
        for name in arguments:
            if name in self.filled:
                raise InvalidArguments(field, arguments, f"{name!r} is filled with a dependency")
        Function.check(self, arguments, field)
        self.arguments.check(arguments, field)


@dataclass(frozen=True, slots=True, eq=False)
class UserFunction:
    """A function of the user's code, inspected once.

    `call` is the function itself. `function` is the same for the core: it has only the parameters that take arguments
    and the RunContext. A worker calls what `bound` returns, which is the function itself if there is nothing to convert
    and nothing to resolve.
    """

    call: TaskFunction
    function: Function
    arguments: ArgumentTypes
    needs: Needs

    @property
    def executor(self) -> ExecutorName:
        """Where it is called, if it is synchronous."""
        return "thread" if self.function.target is None else "process"

    @classmethod
    def of(
        cls, call: TaskFunction, executor: ExecutorName | None = None, default: ExecutorName | None = None
    ) -> UserFunction:
        """Inspect a function. `default` is the executor of synchronous functions that name none.

        Errors: DefinitionError, also for a function that its executor cannot call.
        """
        inspected = cls._inspected(call)
        is_async = inspected.function.is_async
        if executor == "thread" and is_async:
            raise DefinitionError("executor", executor, f"{name_of(call)} is a coroutine, which runs in the event loop")
        chosen = default if executor is None and not is_async else executor
        return inspected if chosen != "process" else replace(inspected, function=_in_process(inspected))

    @classmethod
    def _inspected(cls, call: TaskFunction) -> UserFunction:
        plain = Function.of(call)
        if plain.signature is not None and not plain.signature.parameters:
            return cls(call, plain, _NO_ARGUMENTS, _NO_NEEDS)
        parameters = parameters_of(call)
        needs = _needs_of(call, parameters)
        filled = frozenset(
            one.name
            for one in parameters
            if one.name in needs.dependencies or (one.name in needs.injected and one.default is Default)
        )
        arguments = ArgumentTypes(name_of(call), parameters, [plain.context, *needs.dependencies, *needs.injected])
        if not arguments and not filled:
            return cls(call, plain, arguments, needs)
        context = plain.context
        if context is None and needs.dependencies and (plain.is_async or needs.with_context):
            context = _free_name(parameters)
        function = CheckedFunction(
            _converting(call, arguments) if arguments and not needs.dependencies else call,
            plain.is_async,
            context,
            None if plain.signature is None else _signature(plain.signature, filled, context),
            arguments,
            filled,
        )
        return cls(call, function, arguments, needs)

    def bound(self, injection: DependencyResolver) -> Function:
        """The function as the workers of a manager call it."""
        if not self.needs.dependencies:
            return self.function
        binding = injection.in_loop if self.function.is_async else injection.in_thread
        call = binding(self.call, self.needs, self.function.context, self.arguments.values)
        return replace(self.function, call=functools.wraps(self.call)(call))


def checked_executor(executor: ExecutorName | None) -> ExecutorName | None:
    """Errors: DefinitionError for anything else than these names."""
    if executor not in (None, "thread", "process"):
        raise DefinitionError("executor", executor, 'must be "thread" or "process"')
    return executor


def _in_process(inspected: UserFunction) -> Function:
    """The function as it is called in a process of its own."""
    target = ProcessTarget.of(inspected.call)
    if inspected.function.context is not None:
        raise DefinitionError(
            "executor", "process", f"{target.name} asks for the RunContext, which belongs to the process of the worker"
        )
    if inspected.needs.dependencies or inspected.needs.injected:
        raise DefinitionError(
            "executor", "process", f"{target.name} has dependencies, which belong to the process of the worker"
        )
    convert = inspected.arguments.values if inspected.arguments else None
    return replace(inspected.function, target=replace(target, convert=convert))


def _needs_of(call: TaskFunction, parameters: Sequence[Parameter]) -> Needs:
    """Errors: DefinitionError for a parameter that needs a request."""
    if "fastapi.params" not in sys.modules:  # then there is no Depends, and no reason to import it
        return Needs((), {}, tuple(one.name for one in parameters if is_injected(one)))
    from fastapi_task_manager.dependency_plan import needs_of_task  # noqa: PLC0415 - see above

    return needs_of_task(call, parameters)


def _signature(signature: inspect.Signature, filled: frozenset[str], context: str | None) -> inspect.Signature:
    """The parameters that take arguments, and the one that takes the RunContext."""
    parameters = {name: one for name, one in signature.parameters.items() if name not in filled}
    if context is not None and context not in parameters:
        parameters[context] = inspect.Parameter(context, inspect.Parameter.KEYWORD_ONLY)
    return signature.replace(parameters=sorted(parameters.values(), key=lambda one: one.kind))


def _free_name(parameters: Sequence[Parameter]) -> str:
    """A name for the RunContext that the function itself does not ask for."""
    name, taken = "run_context_", {one.name for one in parameters}
    while name in taken:
        name += "_"
    return name


def _converting(call: TaskFunction, arguments: ArgumentTypes) -> TaskFunction:
    convert = arguments.values

    # No coroutine of its own: a worker awaits what the function returns.
    @functools.wraps(call)
    def converting(**kwargs: object) -> object:
        return call(**convert(kwargs))

    return converting
