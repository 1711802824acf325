"""Pages of tasks: complete, in order, and at a bounded cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from task_manager_core.application.overviews import MOST_EXAMINED, Order, Overviews, PageQuery
from task_manager_core.domain.errors import InvalidPolicy, TaskNotFound
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.observation import Snapshot, TaskView
from task_manager_core.domain.planning import NextSlot
from task_manager_core.domain.run import AttemptRecord, AttemptStatus
from task_manager_core.domain.standing import Standing
from task_manager_core.domain.task import VersionedDefinition
from tests.application.cluster import NOON, SECOND, a_task


class CountingHistory:
    """A history that counts the requests, and the tasks that they name."""

    def __init__(self, views: Sequence[TaskView], records: dict[TaskKey, tuple[AttemptRecord, ...]]) -> None:
        self.views = {view.key: view for view in views}
        self.records = records
        self.requests: Counter[str] = Counter()
        self.tasks = 0

    async def snapshot(self, keys: Sequence[TaskKey]) -> Snapshot:
        self.requests["snapshot"] += 1
        self.tasks += len(keys)
        found = [self.views[key] for key in keys if key in self.views]
        return Snapshot(now=NOON, term=None, tasks=tuple(found), nodes=())

    async def recent(self, keys: Sequence[TaskKey], limit: int) -> dict[TaskKey, tuple[AttemptRecord, ...]]:
        self.requests["recent"] += 1
        self.tasks += len(keys)
        return {key: self.records.get(key, ())[:limit] for key in keys if key in self.views}


def record(status: AttemptStatus, started: timedelta) -> AttemptRecord:
    return AttemptRecord(
        run=RunId("r"),
        slot=None,
        attempt=1,
        status=status,
        started_at=NOON - started,
        duration=SECOND,
        worker=NodeId("node"),
        token=1,
    )


class Tasks:
    """So many tasks. Every tenth fails; the next run of each comes the earlier the later its name."""

    def __init__(self, count: int) -> None:
        self.stored = [VersionedDefinition(definition=a_task(f"t{n:05}"), version=n + 1) for n in range(count)]
        views: list[TaskView] = []
        records: dict[TaskKey, tuple[AttemptRecord, ...]] = {}
        for number, stored in enumerate(self.stored):
            due = NOON + (count - number) * SECOND
            key = stored.definition.key
            views.append(TaskView(key=key, version=stored.version, next_slot=NextSlot(slot=due, due_at=due)))
            status = AttemptStatus.FAILED if number % 10 == 0 else AttemptStatus.SUCCEEDED
            if number % 3:
                records[key] = (record(status, (number % 7) * SECOND), record(status, 60 * SECOND))
        self.history = CountingHistory(views, records)
        history: Any = self.history
        known = {stored.definition.key: stored for stored in self.stored}
        self.overviews = Overviews(history=history, definition=known.__getitem__)

    async def listed(self, query: PageQuery) -> list[str]:
        return [name for page in await self.pages(query) for name in page]

    async def pages(self, query: PageQuery, most: int = 1000) -> list[list[str]]:
        """The names on all pages."""
        pages: list[list[str]] = []
        while len(pages) < most:
            page = await self.overviews.page(self.stored, query)
            pages.append([overview.stored.definition.key.name for overview in page.overviews])
            if page.following is None:
                return pages
            query = replace(query, after=page.following)
        raise AssertionError("too many pages")


def names(numbers: Sequence[int]) -> list[str]:
    return [f"t{number:05}" for number in numbers]


@pytest.mark.parametrize("limit", [1, 7, 25, 26, 500])
async def test_the_pages_together_are_the_list(limit: int) -> None:
    pages = await Tasks(25).pages(PageQuery(limit=limit))
    assert [name for page in pages for name in page] == names(range(25))
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages) == -(-25 // limit)


async def test_a_page_of_ten_thousand_tasks_costs_as_many_requests_as_a_page_of_a_hundred() -> None:
    requests: list[Counter[str]] = []
    for count in (100, 10_000):
        for query in (
            PageQuery(limit=50),
            PageQuery(limit=5, standing=Standing.FAILING),
            PageQuery(limit=50, standing=Standing.PAUSED),
        ):
            tasks = Tasks(count)
            await tasks.overviews.page(tasks.stored, query)
            requests.append(tasks.history.requests)
            assert tasks.history.tasks <= 2 * MOST_EXAMINED + 2 * query.limit
    assert requests[:3] == requests[3:]


async def test_a_filtered_list_goes_on_after_a_page_that_holds_nothing() -> None:
    tasks = Tasks(2 * MOST_EXAMINED + 5)
    last = tasks.stored[-1].definition.key
    tasks.history.views[last] = replace(tasks.history.views[last], paused=True)
    pages = await tasks.pages(PageQuery(limit=10, standing=Standing.PAUSED))
    assert pages == [[], [], [last.name]]


async def test_every_failing_task_is_on_one_page() -> None:
    tasks = Tasks(1500)
    expected = names([n for n in range(1500) if n % 10 == 0 and n % 3])
    assert await tasks.listed(PageQuery(limit=7, standing=Standing.FAILING)) == expected


@pytest.mark.parametrize("limit", [1, 4, 30])
async def test_a_list_is_sorted_by_its_next_and_its_last_run(limit: int) -> None:
    tasks = Tasks(30)
    by_next = await tasks.listed(PageQuery(limit=limit, order=Order.NEXT_RUN))
    assert by_next == names(list(reversed(range(30))))
    by_last = await tasks.listed(PageQuery(limit=limit, order=Order.LAST_RUN))
    assert by_last == names(sorted(range(30), key=lambda n: (n % 7 if n % 3 else 99, n)))


async def test_a_list_that_is_too_long_is_not_sorted_by_state() -> None:
    tasks = Tasks(MOST_EXAMINED + 1)
    with pytest.raises(InvalidPolicy, match="sort"):
        await tasks.overviews.page(tasks.stored, PageQuery(order=Order.NEXT_RUN))
    query = PageQuery(order=Order.NEXT_RUN, text="T0000")
    assert len((await tasks.overviews.page(tasks.stored, query)).overviews) == 10


async def test_a_task_that_goes_between_two_pages_moves_no_other_task() -> None:
    tasks = Tasks(6)
    first = await tasks.overviews.page(tasks.stored, PageQuery(limit=3))
    del tasks.stored[1]
    second = await tasks.overviews.page(tasks.stored, PageQuery(limit=3, after=first.following))
    assert [one.stored.definition.key.name for one in second.overviews] == names([3, 4, 5])


async def test_a_task_that_the_store_has_removed_is_left_out() -> None:
    tasks = Tasks(3)
    gone = tasks.stored[1].definition.key
    del tasks.history.views[gone]
    assert await tasks.pages(PageQuery()) == [names([0, 2])]
    with pytest.raises(TaskNotFound):
        await tasks.overviews.one(gone)


@pytest.mark.parametrize(("field", "value"), [("limit", 0), ("limit", 501), ("text", "x" * 201)])
def test_a_query_out_of_bounds_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        PageQuery(**{field: value})
    assert refused.value.field == field
