"""Simulates the tasks of an application. Tests import this module; no other module of this package does.

It is part of this package because only this package knows groups. It calls `simulate_registry` of the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeGuard

from fastapi_task_manager.config import OperationalConfig
from fastapi_task_manager.group_contents import contents_of
from fastapi_task_manager.options import Defaults
from fastapi_task_manager.task_group import TaskGroup
from fastapi_task_manager.task_manager import TaskManager
from fastapi_task_manager.task_translation import definition_of
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.errors import DefinitionError, DuplicateGroup
from task_manager_core.domain.identity import FunctionKey
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import OpenBackend
from task_manager_core.testing.cluster.clock import START
from task_manager_core.testing.simulation import (
    REAL,
    Durations,
    Execution,
    ExecutionStatus,
    Fault,
    OverlapInterval,
    PileUp,
    PlannedRun,
    Report,
    SkippedSlot,
    during,
    kill,
    outage,
    partition,
    pause,
    rolling_deploy,
    simulate_registry,
    stop,
    store_down,
)
from task_manager_memory import MemoryStore

__all__ = [
    "REAL",
    "Durations",
    "Execution",
    "ExecutionStatus",
    "Fault",
    "OverlapInterval",
    "PileUp",
    "PlannedRun",
    "Report",
    "SkippedSlot",
    "during",
    "kill",
    "outage",
    "partition",
    "pause",
    "rolling_deploy",
    "simulate",
    "stop",
    "store_down",
]


def simulate(
    manager_or_groups: TaskManager | TaskGroup | Iterable[TaskGroup],
    workers: int = 3,
    start: datetime = START,
    duration: timedelta = timedelta(days=30),
    faults: Sequence[Fault] = (),
    durations: Durations | None = None,
    *,
    config: OperationalConfig | None = None,
    backend: OpenBackend | None = None,
    seed: int | None = None,
) -> Report:
    """Run the tasks in virtual time on simulated workers, with the production code, and report what happened.

    The application is not started. No function is called unless you ask for it: a run takes a second of virtual time,
    or as long as `durations` says.

    Args:
        manager_or_groups: A manager, or groups. The manager need not be running, and does not change.
        workers: The number of processes.
        start: The first instant; aware.
        duration: The length of the simulated period.
        faults: The faults to inject: `kill`, `stop`, `pause`, `partition`, `store_down`, `outage`, `rolling_deploy`.
        durations: How long runs take: one length for all, or lengths by the name of the task ("*": all others). A
            length is a timedelta, a number of seconds, or a function of the slot that returns one (if it raises an
            Exception, the attempt has failed). `REAL` calls the function, which waits in virtual time if it is
            asynchronous.
        config: Intervals, concurrency and defaults. Default: the manager's; for groups that of the environment.
        backend: The store, opened anew for the simulation. Default: the in-memory one, never the application's.
        seed: Draws the order of events that happen at one instant on different workers.

    Returns:
        The report. The same arguments give the same report.

    Raises:
        RuntimeError: An argument is invalid, such as a duration for a task that does not exist. Or an event loop is
            running: there, write `await asyncio.to_thread(simulate, ...)`.
    """
    groups = _groups(manager_or_groups)
    if config is None:
        config = manager_or_groups.config if isinstance(manager_or_groups, TaskManager) else OperationalConfig()
    _check_config(config)
    declarations, dynamic = _declared_by(groups, config.defaults())
    return simulate_registry(
        declarations,
        open_backend=MemoryStore().open if backend is None else backend,
        dynamic=dynamic,
        policy=config.node_policy(),
        retention=config.retention(),
        workers=workers,
        start=start,
        duration=duration,
        faults=faults,
        durations=durations,
        seed=seed,
    )


def _groups(given: object) -> list[TaskGroup]:
    if isinstance(given, TaskManager):
        return list(given.task_groups)
    groups: list[TaskGroup] = []
    for group in given if _is_iterable(given) else (given,):
        if not isinstance(group, TaskGroup):
            raise DefinitionError("manager_or_groups", group, "must be a TaskManager, a TaskGroup or a list of groups")
        groups.append(group)
    return groups


def _is_iterable(value: object) -> TypeGuard[Iterable[object]]:
    return isinstance(value, Iterable)


def _check_config(config: object) -> None:
    if not isinstance(config, OperationalConfig):
        raise DefinitionError("config", config, "must be an OperationalConfig or a Config")


def _declared_by(groups: Sequence[TaskGroup], defaults: Defaults) -> tuple[Declarations, list[TaskDefinition]]:
    """The declarations and dynamic tasks that a manager would make of these groups. The groups do not change, and this
    function does not subscribe to them."""
    declarations = Declarations()
    dynamic: list[TaskDefinition] = []
    seen: set[str] = set()
    for group in groups:
        if group.name in seen:
            raise DuplicateGroup(group.name)
        seen.add(group.name)
        contents = contents_of(group)
        of_group = contents.defaults(defaults)
        for name, function in contents.functions.items():
            declarations.register(FunctionKey(group.name, name), function.function, named=contents.is_named(name))
        for task, function in contents.static.values():
            declarations.declare(definition_of(task, of_group), function.function)
        dynamic += [definition_of(task, of_group) for task in contents.dynamic_tasks]
    return declarations, dynamic
