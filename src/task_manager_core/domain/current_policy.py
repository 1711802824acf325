"""The policies as a service reads them: each value at the moment at which it is needed.

The frozen policies of `domain.policy` satisfy these protocols. So may a policy whose intervals vary with time, such as
that of a simulation.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from task_manager_core.domain.policy import BatchPolicy


class CurrentLeadershipPolicy(Protocol):
    """A `LeadershipPolicy` at this moment."""

    @property
    def heartbeat(self) -> timedelta: ...
    @property
    def retry_interval(self) -> timedelta: ...
    @property
    def lease(self) -> timedelta: ...
    @property
    def trust(self) -> timedelta: ...


class CurrentWorkerPolicy(Protocol):
    """A `WorkerPolicy` at this moment."""

    @property
    def concurrency(self) -> int: ...
    @property
    def heartbeat(self) -> timedelta: ...
    @property
    def wait(self) -> timedelta: ...
    @property
    def unknown_function_pause(self) -> timedelta: ...
    @property
    def claim_ttl(self) -> timedelta: ...


class CurrentNodePolicy(Protocol):
    """A `NodePolicy` at this moment."""

    @property
    def leadership(self) -> CurrentLeadershipPolicy: ...
    @property
    def worker(self) -> CurrentWorkerPolicy: ...
    @property
    def batches(self) -> BatchPolicy: ...
    @property
    def poll_interval(self) -> timedelta: ...
    @property
    def refresh_interval(self) -> timedelta: ...
    @property
    def reconciliation_interval(self) -> timedelta: ...
    @property
    def keep_ended_tasks(self) -> timedelta | None: ...
    @property
    def grace(self) -> timedelta: ...
    @property
    def notifier_wait(self) -> timedelta: ...
    @property
    def shutdown_timeout(self) -> timedelta: ...
    @property
    def presence_ttl(self) -> timedelta: ...
