"""Wakes the callers that wait for a run, when this process has settled it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager

from task_manager_core.domain.events import Event, RunSettled
from task_manager_core.domain.identity import RunId
from task_manager_core.domain.run import Retried


class RunEndings:
    """An observer of the node. It costs the store nothing, and knows nothing of the runs that other processes settle.

    Law: nothing is kept of a run for which no caller waits.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[RunId, set[asyncio.Event]] = defaultdict(set)

    def notice(self, event: Event) -> None:
        if isinstance(event, RunSettled) and not isinstance(event.settlement.outcome, Retried):
            for ended in self._waiting.get(event.settlement.claim.run.id, ()):
                ended.set()

    @contextmanager
    def watch(self, run: RunId) -> Generator[asyncio.Event]:
        """An event that is set when this process settles the run."""
        ended = asyncio.Event()
        self._waiting[run].add(ended)
        try:
            yield ended
        finally:
            self._waiting[run].discard(ended)
            if not self._waiting[run]:
                del self._waiting[run]
