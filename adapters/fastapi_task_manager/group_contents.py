"""What a group contains, for the managers that it is added to. Applications see `TaskGroup` and nothing of this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from fastapi_task_manager.options import ONE_KIND, Defaults
from fastapi_task_manager.task import Task, joined_tags
from fastapi_task_manager.task_translation import (
    changed_task,
    definition_of,
    distinguishing_suffix,
    task_of,
    with_backoff_beside,
)
from fastapi_task_manager.user_function import UserFunction
from task_manager_core.application.callbacks import Callbacks
from task_manager_core.domain.errors import (
    DuplicateFunction,
    DuplicateTask,
    InvalidPolicy,
    TaskIsStatic,
    TaskNotFound,
    UnknownFunction,
)
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition

if TYPE_CHECKING:
    from fastapi_task_manager.task_group import TaskGroup


IfExists: TypeAlias = Literal["refuse", "keep", "replace"]
"""What to do if a dynamic task of the name exists."""


_WORDS: tuple[IfExists, ...] = ("refuse", "keep", "replace")


def checked_word(if_exists: str) -> IfExists:
    """Errors: InvalidPolicy."""
    for word in _WORDS:
        if if_exists == word:
            return word
    raise InvalidPolicy("if_exists", if_exists, 'must be "refuse", "keep" or "replace"')


class GroupListener(Protocol):
    """A manager that a group was added to."""

    def define(self, group: GroupContents, task: Task) -> TaskDefinition:
        """The definition of a task under the Config of this manager. Errors: DefinitionError."""
        ...

    def declared(self, definition: TaskDefinition, function: UserFunction) -> None:
        """Code has declared a static task."""
        ...

    def registered(self, group: GroupContents, name: str, function: UserFunction) -> None:
        """Code has registered a function, or a static task has brought it along."""
        ...

    def added(self, task: Task, definition: TaskDefinition, *, replace: bool) -> None:
        """Code has added a dynamic task. It replaces a stored one of its name, or that one is kept."""
        ...

    def removed(self, group: GroupContents, name: str) -> None:
        """Code has removed a dynamic task."""
        ...

    def listed(self, group: GroupContents) -> dict[str, Task]:
        """The dynamic tasks of the group: those that the store holds, after the changes that code has requested."""
        ...

    def find(self, group: GroupContents, name: str) -> Task | None:
        """The one of this name among them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTask:
    """A task with its definition for each manager of the group."""

    task: Task
    definitions: Mapping[GroupListener, TaskDefinition]


