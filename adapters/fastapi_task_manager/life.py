"""One life of a node: from the opening of its store to the closing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from fastapi_task_manager.config import OperationalConfig
from fastapi_task_manager.errors import StartTimedOutError
from fastapi_task_manager.hurry import hurried_by_signals
from fastapi_task_manager.observers.fanout import Fanout
from fastapi_task_manager.observers.logs import LogObserver, logger_of
from fastapi_task_manager.roster import Roster
from task_manager_core.application.node import Node
from task_manager_core.ports import Observer, OpenBackend

GRACE_SECONDS = 1.0
"""A start waits this long for the first pass, so that the first request usually finds everything in place."""

ANSWER_SECONDS = 2.0
"""How long a health check waits for the store."""


class Life:
    """Begins and ends once."""

    def __init__(
        self, *, config: OperationalConfig, open_backend: OpenBackend, roster: Roster, observers: Sequence[Observer]
    ) -> None:
        self._config = config
        self._open_backend = open_backend
        self._roster = roster
        self._observer = Fanout((LogObserver(), roster, *observers))
        self._stack = AsyncExitStack()
        self.node: Node | None = None
        self.started_at: datetime | None = None

    async def begin(self) -> None:
        """Open the store, start the node. Errors: StartTimedOutError, and whatever opening the store raises."""
        from fastapi_task_manager.container import Container  # noqa: PLC0415 - see its docstring

        try:
            backend = await self._stack.enter_async_context(
                self._open_backend(clock=Container.clock(), retention=self._config.retention())
            )
            container = Container(
                backend=backend,
                registry=self._roster.registry,
                policy=self._config.node_policy(),
                observer=self._observer,
                service=self._config.worker_service_name,
                logger=logger_of("runner"),
            )
            node = self.node = container.node()
            self.started_at = container.clock().now()
            self._roster.begin(node, durable=backend.capabilities.durable)
            self._stack.push_async_callback(self._stop, node)
            node.start()
            logger_of("runner").info("%s started on the %s store", node.id, backend.name)
            await self._await_first_pass(node)
        except BaseException:
            await self._stack.aclose()
            raise

    async def end(self) -> None:
        """Stop the node in order, close the store."""
        await self._stack.aclose()

    async def trouble(self) -> tuple[bool, str | None]:
        """Does the store answer, and what keeps this node from its work? Raises nothing."""
        node = self.node
        if node is None:
            return False, "the store is being opened"
        try:
            await node.control.reach(ANSWER_SECONDS)
        except TimeoutError:
            return False, f"the store did not answer within {ANSWER_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - a health check reports whatever is wrong, and never fails itself
            return False, str(error) or type(error).__name__
        return True, _trouble_of(node)

    async def _await_first_pass(self, node: Node) -> None:
        limit = self._config.start_timeout
        try:
            async with asyncio.timeout(GRACE_SECONDS if limit is None else limit):
                await node.ready.wait()
        except TimeoutError:
            if limit is None:
                return
            _, reason = await self.trouble()
            raise StartTimedOutError(f"not usable within start_timeout={limit:g} s: {reason}") from None

    async def _stop(self, node: Node) -> None:
        """In a task of its own: one of the tasks that it hands back may be the one that waits for it."""
        stopping = asyncio.get_running_loop().create_task(node.stop())
        try:
            with hurried_by_signals(node.hurry):
                await asyncio.shield(stopping)
        except asyncio.CancelledError:
            node.hurry()
            await asyncio.wait({stopping})
            raise
        finally:
            self._roster.end(node)
        logger_of("runner").info("%s stopped", node.id)


def _trouble_of(node: Node) -> str | None:
    if not node.alive:
        return "a service of this process has ended"
    if node.failing:
        return f"failing again and again (the log says why): {', '.join(node.failing)}"
    if not node.ready.is_set():
        return "the definitions have not been written to the store yet"
    return None
