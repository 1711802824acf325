"""Runs whose function no worker knows, or only a worker that starts late: their cost, and their delay."""

from __future__ import annotations

import heapq
from collections import deque
from datetime import timedelta

import pytest

from task_manager_core.application.unknown_runs import RELEASES_PER_SECOND, SPARE, UnknownRuns
from task_manager_core.domain.identity import RunId

WORKERS = 3
CONCURRENCY = 2
SCRIPT = 0.002
"""Seconds that the store needs for a claim and the release after it."""
PAUSE = timedelta(seconds=5)


class Queue:
    """A queue with workers that claim in turn, and the time that the store needs for their requests."""

    def __init__(self, runs: int) -> None:
        self.now = 0.0
        self.queued = deque(RunId(f"{number}") for number in range(runs))
        self.resting: list[tuple[float, str]] = []
        self.workers = [UnknownRuns(PAUSE) for _ in range(WORKERS)]
        self.released = 0
        self._turn = 0

    def work(self, until: float, *, known: bool = False) -> list[float]:
        """Let the workers claim until that time, or until the queue is empty. With `known`, one more worker knows the
        functions; the answer is when it claimed each run."""
        met: list[float] = []
        while self.now < until and (self.queued or self.resting):
            if not self.queued:
                self.now = max(self.now, self.resting[0][0])
            while self.resting and self.resting[0][0] <= self.now:
                self.queued.append(RunId(heapq.heappop(self.resting)[1]))
            claimed = [self.queued.popleft() for _ in range(min(CONCURRENCY, len(self.queued)))]
            self.now += SCRIPT
            self._turn += 1
            if known and self._turn % (WORKERS + 1) == 0:
                met += [self.now] * len(claimed)
                continue
            worker = self.workers[self._turn % WORKERS]
            to_release = [run for run in claimed if not worker.pass_on(run, self.now)]
            self.queued += [run for run in claimed if run not in to_release]
            self.released += len(claimed)
            if to_release:
                rest = worker.delay(len(to_release), self._turn, self.now).total_seconds()
                for run in to_release:
                    heapq.heappush(self.resting, (self.now + rest, run.value))
        return met


def per_second(queue: Queue, seconds: float) -> float:
    before, began = queue.released, queue.now
    queue.work(began + seconds)
    return (queue.released - before) / (queue.now - began)


@pytest.mark.parametrize("runs", [500, 5_000])
def test_the_cost_of_unknown_runs_does_not_grow_with_their_number(runs: int) -> None:
    queue = Queue(runs)
    queue.work(900.0)
    assert per_second(queue, 600.0) <= 1.1 * WORKERS * RELEASES_PER_SECOND


@pytest.mark.parametrize("runs", [500, 5_000])
def test_unknown_runs_soon_leave_the_queue_to_others(runs: int) -> None:
    """Each worker claims each of these runs once. One more claim follows, and then the run waits with a delay."""
    queue = Queue(runs)
    while queue.queued and queue.now < 600.0:
        queue.work(queue.now + SCRIPT)
    assert queue.released <= (WORKERS + 1) * runs + WORKERS * SPARE
    waits = list[int]()
    for _ in range(300):
        queue.work(queue.now + 1.0)
        waits.append(len(queue.queued))
    assert sorted(waits)[270] <= 2 * WORKERS * RELEASES_PER_SECOND


def test_a_worker_that_starts_late_claims_a_few_runs_within_two_pauses() -> None:
    queue = Queue(50)
    queue.work(600.0)
    arrived = queue.now
    met = queue.work(arrived + 3600.0, known=True)
    assert len(met) == 50
    assert met[-1] - arrived <= 2 * PAUSE.total_seconds()


@pytest.mark.parametrize("runs", [500, 5_000])
def test_a_worker_that_starts_late_claims_many_runs_as_fast_as_the_rate_allows(runs: int) -> None:
    queue = Queue(runs)
    queue.work(900.0)
    arrived = queue.now
    met = queue.work(arrived + 3600.0, known=True)
    assert len(met) == runs
    assert met[-1] - arrived <= 2 * runs / RELEASES_PER_SECOND + 2 * PAUSE.total_seconds()


def test_a_worker_that_knows_the_functions_executes_thousands_of_runs_while_others_release_them() -> None:
    """It gets every fourth claim. The delays of the runs do not double the time that it needs."""
    queue = Queue(5_000)
    assert queue.work(3600.0, known=True)[-1] <= 2 * 5_000 / CONCURRENCY * (WORKERS + 1) * SCRIPT
