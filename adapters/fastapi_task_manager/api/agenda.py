"""The coming slots of all tasks, computed within a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from fastapi_task_manager.api.dependencies import Filters, OnlyKnownParameters
from fastapi_task_manager.api.errors import error_responses
from fastapi_task_manager.api.limiter import SLICE_SECONDS, Limiter
from fastapi_task_manager.api.schedules import now
from fastapi_task_manager.schema.agenda import AgendaBucket, AgendaResponse, AgendaSlot
from task_manager_core.domain.coming import ComingSlots, coming_slots
from task_manager_core.domain.policy import require
from task_manager_core.domain.recurrence import calendar_instant

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management

MOST_SLOTS = 1_000
MOST_BUCKETS = 1_000
DEFAULT_BUCKETS = 96
SHORTEST_BUCKET = 60
LONGEST_SPAN = timedelta(days=31)
DEFAULT_SPAN = timedelta(days=1)

MOST_STEPS = 100_000
LONGEST_SECONDS = 4.0
"""A search ends after so many steps, or after this time. It computes for at most half of it."""


def add_agenda_route(router: APIRouter, manager: Management) -> None:
    """GET /agenda."""
    limiter = Limiter("agendas", width=2, waiting=16, patience=LONGEST_SECONDS, rest=SLICE_SECONDS)

    @router.get(
        "/agenda",
        dependencies=[OnlyKnownParameters],
        responses=error_responses({400: "A value is refused; `field` names it."}),
    )
    async def agenda(
        selection: Filters,
        begin: Annotated[
            datetime | None, Query(alias="from", description="Slots from this instant on; default: now")
        ] = None,
        to: Annotated[
            datetime | None, Query(description="Slots before this instant, up to 31 days later; default: a day later")
        ] = None,
        bucket: Annotated[
            int | None,
            Query(description="Length of a part in seconds, at least 60; at most 1,000 parts. Default: about 96 parts"),
        ] = None,
    ) -> AgendaResponse:
        """The coming slots of all tasks that match, counted in parts of the time, and the first of them one by one.
        Disabled tasks are among them, retired ones are not."""
        start = calendar_instant("from", now() if begin is None else begin)
        end = calendar_instant("to", start + DEFAULT_SPAN if to is None else to)
        length = _length(start, end, bucket)
        tasks = [stored.definition for stored in manager.control.scheduled(selection)]
        async with limiter.admit():
            found = _Counted(coming_slots(tasks, start, end), start, length)
            await limiter.run(found, LONGEST_SECONDS)
        return found.answer(start, end)


def _length(start: datetime, end: datetime, bucket: int | None) -> timedelta:
    span = end - start
    require(timedelta(0) < span, "to", end.isoformat(), f"must be after from={start.isoformat()}")
    require(span <= LONGEST_SPAN, "to", end.isoformat(), f"must be at most {LONGEST_SPAN.days} days after from")
    seconds = max(SHORTEST_BUCKET, int(span.total_seconds()) // DEFAULT_BUCKETS) if bucket is None else bucket
    require(seconds >= SHORTEST_BUCKET, "bucket", seconds, f"must be at least {SHORTEST_BUCKET} seconds")
    require(seconds <= LONGEST_SPAN.total_seconds(), "bucket", seconds, f"must be at most {LONGEST_SPAN.days} days")
    parts = -(-span // timedelta(seconds=seconds))
    require(parts <= MOST_BUCKETS, "bucket", seconds, f"makes {parts} parts, and at most {MOST_BUCKETS} are possible")
    return timedelta(seconds=seconds)


class _Counted:
    """What a search has found so far. The slots of the last instant are complete only once the search has passed it."""

    def __init__(self, search: Iterator[ComingSlots | None], start: datetime, length: timedelta) -> None:
        self._search = search
        self._start = start
        self._length = length
        self._counts: Counter[int] = Counter()
        self._slots: list[AgendaSlot] = []
        self._pending: list[ComingSlots] = []
        self._count = 0
        self.steps = 0
        self.complete = False

    @property
    def ended(self) -> bool:
        return self.complete or self.steps >= MOST_STEPS

    def go_on(self, enough: Callable[[], bool]) -> None:
        for found in self._search:
            self.steps += 1
            if found is not None:
                self._take(found)
            if enough() or self.ended:
                return
        self.complete = True
        self._add_pending()

    def _take(self, found: ComingSlots) -> None:
        if self._pending and self._pending[0].upcoming.slot < found.upcoming.slot:
            self._add_pending()
        self._pending.append(found)

    def _add_pending(self) -> None:
        for found in self._pending:
            upcoming = found.upcoming
            self._count += len(found.tasks)
            self._counts[(upcoming.slot - self._start) // self._length] += len(found.tasks)
            for key in found.tasks[: MOST_SLOTS - len(self._slots)]:
                slot, local, note = upcoming.slot, upcoming.local, upcoming.note
                self._slots.append(
                    AgendaSlot(task_group_name=key.group, task_name=key.name, slot=slot, local=local, note=note)
                )
        self._pending = []

    def answer(self, start: datetime, end: datetime) -> AgendaResponse:
        stopped_at = self._pending[0].upcoming.slot if self._pending else start
        return AgendaResponse(
            start=start,
            end=end,
            bucket=self._length.total_seconds(),
            buckets=[
                AgendaBucket(start=start + number * self._length, count=count)
                for number, count in sorted(self._counts.items())
            ],
            slots=self._slots,
            count=self._count,
            stopped_at=None if self.complete else stopped_at,
        )
