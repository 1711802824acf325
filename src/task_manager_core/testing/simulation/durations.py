"""What replaces the functions of the tasks: durations in virtual time, unless the test asks for the real functions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol, TypeGuard

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.function import Function, signature_of
from task_manager_core.domain.duration import Length, duration
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.cluster.run import sim_loop
from task_manager_core.testing.simulation.naming import key_of_name


class Real(Enum):
    """The function itself."""

    FUNCTION = "the real function"


REAL: Final = Real.FUNCTION
"""Call the real function. An asynchronous function waits in virtual time; a synchronous one takes no time. A function
that asks the event loop for a connection, a program, a signal or a callback from another thread ends the simulation
with `SimLeak`. Everything else that the function does is real: blocking sockets, files, threads."""

Duration = Length | Callable[[datetime], Length]
"""How long a run takes, or a function that returns it for a slot. If the function raises an Exception, the attempt has
failed. If it raises another BaseException (KeyboardInterrupt, `pytest.fail`), the simulation ends."""

DurationRule = Duration | Real
Durations = DurationRule | Mapping[str, DurationRule]

ReadDuration = timedelta | Callable[[datetime], object] | Real
"""The same after validation. The answer of a function is validated when it is called."""

EVERYTHING_ELSE: Final = "*"
DEFAULT: Final = timedelta(seconds=1)


class RecordedExecution(Protocol):
    """An execution that has begun."""

    def end(self, error: BaseException | None) -> None: ...


Begin = Callable[[RunContext], RecordedExecution]
"""Reports to the log that a worker calls a function."""


def durations_of(keys: Collection[TaskKey], given: Durations | None) -> dict[TaskKey, ReadDuration]:
    """The duration of each task. Errors: DefinitionError for a name that no task has, and for an invalid duration."""
    if given is None:
        given = DEFAULT
    if _is_by_name(given):
        read = {name: _read(f"durations[{name!r}]", rule) for name, rule in given.items()}
        rest = read.pop(EVERYTHING_ELSE, DEFAULT)
        found: dict[TaskKey, ReadDuration] = {}
        for name, rule in read.items():
            key = key_of_name(keys, name, "durations")
            if key in found:
                raise DefinitionError(f"durations[{name!r}]", str(key), "is given twice, by two of its names")
            found[key] = rule
        return {key: found.get(key, rest) for key in keys}
    return dict.fromkeys(keys, _read("durations", given))


def _is_by_name(given: Durations) -> TypeGuard[Mapping[str, DurationRule]]:
    return isinstance(given, Mapping)


def _read(field: str, rule: object) -> ReadDuration:
    if isinstance(rule, Real):
        return rule
    if not callable(rule):
        return duration(field, rule, "must be a timedelta, a number of seconds, a function of the slot, or REAL")
    if Function.of(rule).is_async:
        raise DefinitionError(
            field, rule, "must not be asynchronous: it returns how long a run takes, and does not wait"
        )
    signature = signature_of(rule)
    try:
        if signature is not None:
            signature.bind("the slot")
    except TypeError as error:
        raise DefinitionError(field, rule, f"must take the slot as its one argument: {error}") from None
    return rule


def fill(
    target: Declarations,
    source: Declarations,
    dynamic: Collection[TaskDefinition],
    durations: Mapping[TaskKey, ReadDuration],
    begin: Begin,
) -> None:
    """Declare on a machine what the source declares, with functions that report when they begin and end."""
    for task in source.declared.values():
        function = source.function_of(task.run_of_request("simulation", 0))
        assert function is not None
        target.declare(task, _replacement(function, durations, begin))
    names = {FunctionKey(task.key.group, task.function) for task in dynamic}
    for key in sorted(names):
        target.register(key, _replacement(source.function(key), durations, begin))


def _replacement(
    function: Function | None, durations: Mapping[TaskKey, ReadDuration], begin: Begin
) -> Callable[..., Awaitable[None]]:
    async def work(simulated_context_: RunContext, **arguments: object) -> None:
        context = simulated_context_
        execution = begin(context)
        try:
            await _execute(function, durations[context.task], context, arguments)
        except BaseException as error:
            execution.end(error)
            raise
        execution.end(None)

    return work


async def _execute(
    function: Function | None, rule: ReadDuration, context: RunContext, arguments: dict[str, object]
) -> None:
    if isinstance(rule, Real):
        await _call(function, context, arguments)
        return
    lasting = rule if isinstance(rule, timedelta) else _duration_of(rule, context)
    await asyncio.sleep(lasting.total_seconds())


async def _call(function: Function | None, context: RunContext, arguments: dict[str, object]) -> None:
    if function is None:
        raise DefinitionError("durations", str(context.task), "has no function here that could be called")
    if function.context is not None:
        arguments[function.context] = context
    try:
        result = function.call(**arguments)
        if isinstance(result, Awaitable):
            await result
    except KeyboardInterrupt as error:
        sim_loop().fail(error)  # a worker would settle the attempt as failed
        raise


def _duration_of(rule: Callable[[datetime], object], context: RunContext) -> timedelta:
    """Call the function of the slot. An invalid answer, and an error that is no Exception, end the simulation: a worker
    would settle the attempt as failed."""
    assert context.slot is not None, "a simulation triggers no run by hand"
    try:
        answer = rule(context.slot)
    except BaseException as error:
        if not isinstance(error, Exception):
            sim_loop().fail(error)
        raise
    field = f"durations[{str(context.task)!r}]"
    try:
        return duration(
            field, answer, f"its function must return a timedelta or a number of seconds, for {context.slot} too"
        )
    except DefinitionError as error:
        sim_loop().fail(error)
        raise
