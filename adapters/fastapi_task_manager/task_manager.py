"""The task manager of an application."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Unpack
from weakref import WeakSet

from fastapi_task_manager.config import Config, OperationalConfig, configured_backend
from fastapi_task_manager.declaration_args import Expression, Kwargs
from fastapi_task_manager.duty_fields import RoleName
from fastapi_task_manager.group_contents import IfExists, checked_word
from fastapi_task_manager.group_registry import GroupRegistry
from fastapi_task_manager.hooks import Hooks, Shutdown, Startup
from fastapi_task_manager.lifecycle import ManagerLifecycle
from fastapi_task_manager.lifespans import join
from fastapi_task_manager.options import TaskOptions
from fastapi_task_manager.run_options import read_options
from fastapi_task_manager.run_requests import RunRequests
from fastapi_task_manager.running import Running
from fastapi_task_manager.task import Task
from fastapi_task_manager.task_group import TaskGroup
from fastapi_task_manager.trigger import Trigger
from task_manager_core.application.callbacks import Callbacks
from task_manager_core.application.callbacks import checked as checked_callbacks
from task_manager_core.application.control import Control
from task_manager_core.domain.errors import TaskIsStatic, VersionConflict
from task_manager_core.domain.explain import Explanation
from task_manager_core.domain.explain_slot import SlotExplanation
from task_manager_core.domain.identity import TaskKey
from task_manager_core.ports import Observer, OpenBackend

if TYPE_CHECKING:
    from datetime import datetime

    from fastapi import APIRouter, FastAPI
    from fastapi.params import Depends

    from fastapi_task_manager.testing import Testing


class TaskManager(Running):
    """Runs the tasks of its groups inside an application, together with the other processes on the same store."""

    def __init__(
        self,
        app: FastAPI | None = None,
        config: OperationalConfig | None = None,
        backend: OpenBackend | None = None,
        *,
        observers: Sequence[Observer] = (),
        callbacks: Callbacks | None = None,
        startup: Startup | None = None,
        shutdown: Shutdown | None = None,
        roles: Iterable[RoleName] | None = None,
        queues: Iterable[str] | None = None,
    ) -> None:
        """Create a manager; it starts and stops with the application.

        Args:
            app: Application whose lifespan the manager joins; a lifespan that the application has already is kept.
                None: call `start` and `stop` yourself.
            config: Configuration. None: from the environment.
            backend: The store, `MemoryStore().open` for example. None: the Redis of `config`.
            observers: Each of them is notified of every event, after the log.
            callbacks: Called after the outcomes of all tasks, after those of the task and of its group.
            startup: Called before the node starts. What it returns is `context.state`. If it raises, the start fails.
            shutdown: Called with that state when the node has stopped, for up to 5 seconds.
            roles: What this process does: "schedule" (it may lead), "execute" (it claims runs), both, or neither: `()`.
                A process with neither still lists, triggers and explains tasks. None: as `config` says, which is both.
            queues: The queues whose runs this process executes. None: as `config` says, which is every queue.

        Raises:
            ValueError: A role that does not exist, or roles and queues that contradict each other.
            TypeError: Neither a backend nor a Config with redis_host, or an argument of another kind.
            ImportError: The extra for Redis is not installed.
        """
        if config is not None and not isinstance(config, OperationalConfig):  # pyright: ignore[reportUnnecessaryIsInstance] - not every caller is type-checked
            raise TypeError(f"config must be a Config or an OperationalConfig, not {config!r}")
        if config is None:
            config = Config.model_validate({}) if backend is None else OperationalConfig()
        if roles is not None or queues is not None:
            config = config.model_copy()
            config.roles = config.roles if roles is None else list(roles)
            config.queues = config.queues if queues is None else list(queues)
        self._config = config
        self._groups = GroupRegistry(config.defaults())
        self._groups.callbacks = checked_callbacks(callbacks)
        lifecycle = ManagerLifecycle(
            config=config,
            open_backend=configured_backend(config) if backend is None else backend,
            groups=self._groups,
            observers=observers,
            hooks=Hooks(startup, shutdown),
        )
        super().__init__(lifecycle, RunRequests(groups=self._groups, lifecycle=lifecycle))
        self._apps: WeakSet[FastAPI] = WeakSet()
        if app is not None:
            self.append_to_app_lifecycle(app)

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def config(self) -> OperationalConfig:
        """The configuration the manager was built with."""
        return self._config

    @property
    def task_groups(self) -> list[TaskGroup]:
        """A copy of the list of groups."""
        return self._groups.groups

    @property
    def control(self) -> Control:
        """The use cases of the core, as the management API calls them.

        Raises:
            RuntimeError: The manager is not running.
        """
        return self._lifecycle.running().control

    async def explain(self, group_name: str, name: str) -> Explanation:
        """Why a task runs next when it does, or does not run.

        Args:
            group_name: Group of the task.
            name: Name of the task.

        Returns:
            The reasons in order, from the rules that schedule it.

        Raises:
            RuntimeError: No such task, or the manager is not running.
            TaskManagerError: The store is not available.
        """
        return await self.control.explain(TaskKey(group_name, name))

    async def explain_slot(self, group_name: str, name: str, at: datetime) -> SlotExplanation:
        """What was decided about a slot of a task, and why.

        Args:
            group_name: Group of the task.
            name: Name of the task.
            at: The slot (aware), also one of the past.

        Returns:
            The verdict and its reasons in order, from the records of the store.

        Raises:
            RuntimeError: No such task, or the manager is not running.
            TaskManagerError: The instant is naive or outside the calendar, or the store is not available.
        """
        return await self.control.inspection.explain_slot(TaskKey(group_name, name), at)

    # -- changing -----------------------------------------------------------------------------------------------------

    def add_task_group(self, task_group: TaskGroup) -> None:
        """Add a group with its tasks. More tasks may be added to the group later, also while the manager runs.

        Args:
            task_group: The group.

        Raises:
            RuntimeError: A group of this name already exists, or a task of the group contradicts the configuration.
            TypeError: It is no group.
        """
        if not isinstance(task_group, TaskGroup):  # pyright: ignore[reportUnnecessaryIsInstance] - as above
            raise TypeError(f"task_group must be a TaskGroup, not {task_group!r}")
        self._groups.add(task_group)

    async def add_dynamic_task(
        self,
        group_name: str,
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
        """Add a dynamic task; returns when it is written to the store.

        Args:
            group_name: Group of the task.
            function_name: A function registered in that group.
            cron_expression: As in `TaskGroup.add_dynamic_task`, like all further arguments.
            kwargs: Keyword arguments of the function: values of the annotated types, or their JSON.
            name: Name of the task.
            description: Free text.
            high_priority: Claim runs of this task before others.
            tags: Tags in addition to the group's.
            retry_backoff: Seconds before the first retry of a failed run.
            retry_backoff_max: Longest delay between retries in seconds.
            allow_parallel: May several runs of the task live at once?
            if_exists: What to do if a dynamic task of this name exists: "refuse" the call, "keep" the task as it is, or
                "replace" its definition. A replaced task keeps its pause, its history and its live runs.
            **options: See `TaskOptions`.

        Returns:
            The task as it is now.

        Raises:
            RuntimeError: No such group or function, a name that already exists, a value that is refused; or the manager
                is not running.
            TaskManagerError: The store is not available.
        """
        word = checked_word(if_exists)
        checked = self._groups.contents(group_name).draft(
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
        control, definition = self.control, self._groups.definition(checked)
        if word == "refuse":
            return self._groups.task_of(await control.add(definition))
        return self._groups.task_of(await control.add_or_replace(definition, replace=word == "replace"))

    async def change_dynamic_task(
        self, group_name: str, name: str, *, expected_version: int | None = None, **changes: Any
    ) -> Task:
        """Change a dynamic task. Its pause, history and live runs stay, and no slot is dispatched at once.

        Args:
            group_name: Group of the task.
            name: Name of the task.
            expected_version: The `version` of the task that the change was made for. A task with another version is
                not changed. None: a task with any version is changed.
            **changes: The arguments of `add_dynamic_task` to replace, except the name. None stands for the default.

        Returns:
            The task as it is now.

        Raises:
            RuntimeError: No such task, a static task, a value that is refused, another version; or the manager is not
                running.
            TaskManagerError: The store is not available.
        """
        stored = await self.control.current(TaskKey(group_name, name))
        if not stored.definition.dynamic:
            raise TaskIsStatic(group_name, name, "changed")
        if expected_version not in (None, stored.version):
            raise VersionConflict(group_name, name, expected_version, stored.version)
        checked = self._groups.contents(group_name).redraft(stored, changes)
        return self._groups.task_of(await self.control.change(self._groups.definition(checked), stored.version))

    async def remove_dynamic_task(self, group_name: str, name: str) -> Task:
        """Remove a dynamic task, or a static one that no living process declares, with all its state; returns when it
        is removed from the store.

        Args:
            group_name: Group of the task.
            name: Name of the task.

        Returns:
            The removed task.

        Raises:
            RuntimeError: The task is not found, or is static and cannot be removed; or the manager is not running.
            TaskManagerError: The store is not available.
        """
        return self._groups.task_of(await self.control.remove(TaskKey(group_name, name)))

    # -- requested runs -----------------------------------------------------------------------------------------------

    def with_options(
        self,
        *,
        idempotency_key: str | None = None,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        priority: Literal["high", "low"] | None = None,
        expires: float | timedelta | datetime | None = None,
        queue: str | None = None,
    ) -> Trigger:
        """Requests for runs with these options: `manager.with_options(priority="high").trigger(function, ...)`.

        Args:
            idempotency_key: Names the request. The store remembers it for a day. A repeated request with the same key
                starts nothing again, and gets the same run.
            delay: The run may start this much later, in seconds or as a timedelta, at most 366 days. It waits in the
                store. Refused for a task with `allow_parallel=False` or `max_instances`, whose other runs would wait
                for it.
            at: The same as an instant. An instant in the past means now.
            priority: Whether the run is claimed before others. None: as the task says.
            expires: The last instant at which the run may start; a number or a timedelta counts from the request, or
                from the end of the delay. A run that no worker has started by then ends as expired. None: as `expires`
                of the task says.
            queue: The queue of the run. None: that of the task.

        Returns:
            An object with `trigger` and `trigger_sync`. It may be used often, and from any thread.

        Raises:
            RuntimeError: A value that is refused.
        """
        key, options = read_options(idempotency_key, priority, delay, at, expires, queue)
        return Trigger(self._requests.with_options(key, options))

    # -- running ------------------------------------------------------------------------------------------------------

    def append_to_app_lifecycle(self, app: FastAPI) -> None:
        """Start after the application's own lifespan has started, and stop before it stops. A second call has no
        effect.

        A manager that joins several applications runs while at least one of them runs. Several managers of one
        application stop at the same time. Starlette does not run the lifespan of a mounted application: join the outer
        application.

        Args:
            app: The application.

        Raises:
            TypeError: It is no application.
        """
        if not hasattr(getattr(app, "router", None), "lifespan_context"):
            raise TypeError(f"app must be a FastAPI application, not {app!r}")
        if app in self._apps:
            return
        self._apps.add(app)
        self._groups.injection.apps.add(app)
        join(app, self._lifecycle, self)

    def testing(self, now: datetime | None = None, *, eager: bool = False, patience: float = 10.0) -> Testing:
        """Run the manager in a test: on a store in memory of its own, with a clock that the test moves.

            async with manager.testing() as clock:
                await clock.advance(hours=3)
            with manager.testing() as clock, TestClient(app) as client:
                clock.advance(hours=3)

        `async with` starts and stops the manager. `with` leaves that to the lifespan of the application. The manager
        calls the real functions, and forgets the dynamic tasks of the test afterwards.

        Args:
            now: The first instant; aware. None: the first of January 2026.
            eager: Execute a triggered run before the trigger returns. Otherwise it waits for the clock.
            patience: Seconds of real time in which a run has to end, whenever the clock waits for runs.

        Returns:
            A context. Its value is the clock: a `VirtualClock`, without `async` a `BlockingClock`.

        Raises:
            RuntimeError: When the context is entered: the manager runs already.
            ValueError: An instant without a time zone, or a patience that is not above 0.
        """
        from fastapi_task_manager.testing import Testing  # noqa: PLC0415 - only tests need it

        return Testing(self._lifecycle, self._groups, now=now, eager=eager, patience=patience)

    def get_manager_router(self, dependencies: Sequence[Depends] | None = None) -> APIRouter:
        """The management API, to be included in an application.

        Args:
            dependencies: FastAPI dependencies of every route, `[Depends(check_token)]` for example. The router has no
                protection of its own.

        Returns:
            A router; pass prefix and tags to `include_router`.
        """
        from fastapi_task_manager.api.router import management_router  # noqa: PLC0415 - FastAPI takes its time to import

        return management_router(self, dependencies)
