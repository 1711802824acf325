"""Stores with one typical mistake each, and the law that finds it."""

from tests.testing.broken import backend as whole
from tests.testing.broken import catalogue, history, leadership, run_queue, waiting
from tests.testing.broken import dispatch as schedule
from tests.testing.broken.making import BrokenStore

BROKEN: tuple[BrokenStore, ...] = (
    *leadership.BROKEN,
    *catalogue.BROKEN,
    *schedule.BROKEN,
    *run_queue.BROKEN,
    *waiting.BROKEN,
    *history.BROKEN,
    *whole.BROKEN,
)
