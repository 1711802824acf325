"""The functions of planned tasks: they take virtual time, fail as planned, and report how they ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.identity import FunctionKey
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.campaign.injector import Injector
from task_manager_core.testing.campaign.model import ModelExecution
from task_manager_core.testing.campaign.monitor import Monitor
from task_manager_core.testing.campaign.plan import TaskPlan
from task_manager_core.testing.campaign.violation import Violation
from task_manager_core.testing.cluster.cluster import Declare, SimCluster

Begin = Callable[[RunContext], ModelExecution]
"""Reports to the monitor that a worker calls a function."""


class PlannedFailure(Exception):
    """A planned task raises this."""


def declaring(tasks: Sequence[TaskPlan], injector: Injector, monitor: Monitor) -> Declare:
    """Declares the planned tasks on every machine that knows them. Of a dynamic task it registers only the function."""

    def declare(cluster: SimCluster, machine: str, declarations: Declarations) -> None:
        for index, plan in enumerate(tasks):
            if plan.only is not None and machine != f"w{plan.only}":
                continue
            task = plan.task(index)
            begin = partial(_begin, monitor, plan, task)
            call = _sync(plan, task, begin) if plan.sync else _async(cluster, machine, plan, task, injector, begin)
            function = FunctionKey(task.key.group, task.function)
            if not plan.dynamic:
                declarations.declare(task, call)
            if declarations.function(function) is None:
                declarations.register(function, call, named=plan.dynamic)

    return declare


def _begin(monitor: Monitor, plan: TaskPlan, task: TaskDefinition, context: RunContext) -> ModelExecution:
    """Report that the function of this task is called. The call must be for a run of this task."""
    if context.task != task.key:
        violation = Violation("I11", f"a run of {context.task} was executed by the function of {task.key}")
        monitor.fail(violation)
        raise violation
    return monitor.begin(context, exclusive=plan.overlap != "allow")


def _async(
    cluster: SimCluster, machine: str, plan: TaskPlan, task: TaskDefinition, injector: Injector, begin: Begin
) -> Callable[..., Awaitable[None]]:
    async def work(context: RunContext, order: int = 0) -> None:  # noqa: ARG001 - an argument that a request may set
        execution, began = begin(context), cluster.time
        try:
            blocked = injector.blocks.pop(machine, 0.0)
            if blocked:
                cluster.block(machine, blocked)
            await asyncio.sleep(plan.duration)
        except asyncio.CancelledError:
            execution.ended = "cancelled"
            raise
        if context.attempt <= plan.failures:
            execution.ended = "raised"
            raise PlannedFailure(f"attempt {context.attempt} of {task.key}")
        execution.ended = "returned"
        if plan.duration > 0:  # Without a wait for time it cannot be interrupted, however long it blocked the loop.
            execution.took = timedelta(seconds=cluster.time - began)

    return work


def _sync(plan: TaskPlan, task: TaskDefinition, begin: Begin) -> Callable[..., None]:
    def work(context: RunContext, order: int = 0) -> None:  # noqa: ARG001 - as above
        execution = begin(context)
        if context.attempt <= plan.failures:
            execution.ended = "raised"
            raise PlannedFailure(f"attempt {context.attempt} of {task.key}")
        execution.ended = "returned"

    return work
