"""The functions of a planned task: they take virtual time, fail as planned, and say what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.identity import FunctionKey
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.campaign.injector import Injector
from task_manager_core.testing.campaign.model import ModelExecution
from task_manager_core.testing.campaign.plan import TaskPlan
from task_manager_core.testing.cluster.cluster import Declare, SimCluster
from task_manager_core.testing.cluster.violation import Violation


class PlannedFailure(Exception):
    """What a planned task raises."""


def declaring(tasks: Sequence[TaskPlan], injector: Injector) -> Declare:
    """Declares the planned tasks on every machine that knows them; dynamic ones only get their function."""

    def declare(world: SimCluster, machine: str, registry: Declarations) -> None:
        for index, plan in enumerate(tasks):
            if plan.only is not None and machine != f"w{plan.only}":
                continue
            task = plan.task(index)
            call = _sync(world, machine, plan, task) if plan.sync else _async(world, machine, plan, task, injector)
            function = FunctionKey(task.key.group, task.function)
            if not plan.dynamic:
                registry.declare(task, call)
            if registry.function(function) is None:
                registry.register(function, call, named=plan.dynamic)

    return declare


def _begin(
    world: SimCluster, machine: str, plan: TaskPlan, task: TaskDefinition, context: RunContext
) -> ModelExecution:
    """Say that the function of this task is called; for a run of this task, one would think."""
    if context.task != task.key:
        violation = Violation("I11", f"a run of {context.task} was executed by the function of {task.key}")
        world.fail(violation)
        raise violation
    return world.begin(machine, context, exclusive=plan.overlap != "allow")


def _async(
    world: SimCluster, machine: str, plan: TaskPlan, task: TaskDefinition, injector: Injector
) -> Callable[..., Awaitable[None]]:
    async def work(context: RunContext, order: int = 0) -> None:  # noqa: ARG001 - what a request may ask
        execution, began = _begin(world, machine, plan, task, context), world.time
        try:
            blocked = injector.blocks.pop(machine, 0.0)
            if blocked:
                world.pause(machine, blocked)
            await asyncio.sleep(plan.duration)
        except asyncio.CancelledError:
            execution.ended = "cancelled"
            raise
        if context.attempt <= plan.failures:
            execution.ended = "raised"
            raise PlannedFailure(f"attempt {context.attempt} of {task.key}")
        execution.ended = "returned"
        if plan.duration > 0:  # Without a wait for time it returns, however long it blocked the loop.
            execution.took = timedelta(seconds=world.time - began)

    return work


def _sync(world: SimCluster, machine: str, plan: TaskPlan, task: TaskDefinition) -> Callable[..., None]:
    def work(context: RunContext, order: int = 0) -> None:  # noqa: ARG001 - as above
        execution = _begin(world, machine, plan, task, context)
        if context.attempt <= plan.failures:
            execution.ended = "raised"
            raise PlannedFailure(f"attempt {context.attempt} of {task.key}")
        execution.ended = "returned"

    return work
