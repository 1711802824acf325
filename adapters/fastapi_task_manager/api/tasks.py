"""Tasks with their state and history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from fastapi_task_manager.api.dependencies import Filters, KeyInPath, OnlyKnownParameters
from fastapi_task_manager.api.errors import bounded, refusals, store_time
from fastapi_task_manager.api.limiter import Lane
from fastapi_task_manager.api.responses import shown_explanation, shown_run, shown_skips, shown_task
from fastapi_task_manager.api.streaming import Lists, an_object, as_answer, written
from fastapi_task_manager.schema.explanation import TaskExplanation
from fastapi_task_manager.schema.task import TaskDetailed, TaskStatistics
from task_manager_core.application.control import Selection

if TYPE_CHECKING:
    from fastapi_task_manager.task_manager import TaskManager

SKIPS_SHOWN = 100


def add_task_routes(router: APIRouter, manager: TaskManager) -> None:
    """GET /tasks, and of one task its statistics and the explanation of its next run."""

    async def write_tasks(lane: Lane, selection: Selection) -> str:
        stored = manager.control.select(selection)
        async with store_time(len(stored)):
            statuses, _ = await manager.control.look(stored)
        return await written(lane, shown_task, statuses)

    lists = Lists(write_tasks)
    histories = Lane("histories", width=4, waiting=64, patience=15.0)

    @router.get("/tasks", response_model=list[TaskDetailed], dependencies=[OnlyKnownParameters], responses=refusals())
    async def tasks(selection: Filters, response: Response) -> Response:
        """All tasks that match, of every process on this store."""
        return as_answer(await lists.of(selection), response)

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/statistics",
        dependencies=[OnlyKnownParameters],
        response_model=TaskStatistics,
        responses=refusals(_404="There is no such task."),
    )
    async def statistics(
        key: KeyInPath,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=1_000_000, description="Most runs to answer, the newest")] = 1_000_000,
    ) -> Response:
        """What happened to a task, newest first: every attempt with its outcome, and the skipped slots."""
        async with histories.place():
            most = min(limit, manager.config.statistics_history_runs)
            async with store_time(most):
                runs = await manager.control.history(key, most)
                skips = await manager.control.skips(key, SKIPS_SHOWN)
            answer = an_object(
                task_group_name=json.dumps(key.group),
                task_name=json.dumps(key.name),
                runs=await written(histories, shown_run, runs),
                skipped=await written(histories, shown_skips, skips),
            )
        return as_answer(answer, response)

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/explain",
        dependencies=[OnlyKnownParameters],
        responses=refusals(_404="There is no such task."),
    )
    @bounded
    async def explain(key: KeyInPath) -> TaskExplanation:
        """Why the task runs next when it does, or does not run."""
        return shown_explanation(key, await manager.control.explain(key))
