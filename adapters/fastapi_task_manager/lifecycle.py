"""Starts and stops the node of one manager, for callers and for applications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from fastapi_task_manager.config import OperationalConfig
from fastapi_task_manager.errors import DISABLED, ForeignLoopError, NotRunningError
from fastapi_task_manager.group_registry import GroupRegistry
from fastapi_task_manager.hooks import Hooks
from fastapi_task_manager.observers.logs import logger_of
from fastapi_task_manager.run_endings import RunEndings
from fastapi_task_manager.runtime import NodeRuntime
from fastapi_task_manager.schema.health import HealthResponse, LoopBlock
from task_manager_core.application.node import Node
from task_manager_core.domain.duties import Role
from task_manager_core.domain.errors import RefusedError
from task_manager_core.ports import Observer, OpenBackend

NO_LIFESPAN = (
    "the lifespan of its application has not run. Starlette runs none of a mounted application: let the manager join "
    "the outer one, with append_to_app_lifecycle(outer_app)"
)
"""The reason in messages about a manager that joined an application and was never started."""

MOST_NAMED = 10
"""So many tasks are named in the reason of a health check."""

BLOCK_SHOWN = timedelta(minutes=10)
"""A health check shows a block of the event loop for so long after it ended."""


class ManagerLifecycle:
    """The one owner of a manager's state:

        STOPPED --start--> STARTING --first pass--> RUNNING --stop--> STOPPING --store closed--> STOPPED
                              | stop, failure                            ^
                              +------------------------------------------+

    Laws: at most one runtime exists at a time. A start during a stop waits for its end. A start during a start waits
    for the same first pass. A stop at any moment leaves nothing behind. `stop` ends the runtime at once. Applications
    `hold` it: when the last of them releases it, it ends.
    """

    def __init__(
        self,
        *,
        config: OperationalConfig,
        open_backend: OpenBackend,
        groups: GroupRegistry,
        observers: Sequence[Observer],
        hooks: Hooks,
    ) -> None:
        self._config = config
        self._open_backend = open_backend
        self._groups = groups
        self.endings = RunEndings()
        self._observers = (self.endings, *observers)
        self._hooks = hooks
        self._test: tuple[OpenBackend, Callable[..., Node]] | None = None
        """The store and the node of the test that runs."""
        self._runtime: NodeRuntime | None = None
        self._holders: set[object] = set()
        self.joined = False
        """Does the lifespan of an application start it?"""
        self._warned = False

    @property
    def node(self) -> Node | None:
        """The node, from its creation until a stop is requested."""
        return None if self._runtime is None or self._runtime.stopping else self._runtime.node

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that running tasks get to end."""
        return self._config.shutdown_timeout

    @property
    def is_alive(self) -> bool:
        """Has no service of the running node ended? A node that stops lives until its end."""
        runtime = self._runtime
        if runtime is None or runtime.ended:
            return False
        return runtime.stopping or runtime.node is None or runtime.node.leaving or runtime.node.alive

    def running(self) -> Node:
        """The same. Errors: NotRunningError."""
        node = self.node
        if node is None:
            raise NotRunningError(NO_LIFESPAN if self._runtime is None and self.joined else "")
        return node

    def running_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the node. Errors: NotRunningError."""
        self.running()
        assert self._runtime is not None
        return self._runtime.loop

    async def start(self) -> None:
        """Start, or wait for the start that is under way. Errors: those of `NodeRuntime.wait_started`;
        ForeignLoopError."""
        while (runtime := self._runtime_here()) is not None and runtime.stopping:
            await runtime.wait_ended()
        if runtime is None:
            open_backend, make_node = self._test or self._chosen()
            runtime = self._runtime = NodeRuntime(
                config=self._config,
                open_backend=open_backend,
                groups=self._groups,
                observers=self._observers,
                hooks=Hooks() if self.is_disabled else self._hooks,
                make_node=make_node,
            )
        await runtime.wait_started()

    async def stop(self) -> None:
        """Stop, even if applications hold it. Errors: those of closing the store; ForeignLoopError."""
        runtime = self._runtime_here()
        if runtime is not None:
            runtime.request_stop()
            await runtime.finish()

    async def hold(self, holder: object) -> None:
        """Start unless it is started, and keep it running until `release`. Errors: as for `start`."""
        self._holders.add(holder)
        try:
            await self.start()
        except BaseException:
            self._holders.discard(holder)
            raise

    async def release(self, holder: object) -> None:
        """Stop unless another application holds it. Errors: as for `stop`."""
        self._holders.discard(holder)
        if not self._holders:
            await self.stop()

    @property
    def is_disabled(self) -> bool:
        """Does the configuration keep this manager from its work? A test runs it nevertheless."""
        return not self._config.enabled and self._test is None

    def _chosen(self) -> tuple[OpenBackend, Callable[..., Node]]:
        """The store and the node of the configuration."""
        if not self.is_disabled:
            return self._open_backend, Node
        from fastapi_task_manager.disabled import DisabledNode, open_nothing  # noqa: PLC0415 - few processes need it

        logger_of("runner").info("disabled (enabled=False): this process lists its tasks and executes nothing")
        return open_nothing, DisabledNode

    def begin_test(self, open_backend: OpenBackend, make_node: Callable[..., Node]) -> None:
        """Let the next starts use this store and this node, until `end_test`. Errors: RefusedError while the manager
        runs, or in another test."""
        if self._test is not None:
            raise RefusedError("this manager is under test already")
        self._refuse_running("stop the manager before its test")
        self._test = (open_backend, make_node)

    def end_test(self) -> None:
        """Errors: RefusedError while the manager runs."""
        self._refuse_running("the test ends, and its application still runs: leave the application first")
        self._test = None
        self._runtime = None

    def _refuse_running(self, why: str) -> None:
        if self._runtime is not None and not self._runtime.ended:
            raise RefusedError(why)

    async def health(self) -> HealthResponse:
        runtime = self._runtime
        if runtime is None:
            return _unhealthy(f"not started yet: {NO_LIFESPAN}" if self.joined else "not started yet")
        if runtime.stopping:
            return _unhealthy("stopped" if runtime.ended else "stopping")
        connected, reason = await runtime.problem()
        node = runtime.node
        if self.is_disabled:
            return HealthResponse(status="healthy", redis_connected=False, reason=DISABLED)
        held = None if node is None or reason is not None else _held(node)
        return HealthResponse(
            status="unhealthy" if reason is not None else "healthy" if held is None else "degraded",
            redis_connected=connected,
            worker_id=None if node is None else node.id.value,
            worker_started_at=runtime.started_at,
            is_leader=node is not None and node.leads,
            reason=reason or held,
            held_places=0 if node is None else len(node.worker.overruns.claims),
            roles=self._roles(),
            queues=None if self._config.queues is None else list(self._config.queues),
            warnings=list(runtime.warnings),
            last_block=None if node is None else _last_block(node),
        )

    def _roles(self) -> list[str]:
        """The roles of the node. A test has both."""
        duties = self._config.duties() if self.node is None else self.node.duties
        return [role.value for role in Role if role in duties.roles]

    def on_request(self) -> None:
        """A request has reached the application. Its lifespan should have started the manager before that."""
        if self._runtime is None and not self._warned:
            self._warned = True
            logger_of("runner").warning("the task manager is not running and executes nothing: %s", NO_LIFESPAN)

    def _runtime_here(self) -> NodeRuntime | None:
        """The runtime that has not ended. Errors: ForeignLoopError if it belongs to another event loop."""
        runtime = self._runtime
        if runtime is None or runtime.ended:
            return None
        if runtime.loop is not asyncio.get_running_loop():
            raise ForeignLoopError
        return runtime


def _last_block(node: Node) -> LoopBlock | None:
    block = node.keeper.last_block
    if block is None or datetime.now(UTC) - block.at > BLOCK_SHOWN:
        return None
    run = None if block.claim is None else block.claim.run
    return LoopBlock(
        task_group_name=None if run is None else run.task.group,
        task_name=None if run is None else run.task.name,
        run_id=None if run is None else run.id.value,
        line=block.line,
        seconds=block.stood.total_seconds(),
        ended_at=block.at,
    )


def _held(node: Node) -> str | None:
    """Why the process executes nothing although it is healthy; None if it can."""
    overruns = node.worker.overruns
    if not overruns.hold_every_place:
        return None
    tasks = ", ".join(sorted({str(claim.run.task) for claim in overruns.claims})[:MOST_NAMED])
    return (
        f"every place is held by a function that has passed its timeout in a thread, which cannot be stopped: {tasks}"
    )


def _unhealthy(reason: str) -> HealthResponse:
    return HealthResponse(status="unhealthy", redis_connected=False, reason=reason)
