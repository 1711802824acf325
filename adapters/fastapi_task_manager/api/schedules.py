"""Coming slots, of tasks and of schedules that nobody registered. Computed, so in threads of their own."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from fastapi_task_manager.api.bodies import reads
from fastapi_task_manager.api.refusals import refusals
from fastapi_task_manager.api.selecting import KeyInPath, OnlyKnownParameters
from fastapi_task_manager.api.showing import shown_upcoming
from fastapi_task_manager.schema.schedule import PreviewRequest, UpcomingResponse
from task_manager_core.domain.preview import MOST_UPCOMING, upcoming
from task_manager_core.domain.recurrence import Fold, Gap
from task_manager_core.domain.schedule import Schedule

if TYPE_CHECKING:
    from fastapi_task_manager.task_manager import TaskManager


def add_schedule_routes(router: APIRouter, manager: TaskManager) -> None:
    """GET upcoming slots of a task, and POST /schedules/preview."""

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/upcoming",
        dependencies=[OnlyKnownParameters],
        responses=refusals(_404="There is no such task."),
    )
    def upcoming_of_task(
        key: KeyInPath,
        count: Annotated[int, Query(ge=1, le=MOST_UPCOMING, description="How many slots")] = 10,
    ) -> UpcomingResponse:
        """The coming slots of a task, with what daylight saving does to them."""
        stored = manager.control.definition(key)
        return shown_upcoming(upcoming(stored.task.schedule, _now(), count))

    @router.post(
        "/schedules/preview",
        dependencies=[OnlyKnownParameters],
        responses=refusals(_400="A value is refused; `field` names it."),
    )
    @reads(PreviewRequest)
    async def preview(body: PreviewRequest) -> UpcomingResponse:
        """The coming slots of a schedule that nobody registered."""
        schedule = Schedule.cron(
            body.cron_expression,
            timezone=body.timezone,
            gap=Gap(body.gap),
            fold=Fold(body.fold),
            hash_seed=body.seed,
        )
        return shown_upcoming(upcoming(schedule, body.start or _now(), body.count))


def _now() -> datetime:
    from fastapi_task_manager.container import Container  # noqa: PLC0415 - see its docstring

    return Container.clock().now()
