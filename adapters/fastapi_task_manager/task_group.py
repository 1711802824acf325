"""A named collection of tasks, filled by decorators and at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, Unpack

from fastapi_task_manager.declaration_args import Expression, Kwargs, name_of, pairs_of, refuse_bare_decorator
from fastapi_task_manager.options import Defaults, TaskOptions, flag, name_list, text
from fastapi_task_manager.task import Task, TaskFunction, joined_tags
from task_manager_core.application.registry import Function
from task_manager_core.domain.errors import (
    DuplicateFunction,
    DuplicateTask,
    TaskIsStatic,
    TaskNotFound,
    UnknownFunction,
)
from task_manager_core.domain.identity import check_name
from task_manager_core.domain.task import VersionedDefinition
from task_manager_core.domain.zone import load_zone

F = TypeVar("F", bound=TaskFunction)


class GroupListener(Protocol):
    """Who wants to know what a group contains: each manager that the group was added to."""

    def check(self, group: TaskGroup, tasks: Sequence[Task]) -> None:
        """Refuse what cannot be, before anything is kept. Errors: DefinitionError."""
        ...

    def declared(self, group: TaskGroup, task: Task) -> None: ...

    def registered(self, group: TaskGroup, name: str, function: TaskFunction) -> None: ...

    def added(self, group: TaskGroup, task: Task) -> None: ...

    def removed(self, group: TaskGroup, name: str) -> None: ...

    def listed(self, group: TaskGroup) -> dict[str, Task]:
        """The dynamic tasks of the group: what the store holds, and what code has asked for since."""
        ...

    def find(self, group: TaskGroup, name: str) -> Task | None:
        """The one of this name among them."""
        ...


class TaskGroup:
    """A group of tasks. May be filled before and after it is added to a manager, also while the manager runs."""

    def __init__(
        self,
        name: str,
        tags: Sequence[str] | None = None,
        allow_parallel: bool | None = None,
        *,
        timezone: str | None = None,
    ) -> None:
        """Create an empty group.

        Args:
            name: Unique within a manager; 1 to 200 characters.
            tags: Tags that every task of the group carries.
            allow_parallel: May several runs of one task live at once? None: what Config says.
            timezone: IANA name of the zone of the group's cron expressions. None: what Config says.

        Raises:
            RuntimeError: An impossible name, tag or time zone.
        """
        self._name = check_name("name", name)
        self._tags = [] if tags is None else joined_tags(name_list("tags", tags))
        if timezone is not None:
            load_zone(timezone)
        self._allow_parallel = None if allow_parallel is None else flag("allow_parallel", allow_parallel)
        self._timezone = timezone
        self._static: dict[str, Task] = {}
        self._unmanaged: dict[str, Task] = {}
        """Dynamic tasks that wait for a manager; its listing takes over."""
        self._functions: dict[str, TaskFunction] = {}
        self._named: set[str] = set()
        self._listeners: list[GroupListener] = []

    @property
    def name(self) -> str:
        """The group's name."""
        return self._name

    @property
    def tags(self) -> list[str]:
        """A copy of the group's tags."""
        return list(self._tags)

    @property
    def allow_parallel(self) -> bool | None:
        """The group's word on parallel runs; None leaves it to Config."""
        return self._allow_parallel

    @property
    def timezone(self) -> str | None:
        """The group's word on the time zone; None leaves it to Config."""
        return self._timezone

    @property
    def tasks(self) -> list[Task]:
        """A copy of the list of tasks: those that code declares, then the dynamic ones this process knows of."""
        return [*self.static_tasks, *self.dynamic_tasks]

    @property
    def function_registry(self) -> dict[str, TaskFunction]:
        """A copy of the functions that dynamic tasks may name."""
        return dict(self._functions)

    def add_task(
        self,
        expr: Expression | Sequence[Expression] | None = None,
        kwargs: Kwargs | Sequence[Kwargs] | None = None,
        tags: Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        high_priority: bool = False,
        retry_backoff: float | None = None,
        retry_backoff_max: float | None = None,
        register: bool = True,
        allow_parallel: bool | None = None,
        **options: Unpack[TaskOptions],
    ) -> Callable[[F], F]:
        """Declare the decorated function as one task or several.

        `expr` and `kwargs` may each be a list: one task per pair; a value that is not a list goes with every item of
        the other. One pair keeps the plain name; several are numbered, `name__1`, `name__2`, in the order of the lists,
        so that editing a cron text keeps a task's pause and history. Put new pairs at the end.

        Args:
            expr: Cron expression with 5 fields, or 6 with the seconds first; `@hourly` and the like; `H` for a hashed
                value. A tuple of expressions is one task that runs by all of them.
            kwargs: Keyword arguments of the function, JSON.
            tags: Tags in addition to the group's.
            name: Name of the task. Default: the function's name.
            description: Free text.
            high_priority: Claim runs of this task before others.
            retry_backoff: Seconds before the first retry of a failed run. Default: Config's.
            retry_backoff_max: Longest delay between retries in seconds. Default: Config's.
            register: Let dynamic tasks call the function, too: under `name` where it is given, else under the
                function's name. Of two functions with one name the first is called.
            allow_parallel: May several runs of the task live at once? None: what the group says.
            **options: See `TaskOptions`.

        Returns:
            A decorator that returns the function unchanged.

        Raises:
            RuntimeError: A name that already exists, a bad cron expression, time zone or number, arguments that are not
                JSON or that the function does not accept, a generator.
            TypeError: Lists of different length, or no parentheses behind `add_task`.
        """
        refuse_bare_decorator('add_task("* * * * *")', expr)
        pairs = pairs_of(expr, kwargs)
        is_registered = flag("register", register)

        def declare(function: F) -> F:
            plain = check_name("name", name_of(function) if name is None else name)
            names = [plain] if len(pairs) == 1 else [f"{plain}__{number}" for number in range(1, len(pairs) + 1)]
            tasks = [
                self._tagged(
                    Task(group=self._name, name=task_name, function_name="").changed(
                        function_name=name_of(function),
                        cron_expression=expression,
                        kwargs=arguments,
                        description=description,
                        high_priority=high_priority,
                        tags=tags,
                        retry_backoff=retry_backoff,
                        retry_backoff_max=retry_backoff_max,
                        allow_parallel=allow_parallel,
                        **options,
                    )
                ).calling(function)
                for task_name, (expression, arguments) in zip(names, pairs, strict=True)
            ]
            for task in tasks:
                if self._find(task.name) is not None:
                    raise DuplicateTask(self._name, task.name)
            self._check(tasks)
            self._declare(tasks)
            if is_registered:
                self._register(plain, function, named=False)
            return function

        return declare

    def register_function(self, name: str | None = None) -> Callable[[F], F]:
        """Let dynamic tasks call the decorated function, without a schedule of its own.

        Args:
            name: Name that dynamic tasks use. Default: the function's name.

        Returns:
            A decorator that returns the function unchanged.

        Raises:
            RuntimeError: Another function is already registered under this name, or it is a generator.
            TypeError: No parentheses behind `register_function`.
        """

        def register(function: F) -> F:
            Function.of(function)
            self._register(check_name("name", name_of(function) if name is None else name), function, named=True)
            return function

        refuse_bare_decorator("register_function()", name)
        return register

    def add_dynamic_task(
        self,
        function_name: str,
        cron_expression: Expression | None = None,
        kwargs: Kwargs | None = None,
        name: str | None = None,
        description: str | None = None,
        high_priority: bool = False,
        tags: Sequence[str] | None = None,
        retry_backoff: float | None = None,
        retry_backoff_max: float | None = None,
        allow_parallel: bool | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Add a task that calls a registered function. It is created within a poll, before the start of the manager at
        its start, unless the store holds a dynamic task of this name: that one stays, and is listed then.

        Args:
            function_name: A function registered in this group.
            cron_expression: As in `add_task`; a list is the union of its expressions.
            kwargs: Keyword arguments of the function, JSON.
            name: Name of the task. Default: the function's name and a suffix that depends on all other arguments.
            description: Free text.
            high_priority: Claim runs of this task before others.
            tags: Tags in addition to the group's.
            retry_backoff: Seconds before the first retry of a failed run. Default: Config's.
            retry_backoff_max: Longest delay between retries in seconds. Default: Config's.
            allow_parallel: May several runs of the task live at once? None: what the group says.
            **options: See `TaskOptions`.

        Returns:
            The task, as the group lists it from now on.

        Raises:
            RuntimeError: A function that is not registered, a name that already exists, or any value that `add_task`
                refuses.
        """
        task = self.draft(
            name,
            function_name=function_name,
            cron_expression=cron_expression,
            kwargs=kwargs,
            description=description,
            high_priority=high_priority,
            tags=tags,
            retry_backoff=retry_backoff,
            retry_backoff_max=retry_backoff_max,
            allow_parallel=allow_parallel,
            **options,
        )
        if self._find(task.name) is not None:
            raise DuplicateTask(self._name, task.name)
        if not self._listeners:
            self._unmanaged[task.name] = task
        for listener in self._listeners:
            listener.added(self, task)
        return task

    def remove_dynamic_task(self, name: str) -> Task:
        """Remove a dynamic task with all its state. The store forgets it within a poll.

        Args:
            name: Name of the task.

        Returns:
            The removed task.

        Raises:
            RuntimeError: The task is not found, or is static and cannot be removed.
        """
        if text("name", name) in self._static:
            raise TaskIsStatic(self._name, name, "removed")
        removed = self._find(name)
        if removed is None:
            raise TaskNotFound(self._name, name)
        self._unmanaged.pop(name, None)
        for listener in self._listeners:
            listener.removed(self, name)
        return removed

    # -- for managers -------------------------------------------------------------------------------------------------

    def draft(self, name: str | None, **words: object) -> Task:
        """A checked dynamic task of the arguments of `add_dynamic_task`; the store knows whether its name is taken."""
        task = self._callable(Task(group=self._name, name="", function_name="", dynamic=True).changed(**words))
        task = replace(task, name=f"{task.function_name}__{task.suffix}" if name is None else name)
        task = self._tagged(task)
        self._check([task])
        return task

    def redraft(self, stored: VersionedDefinition, changes: Mapping[str, Any]) -> Task:
        """A checked dynamic task: what is stored, with some words said anew. Takes the arguments of `draft`."""
        task = self._callable(Task.of(stored, None).changed(**changes))
        said = [word for word in ("retry_backoff", "retry_backoff_max") if word in changes]
        if len(said) == 1 and changes[said[0]] is not None:
            task = task.with_backoff_beside(stored.definition.retry, said[0])
        if "tags" in changes:
            task = self._tagged(task)
        task.definition(self.defaults(Defaults()))
        for listener in self._listeners:
            listener.check(self, [task])
        return task

    def defaults(self, of_config: Defaults) -> Defaults:
        """What holds for a task of this group that says nothing."""
        return of_config.of_group(allow_parallel=self._allow_parallel, timezone=self._timezone)

    def attach(self, listener: GroupListener) -> None:
        """Tell this listener from now on, and let it say which dynamic tasks there are."""
        self._listeners.append(listener)
        self._unmanaged.clear()

    @property
    def static_tasks(self) -> list[Task]:
        """What code declares."""
        return list(self._static.values())

    @property
    def dynamic_tasks(self) -> list[Task]:
        """The dynamic tasks that this process knows of."""
        tasks = dict(self._unmanaged)
        for listener in self._listeners:
            tasks.update(listener.listed(self))
        return list(tasks.values())

    def is_named(self, function_name: str) -> bool:
        """Was this name chosen with `register_function`? Else tasks brought the function along."""
        return function_name in self._named

    # -- keeping ------------------------------------------------------------------------------------------------------

    def _callable(self, task: Task) -> Task:
        """The dynamic task with its function. Errors: UnknownFunction, InvalidArguments."""
        function = self._functions.get(task.function_name)
        if function is None:
            raise UnknownFunction(self._name, task.function_name)
        return task.calling(function)

    def _tagged(self, task: Task) -> Task:
        """The task with the group's tags before its own."""
        return replace(task, tags=joined_tags(self._tags, task.tags))

    def _find(self, name: str) -> Task | None:
        """The dynamic task of this name."""
        found = (listener.find(self, name) for listener in self._listeners)
        return next((task for task in found if task is not None), self._unmanaged.get(name))

    def _check(self, tasks: Sequence[Task]) -> None:
        names = set(self._static)
        for task in tasks:
            if task.name in names:
                raise DuplicateTask(self._name, task.name)
            names.add(task.name)
            task.definition(self.defaults(Defaults())).check_names()
        for listener in self._listeners:
            listener.check(self, tasks)

    def _declare(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._static[task.name] = task
            for listener in self._listeners:
                listener.declared(self, task)

    def _register(self, name: str, function: TaskFunction, *, named: bool) -> None:
        """Functions that tasks bring along may share a name: functions made in a loop do. The first one is kept."""
        known = self._functions.setdefault(name, function)
        if known is not function:
            if named:
                raise DuplicateFunction(self._name, name)
            return
        if named:
            self._named.add(name)
        for listener in self._listeners:
            listener.registered(self, name, function)
