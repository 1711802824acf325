"""Tells that no living process does some of the work, in the log and in health answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from fastapi_task_manager.observers.logs import logger_of
from task_manager_core.application.node import Node
from task_manager_core.domain.coverage import Uncovered
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.identity import TaskKey

FIRST_LOOK_SECONDS = 5.0
"""After the start: the other processes of a deploy start at about the same time."""

LOOK_SECONDS = 30.0

MOST_WARNINGS = 20
_TASKS_NAMED = 3


class CoverageWatch:
    """Looks at the living processes from time to time. Each new warning is logged once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.warnings: tuple[str, ...] = ()

    async def run(self) -> None:
        """Look until the task is cancelled."""
        await asyncio.sleep(FIRST_LOOK_SECONDS)
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once. A store that is away changes nothing: other services report it."""
        try:
            found = await self._node.control.uncovered()
            named = self._node.control.queues()
        except BackendError:
            return
        own = self._node.duties.queues or frozenset[str]()
        before, self.warnings = self.warnings, tuple(_texts(found, sorted(own - named)))[:MOST_WARNINGS]
        for text in self.warnings:
            if text not in before:
                logger_of("runner").warning("uncovered work: %s", text)
        for text in before:
            if text not in self.warnings:
                logger_of("runner").info("no longer uncovered: %s", text)


def _texts(found: Uncovered, unused: Sequence[str]) -> Iterable[str]:
    if found.schedule:
        yield "no living process has the role schedule: no slot is dispatched"
    for queue, keys in found.queues.items():
        yield f"no living process serves the queue {queue!r}: the runs of {_named(keys)} stay queued"
    if found.unknown:
        yield f"no living process can call the function of {_named(found.unknown)}: their runs stay queued"
    for queue in unused:
        yield f"this process serves the queue {queue!r}, which no task names"


def _named(keys: Sequence[TaskKey]) -> str:
    shown = ", ".join(str(key) for key in keys[:_TASKS_NAMED])
    return f"{len(keys)} task{'s' if len(keys) > 1 else ''} ({shown}{', …' if len(keys) > _TASKS_NAMED else ''})"
