"""Weeks pass in seconds: far from every fault, nodes wait longer than configured between two passes.

Most passes of an idle cluster only look whether anything has happened. While nothing can happen but known slots, longer
waits change no result: the leader sleeps until the next slot is due, and a worker that waits for runs is woken by one.
The intervals decide how soon a node notices that another one has died. So they are the configured ones from a fault
until the cluster has settled.

- No wait reaches beyond the beginning of the next fault: it is at most a quarter of the time until then. Waits become
  shorter step by step, and every lease, claim and wait that a fault meets has its configured length.
- Ratios hold: a lease is three heartbeats at every moment. While a wait lasts, the next one shrinks by a quarter of it
  at most. So no claim expires for want of a heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from math import inf

from task_manager_core.domain.policy import BatchPolicy, BlockPolicy, LeadershipPolicy, NodePolicy, WorkerPolicy

_APPROACH = 4
"""A wait is at most this part of the time until the next fault."""


class Pacing:
    """Stretches the configured waits. Instants are virtual seconds. In a *window* waits are the configured ones.

    `calm` is the longest wait; `settling` is how long a window goes on after a fault.
    """

    def __init__(self, time: Callable[[], float], *, calm: timedelta, settling: timedelta) -> None:
        self._time = time
        self.calm = calm
        self._settling = settling.total_seconds()
        self._windows: list[tuple[float, float]] = []
        self._known = (0.0, 0.0, 0.0)

    def start_until(self, end: float) -> None:
        """The cluster starts: the nodes elect a leader and learn of each other until `end`."""
        self._windows.append((0.0, end))
        self._known = (0.0, 0.0, 0.0)

    def expect(self, start: float, end: float | None = None) -> None:
        """A fault happens at `start`, or lasts from then until `end`."""
        self._windows.append((start, (start if end is None else end) + self._settling))
        self._known = (0.0, 0.0, 0.0)

    def expect_some_time_after(self, start: float) -> Callable[[], None]:
        """A fault happens at some time after `start`. Call the answer when it has happened, or will not happen."""
        window = (start, inf)
        self._windows.append(window)
        self._known = (0.0, 0.0, 0.0)

        def over() -> None:
            if window in self._windows:
                self._windows.remove(window)
                self.expect(min(start, self._time()), self._time())

        return over

    def stretch(self, configured: timedelta) -> timedelta:
        """How long a wait lasts now that is configured to this length."""
        now = self._time()
        begins, ends, opens = self._known
        if not begins <= now < ends:
            begins, ends, opens = self._known = self._find(now)
        if opens <= now:
            return configured
        room = self.calm if opens == inf else min(self.calm, timedelta(milliseconds=(opens - now) * 1000 // _APPROACH))
        return max(configured, room)

    def _find(self, now: float) -> tuple[float, float, float]:
        """The stretch of time around now: its beginning, its end, and the beginning of the present or next window."""
        inside = [window for window in self._windows if window[0] <= now < window[1]]
        if inside:
            return now, max(end for _, end in inside), now
        opens = min((start for start, _ in self._windows if start > now), default=inf)
        return now, opens, opens


class PacedLeadership:
    """A `CurrentLeadershipPolicy`: the configured one, with stretched waits."""

    def __init__(self, policy: LeadershipPolicy, pacing: Pacing) -> None:
        self._policy = policy
        self._pacing = pacing

    @property
    def heartbeat(self) -> timedelta:
        return self._pacing.stretch(self._policy.heartbeat)

    @property
    def retry_interval(self) -> timedelta:
        return self._pacing.stretch(self._policy.retry_interval)

    @property
    def lease(self) -> timedelta:
        return LeadershipPolicy(heartbeat=self.heartbeat).lease

    @property
    def trust(self) -> timedelta:
        return LeadershipPolicy(heartbeat=self.heartbeat).trust


class PacedWorker:
    """A `CurrentWorkerPolicy`: the configured one, with stretched waits."""

    def __init__(self, policy: WorkerPolicy, pacing: Pacing) -> None:
        self._policy = policy
        self._pacing = pacing

    @property
    def concurrency(self) -> int:
        return self._policy.concurrency

    @property
    def heartbeat(self) -> timedelta:
        return self._pacing.stretch(self._policy.heartbeat)

    @property
    def wait(self) -> timedelta:
        return self._pacing.stretch(self._policy.wait)

    @property
    def unknown_function_pause(self) -> timedelta:
        return self._policy.unknown_function_pause

    @property
    def claim_ttl(self) -> timedelta:
        return WorkerPolicy(heartbeat=self.heartbeat).claim_ttl


class PacedNode:
    """A `CurrentNodePolicy`: the configured one, with stretched waits."""

    def __init__(self, policy: NodePolicy, pacing: Pacing) -> None:
        self.leadership = PacedLeadership(policy.leadership, pacing)
        self.worker = PacedWorker(policy.worker, pacing)
        self._policy = policy
        self._pacing = pacing

    @property
    def batches(self) -> BatchPolicy:
        return self._policy.batches

    @property
    def blocking(self) -> BlockPolicy:
        return self._policy.blocking

    @property
    def poll_interval(self) -> timedelta:
        return self._pacing.stretch(self._policy.poll_interval)

    @property
    def refresh_interval(self) -> timedelta:
        return self._pacing.stretch(self._policy.refresh_interval)

    @property
    def reconciliation_interval(self) -> timedelta:
        return self._pacing.stretch(self._policy.reconciliation_interval)

    @property
    def keep_ended_tasks(self) -> timedelta | None:
        return self._policy.keep_ended_tasks

    @property
    def grace(self) -> timedelta:
        return self._pacing.stretch(self._policy.grace)

    @property
    def notifier_wait(self) -> timedelta:
        return self._pacing.stretch(self._policy.notifier_wait)

    @property
    def shutdown_timeout(self) -> timedelta:
        return self._policy.shutdown_timeout

    @property
    def presence_ttl(self) -> timedelta:
        return replace(self._policy, refresh_interval=self.refresh_interval).presence_ttl
