"""Runs that this worker does not know, on their way to one that does."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import RunId

GIVEN_BACK_PER_SECOND = 25
"""So many runs a second one worker gives back in the long run, by resting them long enough."""

SPARE = 5_000
"""So many more at once, after some minutes with few: enough for those who know the runs to take them."""

MOST_PASSED_ON = 10_000
"""So many runs are remembered in a round. What is beyond them rests as if it had come round."""


class UnknownRuns:
    """Law: in each round a run meets every worker that waits, once. The rounds of many runs are longer, so that what
    they cost does not grow with their number.

    A worker that does not know a run passes it on at once, to the worker that has waited longest. A run that comes back
    to a worker in the same round has met no worker that knew it: it rests, and another round begins. Without rounds it
    would be chance which worker gets it after a rest, and chance may pass by the only worker that knows it for a long
    time.
    """

    def __init__(self, pause: timedelta) -> None:
        self._pause = pause
        self._passed_on: dict[RunId, float] = {}
        self._booked = float("-inf")
        """The instant by which the rate allows what was given back so far."""

    def pass_on(self, run: RunId, now: float) -> bool:
        """May the run be passed on, at this local monotonic instant? Else it has come round, and should rest."""
        # Half of a rest at least: what has rested belongs to the next round.
        round_lasts = max(self._pause.total_seconds(), self._booked - now) / 2
        while self._passed_on and now - self._passed_on[oldest := next(iter(self._passed_on))] >= round_lasts:
            del self._passed_on[oldest]
        if run in self._passed_on or len(self._passed_on) >= MOST_PASSED_ON:
            return False
        self._passed_on[run] = now
        self._book(1, now)
        return True

    def rest(self, runs: int, token: int, now: float) -> timedelta:
        """How long so many runs rest that have come round: until the rate allows what has been given back.

        Not less than half a pause to one and a half, by a token: with equal pauses the same worker could be busy at the
        end of each, for ever, that knows the function.
        """
        self._book(runs, now)
        spread = token * 618_033_989 % 1_000_000_000 / 1_000_000_000
        return max(self._pause * (0.5 + spread), timedelta(seconds=max(0.0, self._booked - now)))

    def _book(self, runs: int, now: float) -> None:
        self._booked = max(self._booked, now - SPARE / GIVEN_BACK_PER_SECOND) + runs / GIVEN_BACK_PER_SECOND
