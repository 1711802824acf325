"""What stands in for the functions of the tasks: lengths of virtual time, unless the real ones are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol

from task_manager_core.application.context import RunContext
from task_manager_core.application.registry import Function, Registry
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.task import Task
from task_manager_core.testing.rehearsal.naming import the_task


class Real(Enum):
    """The function itself."""

    FUNCTION = "the real function"


REAL: Final = Real.FUNCTION
"""Call the function. Asynchronous ones wait in virtual time, synchronous ones take none; whatever else a function does
to the world, it does."""

Duration = timedelta | Callable[[datetime], timedelta]
"""How long a run takes, or a function of its slot that says so. What that raises is the failure of the attempt."""

Body = Duration | Real
Bodies = Body | Mapping[str, Body]

EVERYTHING_ELSE: Final = "*"
DEFAULT: Final = timedelta(seconds=1)


class Entry(Protocol):
    """An execution that has begun."""

    def end(self, error: BaseException | None) -> None: ...


Begin = Callable[[str, RunContext], Entry]
"""(machine, context): somebody begins to execute."""


def bodies_of(keys: Collection[TaskKey], said: Bodies | None) -> dict[TaskKey, Body]:
    """What each task does in a rehearsal. Errors: DefinitionError for names of no task and impossible lengths."""
    if said is None:
        said = DEFAULT
    if isinstance(said, (timedelta, Real)) or callable(said):
        return {key: _checked(said) for key in keys}
    rest = said.get(EVERYTHING_ELSE, DEFAULT)
    found = {
        the_task(keys, name, "durations"): _checked(body) for name, body in said.items() if name != EVERYTHING_ELSE
    }
    return {key: found.get(key, _checked(rest)) for key in keys}


def _checked(body: Body) -> Body:
    if isinstance(body, timedelta) and body < timedelta(0):
        raise DefinitionError("durations", body, "must not be negative")
    return body


def fill(
    target: Registry,
    source: Registry,
    dynamic: Collection[Task],
    bodies: Mapping[TaskKey, Body],
    machine: str,
    begin: Begin,
) -> None:
    """Declare on a machine what the source declares, with functions that say when they begin and end."""
    for task in source.declared.values():
        function = source.function_of(task.run_of_request("rehearsal", 0))
        assert function is not None
        target.declare(task, _stand_in(function, bodies, machine, begin))
    names = {FunctionKey(task.key.group, task.function) for task in dynamic}
    for key in sorted(names):
        target.register(key, _stand_in(source.function(key), bodies, machine, begin))


def _stand_in(
    function: Function | None, bodies: Mapping[TaskKey, Body], machine: str, begin: Begin
) -> Callable[..., Awaitable[None]]:
    async def work(rehearsal_context_: RunContext, **arguments: object) -> None:
        context = rehearsal_context_
        entry = begin(machine, context)
        try:
            await _act(function, bodies[context.task], context, arguments)
        except BaseException as error:
            entry.end(error)
            raise
        entry.end(None)

    return work


async def _act(function: Function | None, body: Body, context: RunContext, arguments: dict[str, object]) -> None:
    if isinstance(body, Real):
        if function is None:
            raise DefinitionError("durations", str(context.task), "has no function here that could be called")
        if function.context is not None:
            arguments[function.context] = context
        result = function.call(**arguments)
        if isinstance(result, Awaitable):
            await result
        return
    assert context.slot is not None, "a rehearsal triggers nothing"
    length = body if isinstance(body, timedelta) else body(context.slot)
    await asyncio.sleep(length.total_seconds())
