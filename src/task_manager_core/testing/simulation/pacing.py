"""How weeks pass in seconds: production nodes with the rests of production round every fault, and long ones elsewhere.

Most of what an idle cluster does is to look whether anything has happened. While nothing can happen but the slots that
everybody knows, looking less often changes no outcome: a leader that is awake sleeps to the very instant that is next
due, and a worker that waits for runs is woken by one. What the intervals decide is how long the others need to notice
that somebody has died, and so they are the configured ones before a fault strikes and until the cluster has settled.

- A rest never reaches beyond the beginning of the next fault: it is at most a quarter of the way there, so that rests
  become shorter step by step and every lease, claim and wait that a fault meets is one of production length.
- Ratios hold: a lease is three heartbeats at every moment, and since a rest shrinks by a quarter of itself at most
  while it lasts, nobody's claim ends for want of a beat.
"""

# A frozen field is read like a property, which is all that the nodes do with it.
# pyright: reportIncompatibleVariableOverride=false

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import inf

from task_manager_core.domain.policy import LeadershipPolicy, NodePolicy, WorkerPolicy

_APPROACH = 4
"""A rest is at most this part of the way to the next fault."""


_put = object.__setattr__
"""The policies are frozen."""


class Pacing:
    """Says how long a rest may be. Instants are virtual seconds; a window is a time with the rests of production."""

    def __init__(self, time: Callable[[], float], *, calm: timedelta, settling: timedelta) -> None:
        self._time = time
        self.calm = calm
        self._settling = settling.total_seconds()
        self._windows: list[tuple[float, float]] = []
        self._known = (0.0, 0.0, 0.0)

    def start_until(self, end: float) -> None:
        """The cluster begins to live: nothing has to be settled, but everybody has to come together."""
        self._windows.append((0.0, end))
        self._known = (0.0, 0.0, 0.0)

    def expect(self, start: float, end: float | None = None) -> None:
        """Something happens at `start`, or from then on until `end`."""
        self._windows.append((start, (start if end is None else end) + self._settling))
        self._known = (0.0, 0.0, 0.0)

    def expect_some_time_after(self, start: float) -> Callable[[], None]:
        """Something happens some time after `start`; call the answer when it has happened, or will not."""
        window = (start, inf)
        self._windows.append(window)
        self._known = (0.0, 0.0, 0.0)

        def happened() -> None:
            if window in self._windows:
                self._windows.remove(window)
                self.expect(min(start, self._time()), self._time())

        return happened

    def rest(self, configured: timedelta) -> timedelta:
        """What a rest that is configured to this length lasts now."""
        now = self._time()
        begins, ends, opens = self._known
        if not begins <= now < ends:
            begins, ends, opens = self._known = self._look(now)
        if opens <= now:
            return configured
        room = self.calm if opens == inf else min(self.calm, timedelta(milliseconds=(opens - now) * 1000 // _APPROACH))
        return max(configured, room)

    def _look(self, now: float) -> tuple[float, float, float]:
        """The stretch of time round now: its beginning, its end, and the beginning of the window that it is in or
        leads to."""
        inside = [window for window in self._windows if window[0] <= now < window[1]]
        if inside:
            return now, max(end for _, end in inside), now
        opens = min((start for start, _ in self._windows if start > now), default=inf)
        return now, opens, opens


class PacedLeadership(LeadershipPolicy):
    """Configured intervals, stretched by a tide."""

    _policy: LeadershipPolicy
    _tide: Pacing

    def __init__(self, policy: LeadershipPolicy, tide: Pacing) -> None:
        _put(self, "_policy", policy)
        _put(self, "_tide", tide)

    @property
    def heartbeat(self) -> timedelta:
        return self._tide.rest(self._policy.heartbeat)

    @property
    def retry_interval(self) -> timedelta:
        return self._tide.rest(self._policy.retry_interval)


class PacedWorker(WorkerPolicy):
    """The same for a worker."""

    _policy: WorkerPolicy
    _tide: Pacing

    def __init__(self, policy: WorkerPolicy, tide: Pacing) -> None:
        _put(self, "_policy", policy)
        _put(self, "_tide", tide)
        _put(self, "concurrency", policy.concurrency)
        _put(self, "unknown_function_pause", policy.unknown_function_pause)

    @property
    def heartbeat(self) -> timedelta:
        return self._tide.rest(self._policy.heartbeat)

    @property
    def wait(self) -> timedelta:
        return self._tide.rest(self._policy.wait)


class PacedNode(NodePolicy):
    """The same for a whole process."""

    _policy: NodePolicy
    _tide: Pacing

    def __init__(self, policy: NodePolicy, tide: Pacing) -> None:
        _put(self, "_policy", policy)
        _put(self, "_tide", tide)
        _put(self, "leadership", PacedLeadership(policy.leadership, tide))
        _put(self, "worker", PacedWorker(policy.worker, tide))
        _put(self, "shutdown_timeout", policy.shutdown_timeout)

    @property
    def poll_interval(self) -> timedelta:
        return self._tide.rest(self._policy.poll_interval)

    @property
    def refresh_interval(self) -> timedelta:
        return self._tide.rest(self._policy.refresh_interval)

    @property
    def reconciliation_interval(self) -> timedelta:
        return self._tide.rest(self._policy.reconciliation_interval)

    @property
    def signal_wait(self) -> timedelta:
        return self._tide.rest(self._policy.signal_wait)