class GroupContents:
    """The tasks and functions of one group."""

    def __init__(self, *, name: str, tags: list[str], allow_parallel: bool | None, timezone: str | None) -> None:
        self.name = name
        self.tags = tags
        self.allow_parallel = allow_parallel
        self.timezone = timezone
        self.static: dict[str, tuple[Task, UserFunction]] = {}
        """The tasks that code declares, by name."""
        self.functions: dict[str, UserFunction] = {}
        """The functions that dynamic tasks may name."""
        self.callbacks: Callbacks | None = None
        """Those of the group."""
        self._tasks_of: dict[object, list[str]] = {}
        self._functions_of: dict[object, list[str]] = {}
        """The names of the static tasks and of the functions, by the callable."""
        self._task_callbacks: dict[str, Callbacks] = {}
        self._named: set[str] = set()
        self._unmanaged: dict[str, Task] = {}
        """The dynamic tasks that code added before the group had a manager."""
        self._replacing: set[str] = set()
        """The names of those that replace a stored task."""
        self._listeners: list[GroupListener] = []

    @property
    def static_tasks(self) -> list[Task]:
        return [task for task, _ in self.static.values()]

    @property
    def dynamic_tasks(self) -> list[Task]:
        """The dynamic tasks that this process knows of."""
        tasks = dict(self._unmanaged)
        for listener in self._listeners:
            tasks.update(listener.listed(self))
        return list(tasks.values())

    def callbacks_of(self, name: str) -> list[Callbacks]:
        """The callbacks of a task: its own, then those of the group."""
        found = self._task_callbacks.get(name), self.callbacks
        return [callbacks for callbacks in found if callbacks is not None]

    def static_names_of(self, call: object) -> list[str]:
        """The names of the static tasks that call it."""
        return self._tasks_of.get(_hashable(call), [])

    def function_names_of(self, call: object) -> list[str]:
        """The names under which it is registered."""
        return self._functions_of.get(_hashable(call), [])

    def is_named(self, function_name: str) -> bool:
        """Did code choose this name with `register_function`? Otherwise a static task brought the function along."""
        return function_name in self._named

    def defaults(self, of_config: Defaults) -> Defaults:
        """The values for a task of this group that leaves them open."""
        return of_config.of_group(allow_parallel=self.allow_parallel, timezone=self.timezone)

    def replaces(self, name: str) -> bool:
        """Does a dynamic task that code added before the group had a manager replace a stored one?"""
        return name in self._replacing

    def attach(self, listener: GroupListener) -> None:
        """Report changes to this manager from now on. It lists the dynamic tasks from now on, too."""
        self._listeners.append(listener)
        self._unmanaged.clear()
        self._replacing.clear()

    # -- code declares ------------------------------------------------------------------------------------------------

    def declare(
        self,
        names: Sequence[str],
        function_name: str,
        function: UserFunction,
        words: Sequence[Mapping[str, Any]],
        callbacks: Callbacks | None = None,
    ) -> None:
        """Declare static tasks with one function: all of them, or none.

        `words` are the arguments of `add_task`, one mapping for each name. Errors: DefinitionError, TypeError.
        """
        tasks: list[Task] = []
        for name, arguments in zip(names, words, strict=True):
            words_in_json = {**arguments, "kwargs": function.arguments.to_json(arguments["kwargs"])}
            said = changed_task(Task(group=self.name, name=name, function_name=function_name), words_in_json)
            _check_arguments(function, said)
            tasks.append(replace(said, function=function.call, tags=joined_tags(self.tags, said.tags)))
        for task in tasks:
            if self._find(task.name) is not None:
                raise DuplicateTask(self.name, task.name)
        for checked in self._checked(tasks):
            self.static[checked.task.name] = checked.task, function
            self._tasks_of.setdefault(_hashable(function.call), []).append(checked.task.name)
            if callbacks is not None:
                self._task_callbacks[checked.task.name] = callbacks
            for listener, definition in checked.definitions.items():
                listener.declared(definition, function)

    def register(self, name: str, function: UserFunction, *, named: bool) -> None:
        """Let dynamic tasks call a function. Of two functions that static tasks bring along under one name, the first
        is kept: functions that a loop makes share their name. Errors: DuplicateFunction, or InvalidPolicy for
        another executor, for a name that code chose."""
        if name not in self.functions:
            self._functions_of.setdefault(_hashable(function.call), []).append(name)
        known = self.functions.setdefault(name, function)
        if known.call is not function.call:
            if named:
                raise DuplicateFunction(self.name, name)
            return
        if named:
            if known.executor != function.executor:
                raise InvalidPolicy(
                    "executor", function.executor, f"{name} is registered with the executor {known.executor!r}"
                )
            self._named.add(name)
        for listener in self._listeners:
            listener.registered(self, name, known)

    # -- code changes dynamic tasks -----------------------------------------------------------------------------------

    def draft(self, name: str | None, words: Mapping[str, Any]) -> CheckedTask:
        """A checked dynamic task, made of the arguments of `add_dynamic_task`. The caller looks whether its name is
        taken. Errors: DefinitionError, TypeError."""
        given = self._in_json(words.get("function_name"), words)
        task = self._scheduled(changed_task(Task(group=self.name, name="", function_name="", dynamic=True), given))
        task = replace(task, name=f"{task.function_name}__{distinguishing_suffix(task)}" if name is None else name)
        (checked,) = self._checked([self._tagged(task)])
        return checked

    def on_request(self, function_name: str) -> CheckedTask:
        """A checked dynamic task without a schedule, for requests for runs of this function. Errors: as for `draft`."""
        task = self._callable(Task(group=self.name, name=function_name, function_name=function_name, dynamic=True))
        (checked,) = self._checked([self._tagged(task)])
        return checked

    def redraft(self, stored: VersionedDefinition, changes: Mapping[str, Any]) -> CheckedTask:
        """A checked dynamic task: the stored one with some arguments of `draft` replaced. Errors: as for `draft`."""
        changes = self._in_json(changes.get("function_name") or stored.definition.function, changes)
        task = self._callable(changed_task(task_of(stored, None), changes))
        if stored.definition.schedule.rules:
            _require_schedule(task)
        backoffs = [word for word in ("retry_backoff", "retry_backoff_max") if word in changes]
        if len(backoffs) == 1 and changes[backoffs[0]] is not None:
            task = with_backoff_beside(task, stored.definition.retry, backoffs[0])
        return self._defined(self._tagged(task) if "tags" in changes else task)

    def add_dynamic_task(self, checked: CheckedTask, if_exists: IfExists = "refuse") -> Task:
        """The task as it is listed from now on. Errors: DuplicateTask."""
        task, known = checked.task, self._find(checked.task.name)
        if known is not None and if_exists == "keep":
            return known
        if known is not None and if_exists == "refuse":
            raise DuplicateTask(self.name, task.name)
        if not self._listeners:
            self._unmanaged[task.name] = task
            if if_exists == "replace":
                self._replacing.add(task.name)
        for listener, definition in checked.definitions.items():
            listener.added(task, definition, replace=if_exists == "replace")
        return task

    def remove_dynamic_task(self, name: str) -> Task:
        """Errors: TaskIsStatic, TaskNotFound."""
        if name in self.static:
            raise TaskIsStatic(self.name, name, "removed")
        removed = self._find(name)
        if removed is None:
            raise TaskNotFound(self.name, name)
        self._unmanaged.pop(name, None)
        self._replacing.discard(name)
        for listener in self._listeners:
            listener.removed(self, name)
        return removed

    # -- checks -------------------------------------------------------------------------------------------------------

    def _scheduled(self, task: Task) -> Task:
        """The same for a task that needs a schedule. Errors: InvalidPolicy, too."""
        task = self._callable(task)
        _require_schedule(task)
        return task

    def _callable(self, task: Task) -> Task:
        """The dynamic task with its function. Errors: UnknownFunction, InvalidArguments."""
        function = self.functions.get(task.function_name)
        if function is None:
            raise UnknownFunction(self.name, task.function_name)
        _check_arguments(function, task)
        return replace(task, function=function.call)

    def _in_json(self, function_name: object, words: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same words, with the arguments of the function as JSON. Errors: InvalidArguments."""
        function = self.functions.get(function_name) if isinstance(function_name, str) else None
        if function is None or "kwargs" not in words:
            return words
        return {**words, "kwargs": function.arguments.to_json(words["kwargs"])}

    def _tagged(self, task: Task) -> Task:
        """The task with the group's tags before its own."""
        return replace(task, tags=joined_tags(self.tags, task.tags))

    def _find(self, name: str) -> Task | None:
        """The dynamic task of this name."""
        found = (listener.find(self, name) for listener in self._listeners)
        return next((task for task in found if task is not None), self._unmanaged.get(name))

    def _checked(self, tasks: Sequence[Task]) -> list[CheckedTask]:
        """New tasks. Errors: DuplicateTask, DefinitionError."""
        names: set[str] = set()
        checked: list[CheckedTask] = []
        for task in tasks:
            if task.name in self.static or task.name in names:
                raise DuplicateTask(self.name, task.name)
            names.add(task.name)
            checked.append(self._defined(task, is_new=True))
        return checked

    def _defined(self, task: Task, *, is_new: bool = False) -> CheckedTask:
        """The task with its definitions. A group without a manager checks the task under the defaults of Config."""
        definitions = {listener: listener.define(self, task) for listener in self._listeners}
        for definition in definitions.values() or [definition_of(task, self.defaults(Defaults()))]:
            if is_new:
                definition.check_names()
        return CheckedTask(task=task, definitions=definitions)


def _hashable(call: object) -> object:
    """The callable as the key of a dictionary. An object that has no hash is known by its identity."""
    try:
        hash(call)
    except TypeError:
        return id(call)
    return call


def _require_schedule(task: Task) -> None:
    """Errors: InvalidPolicy."""
    if not task.options.has_schedule:
        raise InvalidPolicy("cron_expression", None, f"{ONE_KIND}, not none of them")


def _check_arguments(function: UserFunction, task: Task) -> None:
    """A task without a schedule may leave its arguments to its requests. Errors: InvalidArguments."""
    if task.kwargs or task.options.has_schedule:
        function.function.check(dict(task.kwargs))


def contents_of(group: TaskGroup) -> GroupContents:
    """The one way from a group to its contents."""
    return group._contents  # pyright: ignore[reportPrivateUsage] - private to applications, not to managers
