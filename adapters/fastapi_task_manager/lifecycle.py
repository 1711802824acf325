"""The lives of one manager, one after the other, and who wants it to live."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi_task_manager.config import OperationalConfig
from fastapi_task_manager.errors import ForeignLoopError, NotRunningError
from fastapi_task_manager.group_registry import GroupRegistry
from fastapi_task_manager.observers.logs import logger_of
from fastapi_task_manager.runtime import NodeRuntime
from fastapi_task_manager.schema.health import HealthResponse
from task_manager_core.application.node import Node
from task_manager_core.ports import Observer, OpenBackend

NO_LIFESPAN = (
    "the lifespan of its application has not run. Starlette runs none of a mounted application: let the manager join "
    "the outer one, with append_to_app_lifecycle(outer_app)"
)
"""What is told of a manager that joined an application and was never started."""


class ManagerLifecycle:
    """The one owner of a manager's state:

        STOPPED --start--> STARTING --first pass--> RUNNING --stop--> STOPPING --store closed--> STOPPED
                              | stop, failure                            ^
                              +------------------------------------------+

    Laws: at most one life at a time; a start while one ends waits for its end; a start while one begins waits for the
    same beginning; a stop at any moment leaves nothing behind. `stop` ends the life at once. Applications hold it: the
    last one that lets go ends it.
    """

    def __init__(
        self,
        *,
        config: OperationalConfig,
        open_backend: OpenBackend,
        roster: GroupRegistry,
        observers: Sequence[Observer],
    ) -> None:
        self._config = config
        self._open_backend = open_backend
        self._groups = roster
        self._observers = tuple(observers)
        self._runtime: NodeRuntime | None = None
        self._holders: set[object] = set()
        self.joined = False
        """Is there an application whose lifespan starts it?"""
        self._warned = False

    @property
    def node(self) -> Node | None:
        """The node, from the moment that it exists until somebody asks for its end."""
        return None if self._runtime is None or self._runtime.stopping else self._runtime.node

    def running(self) -> Node:
        """The same. Errors: NotRunningError."""
        node = self.node
        if node is None:
            raise NotRunningError(NO_LIFESPAN if self._runtime is None and self.joined else "")
        return node

    async def start(self) -> None:
        """Errors: those of `Life.begun`; ForeignLoopError."""
        while (life := self._runtime_here()) is not None and life.stopping:
            await life.wait_ended()
        if life is None:
            life = self._runtime = NodeRuntime(
                config=self._config, open_backend=self._open_backend, roster=self._groups, observers=self._observers
            )
        await life.wait_started()

    async def stop(self) -> None:
        """Whoever holds it. Errors: those of closing the store; ForeignLoopError."""
        life = self._runtime_here()
        if life is not None:
            life.request_stop()
            await life.finish()

    async def hold(self, holder: object) -> None:
        """Start, unless that was done, and keep it alive. Errors: as for `start`."""
        self._holders.add(holder)
        try:
            await self.start()
        except BaseException:
            self._holders.discard(holder)
            raise

    async def release(self, holder: object) -> None:
        """Stop, unless another one holds it. Errors: as for `stop`."""
        self._holders.discard(holder)
        if not self._holders:
            await self.stop()

    async def health(self) -> HealthResponse:
        life = self._runtime
        if life is None:
            return _unhealthy(f"not started yet: {NO_LIFESPAN}" if self.joined else "not started yet")
        if life.stopping:
            return _unhealthy("stopped" if life.ended else "stopping")
        connected, reason = await life.problem()
        node = life.node
        return HealthResponse(
            status="healthy" if reason is None else "unhealthy",
            redis_connected=connected,
            worker_id=None if node is None else node.id.value,
            worker_started_at=life.started_at,
            is_leader=node is not None and node.leads,
            reason=reason,
        )

    def on_request(self) -> None:
        """A request has reached the application. Its lifespan should have started the manager before."""
        if self._runtime is None and not self._warned:
            self._warned = True
            logger_of("runner").warning("the task manager is not running and executes nothing: %s", NO_LIFESPAN)

    def _runtime_here(self) -> NodeRuntime | None:
        """The life that has not ended, which only its own event loop can be asked about."""
        life = self._runtime
        if life is None or life.ended:
            return None
        if life.loop is not asyncio.get_running_loop():
            raise ForeignLoopError
        return life


def _unhealthy(reason: str) -> HealthResponse:
    return HealthResponse(status="unhealthy", redis_connected=False, reason=reason)
