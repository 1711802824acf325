"""Requests of code for runs: which task is meant, and which arguments its function gets."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard
from uuid import uuid4

from fastapi_task_manager.declaration_args import name_of
from fastapi_task_manager.group_contents import contents_of
from fastapi_task_manager.group_registry import GroupRegistry
from fastapi_task_manager.lifecycle import ManagerLifecycle
from fastapi_task_manager.run_handle import RunHandle
from fastapi_task_manager.user_function import UserFunction
from task_manager_core.application.control import Control
from task_manager_core.application.requested_runs import RunOptions
from task_manager_core.domain.errors import DefinitionError, DuplicateTask, InvalidArguments, TaskNotFound
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.task import VersionedDefinition
from task_manager_core.ports import REPEAT_MEMORY, REQUEST_MEMORY

_TASKS_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequests:
    """Makes requests with the same options. `idempotency_key` None: each request is another one."""

    groups: GroupRegistry
    lifecycle: ManagerLifecycle
    idempotency_key: str | None = None
    options: RunOptions = RunOptions()

    def with_options(self, idempotency_key: str | None, options: RunOptions) -> RunRequests:
        return replace(self, idempotency_key=idempotency_key, options=options)

    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the manager. Errors: NotRunningError."""
        return self.lifecycle.running_loop()

    def handle(self, key: TaskKey, run_id: str) -> RunHandle:
        return RunHandle(self._control, self.lifecycle.endings, key, run_id)

    def key_of(self, task: object) -> TaskKey:
        """The task that code names, by its function or by group and name. Errors: TypeError, DefinitionError."""
        if _is_name(task):
            return TaskKey(*task)
        if not callable(task):
            raise TypeError(f"task must be a function or (group, name), not {task!r}")
        found = self._tasks_of(task)
        if not found:
            raise DefinitionError(
                "task", name_of(task), "no group of this manager has a task or a registered function of it"
            )
        if len(found) > 1:
            shown = ", ".join(repr((key.group, key.name)) for key in found[:_TASKS_NAMED])
            more = ", …" if len(found) > _TASKS_NAMED else ""
            raise DefinitionError("task", name_of(task), f"has several tasks; name one of them: {shown}{more}")
        return found[0]

    async def trigger(self, task: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> RunHandle:
        """Queue a run. Errors: those of `RequestedRuns.queue` and `key_of`; TaskNotFound; NotRunningError."""
        control, key = self._control(), self.key_of(task)
        stored = await self._stored(control, key)
        function = self._function(stored)
        if callable(task) and (function is None or function.call != task):
            reason = f"the task {key} calls another function, {stored.definition.function!r}"
            raise DefinitionError("task", name_of(task), reason)
        given = _arguments(function, args, kwargs)
        request, memory = (
            (uuid4().hex, REPEAT_MEMORY) if self.idempotency_key is None else (self.idempotency_key, REQUEST_MEMORY)
        )
        run = await control.requested_runs.queue(stored, request, given, self.options, memory)
        return self.handle(key, run.value)

    def _control(self) -> Control:
        return self.lifecycle.running().control

    def _tasks_of(self, call: object) -> list[TaskKey]:
        """The static tasks of a function; if there are none, the names under which it is registered."""
        groups = [contents_of(group) for group in self.groups.groups]
        static = [TaskKey(group.name, name) for group in groups for name in group.static_names_of(call)]
        return static or [TaskKey(group.name, name) for group in groups for name in group.function_names_of(call)]

    def _function(self, stored: VersionedDefinition) -> UserFunction | None:
        """The function of a task, None if this process does not register it."""
        key = stored.definition.key
        if not self.groups.has(key.group):
            return None
        contents = self.groups.contents(key.group)
        declared = contents.static.get(key.name)
        return contents.functions.get(stored.definition.function) if declared is None else declared[1]

    async def _stored(self, control: Control, key: TaskKey) -> VersionedDefinition:
        """The definition of the task. A function that code registered without a task gets one with its first run.

        Errors: TaskNotFound.
        """
        try:
            return control.definition(key)
        except TaskNotFound:
            pass
        try:
            return await control.current(key)
        except TaskNotFound:
            contents = self.groups.contents(key.group) if self.groups.has(key.group) else None
            if contents is None or not contents.is_named(key.name):
                raise
        try:
            return await control.add(self.groups.definition(contents.on_request(key.name)))
        except DuplicateTask:  # Another request was first.
            return await control.current(key)


def _arguments(
    function: UserFunction | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, object] | None:
    """The arguments as JSON. None if the caller gave none: then the run has those of the task.

    Errors: InvalidArguments.
    """
    given = {**_by_name(function, args), **kwargs} if args else dict(kwargs)
    if len(given) != len(args) + len(kwargs):
        twice = next(name for name in given if name in kwargs)
        raise InvalidArguments("kwargs", given, f"{twice!r} is given by position and by name")
    if not given:
        return None
    return given if function is None else function.arguments.kwargs_to_json(given)


def _is_name(task: object) -> TypeGuard[tuple[str, str]]:
    return _is_tuple(task) and len(task) == 2 and all(isinstance(part, str) for part in task)


def _is_tuple(task: object) -> TypeGuard[tuple[object, ...]]:
    return isinstance(task, tuple)


def _by_name(function: UserFunction | None, args: Sequence[Any]) -> dict[str, object]:
    """Arguments by position, as arguments by name. What a worker fills takes no position."""
    signature = None if function is None else function.function.signature
    if function is None or signature is None:
        raise InvalidArguments("args", list(args), "this process does not know the parameters: give arguments by name")
    names = [
        name
        for name, one in signature.parameters.items()
        if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and name != function.function.context
    ]
    if len(args) > len(names):
        raise InvalidArguments("args", list(args), f"{name_of(function.call)}() takes {len(names)} by position")
    return dict(zip(names, args, strict=False))
