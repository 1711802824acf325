"""The methods of a manager that start, watch and end its work in this process."""

from __future__ import annotations

from datetime import timedelta

from fastapi_task_manager.lifecycle import ManagerLifecycle
from fastapi_task_manager.option_readers import duration
from fastapi_task_manager.run_handle import RunHandle
from fastapi_task_manager.run_requests import RunRequests
from fastapi_task_manager.schema.health import HealthResponse
from fastapi_task_manager.trigger import Trigger
from task_manager_core.domain.errors import InvalidPolicy


class Running(Trigger):
    """Starts, drains and stops, and answers health checks. `TaskManager` is the only one."""

    def __init__(self, lifecycle: ManagerLifecycle, requests: RunRequests) -> None:
        super().__init__(requests)
        self._lifecycle = lifecycle

    @property
    def is_running(self) -> bool:
        """Has the manager been started, and not been stopped? Does no I/O. A disabled manager does not run."""
        return self._lifecycle.node is not None and not self._lifecycle.is_disabled

    @property
    def is_alive(self) -> bool:
        """Do all services of this process run? Does no I/O: an orchestrator restarts a process that answers no. A store
        that is away does not change the answer."""
        return self._lifecycle.is_alive

    async def is_healthy(self) -> bool:
        """Is this process started, with no service ended or failing, and with a store that answers? A process that is
        degraded is healthy here."""
        return (await self.health_check()).status != "unhealthy"

    async def health_check(self) -> HealthResponse:
        """The state of this process and of its connection. Never raises, not even before the start or after the
        stop."""
        return await self._lifecycle.health()

    async def start(self) -> None:
        """Open the store and start the node. Does nothing while the manager runs.

        A store that is away does not make this fail: `health_check` reports it, and the node begins its work when the
        store answers. A start during a stop waits until the stop is done.

        Raises:
            RuntimeError: The store was not usable within `start_timeout`, the manager was stopped meanwhile, or it runs
                in another event loop.
        """
        await self._lifecycle.start()

    async def stop(self) -> None:
        """Resign, let running tasks end within `shutdown_timeout`, and release the rest. A second call has no effect.

        It also ends a start that is under way. If its caller is cancelled, it does not stop half-way: it interrupts the
        running tasks at once, like a second signal. A task that calls it is a running task: the manager waits for it,
        and releases it after the timeout.

        Raises:
            RuntimeError: The manager runs in another event loop.
        """
        await self._lifecycle.stop()

    async def drain(self, timeout: float | timedelta | None = None) -> list[RunHandle]:
        """Take no more work: resign, claim no more runs, and wait until the running tasks have ended.

        The manager then still lists, triggers and explains, keeps the claims of the runs that are left, and records
        their outcomes. `health_check` answers unhealthy. Only a stop ends this state. A second call waits again.

        Args:
            timeout: The longest wait, in seconds or as a timedelta. None: `shutdown_timeout`.

        Returns:
            The runs that this process still executes.

        Raises:
            RuntimeError: The manager is not running, or a timeout below 0.
        """
        limit = duration("timeout", self._lifecycle.shutdown_timeout if timeout is None else timeout)
        if limit < timedelta(0):
            raise InvalidPolicy("timeout", timeout, "must be at least 0 seconds")
        left = await self._lifecycle.running().drain(limit)
        return [self._requests.handle(claim.run.task, claim.run.id.value) for claim in left]
