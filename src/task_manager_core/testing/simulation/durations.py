"""What stands in for the functions of the tasks: lengths of virtual time, unless the real ones are asked for."""

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
from task_manager_core.testing.simulation.naming import the_task


class Real(Enum):
    """The function itself."""

    FUNCTION = "the real function"


REAL: Final = Real.FUNCTION
"""Call the function. Asynchronous ones wait in virtual time, synchronous ones take none. What goes through the event
loop (connections, programs, signals, callbacks from other threads) ends the rehearsal with `SimLeak`; whatever else a
function does to the world, with blocking sockets, programs and threads too, it does."""

Duration = Length | Callable[[datetime], Length]
"""How long a run takes, or a function of its slot that says so. An Exception that it raises is the failure of the
attempt; whatever else it raises (KeyboardInterrupt, `pytest.fail`) ends the rehearsal."""

DurationRule = Duration | Real
Durations = DurationRule | Mapping[str, DurationRule]

ReadDuration = timedelta | Callable[[datetime], object] | Real
"""The same, read: what a function of the slot answers is read when it does."""

EVERYTHING_ELSE: Final = "*"
DEFAULT: Final = timedelta(seconds=1)


class RecordedExecution(Protocol):
    """An execution that has begun."""

    def end(self, error: BaseException | None) -> None: ...


Begin = Callable[[RunContext], RecordedExecution]
"""Somebody begins to execute."""


def durations_of(keys: Collection[TaskKey], said: Durations | None) -> dict[TaskKey, ReadDuration]:
    """What each task does in a rehearsal. Errors: DefinitionError for names of no task and impossible lengths."""
    if said is None:
        said = DEFAULT
    if _is_by_name(said):
        read = {name: _read(f"durations[{name!r}]", body) for name, body in said.items()}
        rest = read.pop(EVERYTHING_ELSE, DEFAULT)
        found: dict[TaskKey, ReadDuration] = {}
        for name, body in read.items():
            key = the_task(keys, name, "durations")
            if key in found:
                raise DefinitionError(f"durations[{name!r}]", str(key), "is said twice, by two of its names")
            found[key] = body
        return {key: found.get(key, rest) for key in keys}
    return dict.fromkeys(keys, _read("durations", said))


def _is_by_name(said: Durations) -> TypeGuard[Mapping[str, DurationRule]]:
    return isinstance(said, Mapping)


def _read(field: str, body: object) -> ReadDuration:
    if isinstance(body, Real):
        return body
    if not callable(body):
        return duration(field, body, "must be a timedelta, a number of seconds, a function of the slot, or REAL")
    if Function.of(body).is_async:
        raise DefinitionError(
            field, body, "must not be asynchronous: it says how long a run takes, and waits for nothing"
        )
    signature = signature_of(body)
    try:
        if signature is not None:
            signature.bind("the slot")
    except TypeError as error:
        raise DefinitionError(field, body, f"must take the slot as its one argument: {error}") from None
    return body


def fill(
    target: Declarations,
    source: Declarations,
    dynamic: Collection[TaskDefinition],
    bodies: Mapping[TaskKey, ReadDuration],
    begin: Begin,
) -> None:
    """Declare on a machine what the source declares, with functions that say when they begin and end."""
    for task in source.declared.values():
        function = source.function_of(task.run_of_request("rehearsal", 0))
        assert function is not None
        target.declare(task, _stand_in(function, bodies, begin))
    names = {FunctionKey(task.key.group, task.function) for task in dynamic}
    for key in sorted(names):
        target.register(key, _stand_in(source.function(key), bodies, begin))


def _stand_in(
    function: Function | None, bodies: Mapping[TaskKey, ReadDuration], begin: Begin
) -> Callable[..., Awaitable[None]]:
    async def work(simulated_context_: RunContext, **arguments: object) -> None:
        context = simulated_context_
        entry = begin(context)
        try:
            await _act(function, bodies[context.task], context, arguments)
        except BaseException as error:
            entry.end(error)
            raise
        entry.end(None)

    return work


async def _act(
    function: Function | None, body: ReadDuration, context: RunContext, arguments: dict[str, object]
) -> None:
    if isinstance(body, Real):
        await _call(function, context, arguments)
        return
    lasting = body if isinstance(body, timedelta) else _answer(body, context)
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
        sim_loop().fail(error)  # a worker would take it for the failure of the attempt
        raise


def _answer(body: Callable[[datetime], object], context: RunContext) -> timedelta:
    """What a function of the slot says. Wrong answers, and what is no Exception, are for whoever rehearses: a worker
    would take them for the failure of the attempt."""
    assert context.slot is not None, "a rehearsal triggers nothing"
    try:
        said = body(context.slot)
    except BaseException as error:
        if not isinstance(error, Exception):
            sim_loop().fail(error)
        raise
    field = f"durations[{str(context.task)!r}]"
    try:
        return duration(
            field, said, f"its function must return a timedelta or a number of seconds, for {context.slot} too"
        )
    except DefinitionError as error:
        sim_loop().fail(error)
        raise
