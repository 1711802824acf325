"""Coming slots, of tasks and of schedules without a task."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from fastapi_task_manager.api.bodies import reads
from fastapi_task_manager.api.dependencies import KeyInPath, OnlyKnownParameters
from fastapi_task_manager.api.errors import error_responses
from fastapi_task_manager.api.forecast import Forecasts
from fastapi_task_manager.schema.schedule import PreviewRequest, UpcomingResponse
from task_manager_core.domain.cron import CronExpression
from task_manager_core.domain.preview import MOST_UPCOMING, Upcoming, search
from task_manager_core.domain.recurrence import Fold, Gap
from task_manager_core.domain.schedule import Schedule

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management


def add_schedule_routes(router: APIRouter, manager: Management) -> None:
    """GET upcoming slots of a task, and POST /schedules/preview."""
    forecasts = Forecasts()

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/upcoming",
        dependencies=[OnlyKnownParameters],
        responses=error_responses({404: "There is no such task."}),
    )
    async def upcoming_of_task(
        key: KeyInPath,
        count: Annotated[int, Query(ge=1, le=MOST_UPCOMING, description="How many slots")] = 10,
    ) -> UpcomingResponse:
        """The coming slots of a task, with what daylight saving does to them."""
        stored, start = manager.control.definition(key), now()
        return await forecasts.answer(search(stored.definition.schedule, start), start, count)

    @router.post(
        "/schedules/preview",
        dependencies=[OnlyKnownParameters],
        responses=error_responses({400: "A value is refused; `field` names it."}),
    )
    @reads(PreviewRequest)
    async def preview(body: PreviewRequest) -> UpcomingResponse:
        """The coming slots of a schedule without a task."""
        start = body.start or now()
        return await forecasts.answer(_search(body, start), start, body.count)


def _search(body: PreviewRequest, start: datetime) -> Iterator[Upcoming | None]:
    """Search the slots of a request. Reading an expression is a step, too."""
    for text in [body.cron_expression] if isinstance(body.cron_expression, str) else body.cron_expression:
        CronExpression.parse(text, hash_seed=body.seed)
        yield None
    schedule = Schedule.cron(
        body.cron_expression,
        timezone=body.timezone,
        gap=Gap(body.gap),
        fold=Fold(body.fold),
        hash_seed=body.seed,
    )
    yield from search(schedule, start)


def now() -> datetime:
    """The time of this process."""
    from fastapi_task_manager.container import Container  # noqa: PLC0415 - see its docstring

    return Container.clock().now()
