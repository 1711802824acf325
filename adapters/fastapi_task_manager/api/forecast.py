"""Computes coming slots within a budget. A long request gets a part, with the instant up to which it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from fastapi_task_manager.api.limiter import SLICE_SECONDS, Limiter
from fastapi_task_manager.api.responses import upcoming_response
from fastapi_task_manager.schema.schedule import UpcomingResponse
from task_manager_core.domain.preview import Upcoming

MOST_STEPS = 5_000
"""The longest search. A thousand slots of one expression need a thousand steps; of twenty equal expressions, twenty
thousand."""

LONGEST_SECONDS = 2.0
"""A search ends after this time. It computes for at most half of it."""


class Forecasts:
    """The searches of one manager. They take turns."""

    def __init__(self) -> None:
        self._limiter = Limiter("previews", width=16, waiting=64, patience=2.0, rest=SLICE_SECONDS)

    async def answer(self, search: Iterator[Upcoming | None], start: datetime, count: int) -> UpcomingResponse:
        """The first `count` slots that the search finds. Errors: ProcessBusyError."""
        async with self._limiter.admit():
            found = _Found(search, count)
            await self._limiter.run(found, LONGEST_SECONDS)
        reached = found.slots[-1].slot if found.slots else start
        return upcoming_response(found.slots, stopped_at=None if found.complete else reached)


class _Found:
    """What a search has found so far."""

    def __init__(self, search: Iterator[Upcoming | None], count: int) -> None:
        self._search = search
        self._count = count
        self.slots: list[Upcoming] = []
        self.steps = 0
        self.complete = False

    @property
    def ended(self) -> bool:
        return self.complete or self.steps >= MOST_STEPS

    def go_on(self, enough: Callable[[], bool]) -> None:
        for found in self._search:
            self.steps += 1
            if found is not None:
                self.slots.append(found)
            if len(self.slots) == self._count:
                self.complete = True
                return
            if enough() or self.ended:
                return
        self.complete = True
