"""A named collection of tasks. Decorators add static tasks; code adds dynamic tasks while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, Unpack

from fastapi_task_manager.declaration_args import (
    Expression,
    Kwargs,
    description_of,
    name_of,
    pairs_of,
    refuse_bare_decorator,
)
from fastapi_task_manager.group_contents import GroupContents, IfExists, checked_word
from fastapi_task_manager.option_readers import flag, name_list, text
from fastapi_task_manager.options import TaskOptions
from fastapi_task_manager.task import Task, TaskFunction, joined_tags
from fastapi_task_manager.user_function import ExecutorName, UserFunction, checked_executor
from task_manager_core.application.callbacks import Callbacks
from task_manager_core.application.callbacks import checked as checked_callbacks
from task_manager_core.domain.identity import check_name
from task_manager_core.domain.zone import load_zone

F = TypeVar("F", bound=TaskFunction)


class TaskGroup:
    """A group of tasks. Code may add tasks before a manager includes the group and afterwards, even while it runs."""

    def __init__(
        self,
        name: str,
        tags: Sequence[str] | None = None,
        allow_parallel: bool | None = None,
        *,
        timezone: str | None = None,
        callbacks: Callbacks | None = None,
        executor: ExecutorName | None = None,
    ) -> None:
        """Create an empty group.

        Args:
            name: Unique within a manager; 1 to 200 characters.
            tags: Tags that every task of the group carries.
            allow_parallel: May several runs of one task live at once? None: what Config says.
            timezone: IANA name of the zone of the group's cron expressions. None: what Config says.
            callbacks: Called after the outcomes of all tasks of the group, after those of the task itself.
            executor: Where the synchronous functions of the group are called that do not say it themselves: "thread"
                (default) or "process".

        Raises:
            RuntimeError: An impossible name, tag, time zone or executor.
        """
        plain_name = check_name("name", name)
        own_tags = [] if tags is None else joined_tags(name_list("tags", tags))
        if timezone is not None:
            load_zone(timezone)
        parallel = None if allow_parallel is None else flag("allow_parallel", allow_parallel)
        self._contents = GroupContents(name=plain_name, tags=own_tags, allow_parallel=parallel, timezone=timezone)
        self._contents.callbacks = checked_callbacks(callbacks)
        self._executor: ExecutorName | None = checked_executor(executor)

    @property
    def name(self) -> str:
        """The group's name."""
        return self._contents.name

    @property
    def tags(self) -> list[str]:
        """A copy of the group's tags."""
        return list(self._contents.tags)

    @property
    def allow_parallel(self) -> bool | None:
        """May several runs of one task of the group live at once? None: what Config says."""
        return self._contents.allow_parallel

    @property
    def timezone(self) -> str | None:
        """The time zone of the group's cron expressions. None: what Config says."""
        return self._contents.timezone

    @property
    def tasks(self) -> list[Task]:
        """A copy of the list of tasks: the static ones, then the dynamic ones that this process knows."""
        return [*self._contents.static_tasks, *self._contents.dynamic_tasks]

    @property
    def function_registry(self) -> dict[str, TaskFunction]:
        """A copy of the functions that dynamic tasks may name."""
        return {name: function.call for name, function in self._contents.functions.items()}

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
        *,
        callbacks: Callbacks | None = None,
        executor: ExecutorName | None = None,
        **options: Unpack[TaskOptions],
    ) -> Callable[[F], F]:
        """Declare the decorated function as one task or several.

        `expr` and `kwargs` may each be a list. Two lists form pairs, and each pair is one task; a value that is not a
        list is combined with every item of the other list. A single task keeps the plain name. Several tasks are named
        `name__1`, `name__2` and so on, in the order of the lists. A change of a cron expression keeps these names, and
        with them the pause and the history of each task. Add new pairs at the end.

        Args:
            expr: Cron expression with 5 fields, or 6 with the seconds first; `@hourly` and the like; `H` for a hashed
                value; `@every 90s`; `@reboot`. A tuple of cron expressions is one task that runs by all of them.
            kwargs: Keyword arguments of the function: values of the annotated types, or their JSON.
            tags: Tags in addition to the group's.
            name: Name of the task. Default: the function's name.
            description: Free text. Default: the function's docstring.
            high_priority: Claim runs of this task before others.
            retry_backoff: Seconds before the first retry of a failed run. Default: Config's.
            retry_backoff_max: Longest delay between retries in seconds. Default: Config's.
            register: Let dynamic tasks call the function, too, under `name` if it is given, else under the
                function's name. If two functions have one name, dynamic tasks call the first.
            allow_parallel: May several runs of the task live at once? None: what the group says.
            callbacks: Called after the outcomes of the task.
            executor: Where a synchronous function is called: in a "thread", or in a "process" of its own, which is
                killed at the timeout. None: what the group says.
            **options: See `TaskOptions`.

        Returns:
            A decorator that returns the function unchanged.

        Raises:
            RuntimeError: A name that already exists, a bad cron expression, time zone or number, arguments that are not
                JSON or that the function does not accept, a generator, a function that its executor cannot call.
            TypeError: Lists of different length, or the parentheses after `add_task` are missing.
        """
        refuse_bare_decorator('add_task("* * * * *")', expr)
        pairs = pairs_of(expr, kwargs)
        is_registered = flag("register", register)
        called, called_in = checked_callbacks(callbacks), checked_executor(executor)

        def declare(function: F) -> F:
            plain = check_name("name", name_of(function) if name is None else name)
            inspected = UserFunction.of(function, called_in, self._executor)
            shown = description_of(function) if description is None else description
            self._contents.declare(
                [plain] if len(pairs) == 1 else [f"{plain}__{number}" for number in range(1, len(pairs) + 1)],
                name_of(function),
                inspected,
                [
                    {
                        "cron_expression": expression,
                        "kwargs": arguments,
                        "description": shown,
                        "high_priority": high_priority,
                        "tags": tags,
                        "retry_backoff": retry_backoff,
                        "retry_backoff_max": retry_backoff_max,
                        "allow_parallel": allow_parallel,
                        **options,
                    }
                    for expression, arguments in pairs
                ],
                called,
            )
            if is_registered:
                self._contents.register(plain, inspected, named=False)
            return function

        return declare

    def register_function(self, name: str | None = None, *, executor: ExecutorName | None = None) -> Callable[[F], F]:
        """Let dynamic tasks call the decorated function, without a schedule of its own.

        Args:
            name: Name that dynamic tasks use. Default: the function's name.
            executor: As in `add_task`.

        Returns:
            A decorator that returns the function unchanged.

        Raises:
            RuntimeError: Another function is already registered under this name, it is a generator, or its executor
                cannot call it.
            TypeError: The parentheses after `register_function` are missing.
        """

        called_in = checked_executor(executor)

        def register(function: F) -> F:
            known_as = check_name("name", name_of(function) if name is None else name)
            inspected = UserFunction.of(function, called_in, self._executor)
            self._contents.register(known_as, inspected, named=True)
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
        *,
        if_exists: IfExists = "refuse",
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Add a task that calls a registered function.

        A running manager writes the task to the store within a poll; otherwise the manager writes it when it starts. If
        the store already holds a dynamic task of this name that the group does not list yet, the stored task stays, and
        the group lists that one, unless `if_exists` is "replace".

        Args:
            function_name: A function registered in this group.
            cron_expression: As in `add_task`; a list is the union of its expressions.
            kwargs: Keyword arguments of the function: values of the annotated types, or their JSON.
            name: Name of the task. Default: the function's name and a suffix that depends on all other arguments.
            description: Free text.
            high_priority: Claim runs of this task before others.
            tags: Tags in addition to the group's.
            retry_backoff: Seconds before the first retry of a failed run. Default: Config's.
            retry_backoff_max: Longest delay between retries in seconds. Default: Config's.
            allow_parallel: May several runs of the task live at once? None: what the group says.
            if_exists: What to do if a dynamic task of this name exists: "refuse" the call, "keep" the task as it is, or
                "replace" its definition. A replaced task keeps its pause, its history and its live runs.
            **options: See `TaskOptions`.

        Returns:
            The task, as the group lists it from now on.

        Raises:
            RuntimeError: A function that is not registered, a name that already exists, or any value that `add_task`
                refuses.
        """
        word = checked_word(if_exists)
        checked = self._contents.draft(
            name,
            {
                "function_name": function_name,
                "cron_expression": cron_expression,
                "kwargs": kwargs,
                "description": description,
                "high_priority": high_priority,
                "tags": tags,
                "retry_backoff": retry_backoff,
                "retry_backoff_max": retry_backoff_max,
                "allow_parallel": allow_parallel,
                **options,
            },
        )
        return self._contents.add_dynamic_task(checked, word)

    def remove_dynamic_task(self, name: str) -> Task:
        """Remove a dynamic task with all its state. The store forgets it within a poll.

        Args:
            name: Name of the task.

        Returns:
            The removed task.

        Raises:
            RuntimeError: The task is not found, or is static and cannot be removed.
        """
        return self._contents.remove_dynamic_task(text("name", name))
