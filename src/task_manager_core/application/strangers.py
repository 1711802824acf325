"""Runs that this worker does not know, on their way to one that does."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import RunId


class Strangers:
    """Law: in each round a run meets every worker that waits, once.

    Who does not know a run passes it on at once, to whoever has waited longest. A run that comes back to a worker in
    the same round has met nobody who knew it: it rests, and another round begins. Without rounds it would be chance who
    gets it after a rest, and chance may pass by the only worker that knows it for a long time.
    """

    def __init__(self, pause: timedelta) -> None:
        self._round = (pause / 2).total_seconds()  # the shortest rest: what rested belongs to the next round
        self._passed_on: dict[RunId, float] = {}

    def pass_on(self, run: RunId, now: float) -> bool:
        """May the run be passed on, at this local monotonic instant? Else it has come round, and should rest."""
        while self._passed_on and now - self._passed_on[oldest := next(iter(self._passed_on))] >= self._round:
            del self._passed_on[oldest]
        if run in self._passed_on:
            return False
        self._passed_on[run] = now
        return True
