"""Tasks with their state and history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from fastapi_task_manager.api.refusals import bounded, refusals
from fastapi_task_manager.api.selecting import Filters, KeyInPath, OnlyKnownParameters
from fastapi_task_manager.api.showing import shown_explanation, shown_run, shown_skips, shown_task
from fastapi_task_manager.schema.explanation import TaskExplanation
from fastapi_task_manager.schema.task import TaskDetailed, TaskStatistics

if TYPE_CHECKING:
    from fastapi_task_manager.task_manager import TaskManager

SKIPS_SHOWN = 100


def add_task_routes(router: APIRouter, manager: TaskManager) -> None:
    """GET /tasks, and of one task its statistics and the explanation of its next run."""

    @router.get("/tasks", dependencies=[OnlyKnownParameters], responses=refusals())
    @bounded
    async def tasks(selection: Filters) -> list[TaskDetailed]:
        """All tasks that match, of every process on this store."""
        statuses, _ = await manager.control.look(selection)
        return [shown_task(status) for status in statuses]

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/statistics",
        dependencies=[OnlyKnownParameters],
        responses=refusals(_404="There is no such task."),
    )
    @bounded
    async def statistics(
        key: KeyInPath,
        limit: Annotated[int, Query(ge=1, le=1_000_000, description="Most runs to answer, the newest")] = 1_000_000,
    ) -> TaskStatistics:
        """What happened to a task, newest first: every attempt with its outcome, and the skipped slots."""
        runs = await manager.control.history(key, min(limit, manager.config.statistics_history_runs))
        skips = await manager.control.skips(key, SKIPS_SHOWN)
        return TaskStatistics(
            task_group_name=key.group,
            task_name=key.name,
            runs=[shown_run(record) for record in runs],
            skipped=[shown_skips(skipped) for skipped in skips],
        )

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/explain",
        dependencies=[OnlyKnownParameters],
        responses=refusals(_404="There is no such task."),
    )
    @bounded
    async def explain(key: KeyInPath) -> TaskExplanation:
        """Why the task runs next when it does, or does not run."""
        return shown_explanation(key, await manager.control.explain(key))
