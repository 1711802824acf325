"""The computing time of one process with 10,000 and 100,000 tasks: an idle pass, and one change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from fastapi_task_manager.container import SystemClock
from task_manager_core.application.control import Selection
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.node import Node
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.policy import NodePolicy, Retention
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Backend, DefinitionWrite
from task_manager_core.testing import Recorder
from task_manager_redis import RedisSettings, redis_backend
from tests.redis_server import RedisServer

SIZES = (10_000, 100_000)
REPEATS = 5
HOUR = timedelta(hours=1)


def _node(name: str, backend: Backend, registry: Declarations) -> Node:
    return Node(
        node=NodeId(name),
        service="bench",
        backend=backend,
        declarations=registry,
        policy=NodePolicy(),
        clock=SystemClock(),
        observer=Recorder(),
        logger=logging.getLogger("bench"),
    )


async def _cpu(step: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of this process: the least of several measurements, because other programs only add time."""
    found: list[float] = []
    for _ in range(REPEATS):
        began = time.process_time()
        await step()
        found.append((time.process_time() - began) * 1e3)
    return min(found)


async def _measured(server: RedisServer, size: int) -> dict[str, float]:
    registry, now = Declarations(), SystemClock().now()
    tasks = [
        TaskDefinition(key=TaskKey("bench", f"{number}"), schedule=Schedule.at(now + 24 * HOUR), function="nothing")
        for number in range(size)
    ]
    for task in tasks:
        registry.declare(task, lambda: None)
    open_backend = redis_backend(RedisSettings(url=server.url, prefix=f"catalogue {size}"))
    async with open_backend(clock=SystemClock(), retention=Retention()) as backend:
        node, writer = _node("leader", backend, registry), backend.catalogue
        await node.registrar.tick()
        await node.registrar.tick()
        for _ in range(3):
            await node.elector.tick()
        await node.reconciler.tick()  # The first run in a term reads all tasks.

        async def reconciled() -> None:
            await node.elector.tick()
            assert node.leads
            await node.reconciler.tick()

        async def one_change() -> None:
            stored = node.control.definition(TaskKey("bench", "7"))
            changed = replace(stored.definition, description=f"{stored.version}")
            await writer.put([DefinitionWrite(definition=changed, expected=stored.version, replan=False)])
            await node.registrar.refresh()

        async def selected() -> None:
            await asyncio.sleep(0)
            node.control.select(Selection(group="bench", name="7"))

        return {
            "an idle pass of the registrar": await _cpu(node.registrar.tick),
            "an idle pass of the reconciler": await _cpu(reconciled),
            "one change, written and learnt": await _cpu(one_change),
            "one task, selected by its name": await _cpu(selected),
            "a complete reading": await _cpu(lambda: writer.load(0)),
        }


async def catalogue(server: RedisServer) -> None:
    print(
        "\ncatalogue: CPU time of one process that leads, a real Redis; a complete reading grows, the others must not"
    )
    found = [await _measured(server, size) for size in SIZES]
    for name, least in found[0].items():
        most = found[-1][name]
        print(f"  {name:34} {least:9.2f} ms at {SIZES[0]:,}, {most:9.2f} ms at {SIZES[-1]:,}, ratio {most / least:.2f}")
