"""The functions and the callbacks of planned tasks.

A function takes virtual time, fails as planned, and reports how it ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from task_manager_core.application.callbacks import CallbackRunner, Callbacks
from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.run import Exhausted, Outcome, Retried, Succeeded
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.campaign.injector import Injector
from task_manager_core.testing.campaign.model import ModelExecution
from task_manager_core.testing.campaign.monitor import Monitor
from task_manager_core.testing.campaign.plan import TaskPlan, key_of
from task_manager_core.testing.campaign.violation import Violation
from task_manager_core.testing.cluster.cluster import Declare, SimCluster

Begin = Callable[[RunContext], ModelExecution]
"""Reports to the monitor that a worker calls a function."""


LONG_CALLBACK = 0.7
"""Seconds that a callback takes."""

_QUIET = logging.getLogger("task_manager_core.testing.campaign.quiet")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
_RESTART = 1.0
"""Seconds until a process that a task has ended starts again."""


class PlannedFailure(Exception):
    """A planned task raises this, and a callback about a failure."""


def declaring(tasks: Sequence[TaskPlan], injector: Injector, monitor: Monitor) -> Declare:
    """Declares the planned tasks on every machine that knows them. Of a dynamic task it registers only the function."""

    def declare(cluster: SimCluster, machine: str, declarations: Declarations) -> None:
        for index, plan in enumerate(tasks):
            if plan.only is not None and machine != f"w{plan.only}":
                continue
            task = plan.task(index)
            begin = partial(_begin, monitor, task)
            call = (
                _sync(plan, task, begin)
                if plan.sync
                else _async(cluster, machine, plan, task, injector, monitor, begin)
            )
            function = FunctionKey(task.key.group, task.function)
            if not plan.dynamic:
                declarations.declare(task, call)
            if declarations.function(function) is None:
                declarations.register(function, call, named=plan.dynamic)

    return declare


class PlannedCallbacks:
    """The callbacks of the planned tasks. They report that they are called."""

    def __init__(self, tasks: Sequence[TaskPlan], monitor: Monitor) -> None:
        self._monitor = monitor
        self._having = {key_of(index) for index, plan in enumerate(tasks) if plan.callbacks}
        self._callbacks = Callbacks(
            on_success=self._succeeded,
            on_retry=partial(self._failed, Retried),
            on_failure=partial(self._failed, Exhausted),
        )

    def make_runner(self) -> CallbackRunner | None:
        """The runner of one process; None if no task has callbacks."""
        return CallbackRunner(self, _QUIET) if self._having else None

    def callbacks_of(self, key: TaskKey) -> Sequence[Callbacks]:
        return (self._callbacks,) if key in self._having else ()

    async def _succeeded(self, context: RunContext) -> None:
        self._monitor.called(context, Succeeded)
        await asyncio.sleep(LONG_CALLBACK)

    async def _failed(self, outcome: type[Outcome], context: RunContext, error: BaseException) -> None:
        self._monitor.called(context, outcome)
        raise PlannedFailure("a callback changes nothing") from error


def _begin(monitor: Monitor, task: TaskDefinition, context: RunContext) -> ModelExecution:
    """Report that the function of this task is called. The call must be for a run of this task."""
    if context.task != task.key:
        violation = Violation("I11", f"a run of {context.task} was executed by the function of {task.key}")
        monitor.fail(violation)
        raise violation
    return monitor.begin(context, limit=task.live_limit)


def _async(
    cluster: SimCluster,
    machine: str,
    plan: TaskPlan,
    task: TaskDefinition,
    injector: Injector,
    monitor: Monitor,
    begin: Begin,
) -> Callable[..., Awaitable[int | None]]:
    async def work(context: RunContext, order: int = 0) -> int | None:  # noqa: ARG001 - an argument that a request may set
        execution, began = begin(context), cluster.time
        try:
            if plan.cursor:
                await _read_cursor(monitor, execution, context)
            blocked = injector.blocks.pop(machine, 0.0)
            if blocked:
                cluster.block(machine, blocked)
            if context.attempt <= plan.crashes:
                cluster.kill(machine, _RESTART)
            await (_reporting(plan, context) if plan.progress else asyncio.sleep(plan.duration))
        except asyncio.CancelledError:
            execution.ended = "cancelled"
            raise
        except BackendError:
            execution.ended = "raised"
            raise
        result = _end(plan, task, execution, context)
        if plan.duration > 0:  # Without a wait for time it cannot be interrupted, however long it blocked the loop.
            execution.took = timedelta(seconds=cluster.time - began)
        return result

    return work


def _sync(plan: TaskPlan, task: TaskDefinition, begin: Begin) -> Callable[..., int | None]:
    def work(context: RunContext, order: int = 0) -> int | None:  # noqa: ARG001 - as above
        return _end(plan, task, begin(context), context)

    return work


async def _read_cursor(monitor: Monitor, execution: ModelExecution, context: RunContext) -> None:
    monitor.reads(execution)
    cursor = await context.cursor.get(int)
    monitor.read(execution, None if cursor is None else json.dumps(cursor))


async def _reporting(plan: TaskPlan, context: RunContext) -> None:
    """Take the time of the plan, and report the beginning and the middle."""
    for half in range(2):
        context.progress(half, 2, str(context.fencing_token))
        await asyncio.sleep(plan.duration / 2)


def _end(plan: TaskPlan, task: TaskDefinition, execution: ModelExecution, context: RunContext) -> int | None:
    """Leave behind and return what the plan says, or fail. An attempt that fails has set its cursor before."""
    token = context.fencing_token
    if plan.cursor:
        context.cursor.set(token)
        execution.cursor = str(token)
    if context.attempt <= plan.failures:
        execution.ended = "raised"
        raise PlannedFailure(f"attempt {context.attempt} of {task.key}")
    execution.ended = "returned"
    if not plan.returns:
        return None
    execution.result = str(token)
    return token
