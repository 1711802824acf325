"""Runs that this worker does not know: it releases them until a worker that knows them claims them."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import RunId

RELEASES_PER_SECOND = 25
"""The average number of unknown runs that one worker releases in a second. Their delays are long enough for that."""

SPARE = 5_000
"""So many more releases at once, after some minutes with few: enough for the workers that know the runs to claim
them."""

MOST_PASSED_ON = 10_000
"""A worker remembers so many runs of a round. It delays further runs as if they had come back."""


class UnknownRuns:
    """Law: in each round a run meets every waiting worker once. The rounds of many runs are longer, so that their cost
    does not grow with their number.

    A worker that does not know a run releases it without a delay, and the worker that has waited longest claims it. If
    the run comes back to a worker in the same round, no waiting worker knows it: the worker releases it with a delay,
    and another round begins. Without rounds chance would decide which worker gets the run after a delay, and could miss
    the only worker that knows it for a long time.
    """

    def __init__(self, pause: timedelta) -> None:
        self._pause = pause
        self._passed_on: dict[RunId, float] = {}
        self._released_until = float("-inf")
        """The instant at which the rate allows all releases so far."""

    def pass_on(self, run: RunId, now: float) -> bool:
        """May the worker release the run without a delay, at this local monotonic instant? If not, the run has come
        back."""
        # At least half of a delay: a run that was delayed belongs to the next round.
        round_lasts = max(self._pause.total_seconds(), self._released_until - now) / 2
        while self._passed_on and now - self._passed_on[oldest := next(iter(self._passed_on))] >= round_lasts:
            del self._passed_on[oldest]
        if run in self._passed_on or len(self._passed_on) >= MOST_PASSED_ON:
            return False
        self._passed_on[run] = now
        self._count_releases(1, now)
        return True

    def delay(self, runs: int, token: int, now: float) -> timedelta:
        """The delay for so many runs that have come back: until the rate allows all releases.

        The delay is at least half a pause to one and a half pauses, and depends on a token. With equal delays, the only
        worker that knows the function could be busy at the end of each of them.
        """
        self._count_releases(runs, now)
        spread = token * 618_033_989 % 1_000_000_000 / 1_000_000_000
        return max(self._pause * (0.5 + spread), timedelta(seconds=max(0.0, self._released_until - now)))

    def _count_releases(self, runs: int, now: float) -> None:
        self._released_until = max(self._released_until, now - SPARE / RELEASES_PER_SECOND) + runs / RELEASES_PER_SECOND
