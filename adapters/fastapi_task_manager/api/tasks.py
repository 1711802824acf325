"""Tasks with their state and history."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query, Response

from fastapi_task_manager.api.dependencies import Filters, KeyInPath, OnlyKnownParameters, PageAsked
from fastapi_task_manager.api.errors import error_responses, store_time, with_store_timeout
from fastapi_task_manager.api.limiter import Limiter
from fastapi_task_manager.api.responses import (
    live_runs_response,
    overview_response,
    run_response,
    run_story_response,
    skips_response,
    task_response,
)
from fastapi_task_manager.api.streaming import SharedLists, json_object, json_response, write_list
from fastapi_task_manager.schema.task import LiveTaskRuns, TaskDetailed, TaskRunDetail, TaskStatistics
from task_manager_core.application.control import Selection
from task_manager_core.domain.identity import RunId

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management

SKIPS_SHOWN = 100
LIVE_RUNS_SHOWN = 100


def add_task_routes(router: APIRouter, manager: Management) -> None:
    """GET /tasks, and of one task its statistics and its live runs."""

    async def write_tasks(limiter: Limiter, selection: Selection) -> str:
        stored = manager.control.select(selection)
        async with store_time(len(stored)):
            statuses, _ = await manager.control.list_tasks(stored)
        return await write_list(limiter, task_response, statuses)

    lists = SharedLists(write_tasks)
    histories = Limiter("histories", width=4, waiting=64, patience=15.0)

    pages = Limiter("pages of tasks", width=4, waiting=64, patience=15.0)

    @router.get(
        "/tasks",
        response_model=list[TaskDetailed],
        dependencies=[OnlyKnownParameters],
        responses=error_responses({400: "A value is refused; `field` names it."}),
    )
    async def tasks(selection: Filters, asked: PageAsked, response: Response) -> Response:
        """All tasks that match, of every process on this store. With one of the other parameters: a page of them, and
        the next page in the `Link` header."""
        if not asked.given:
            return json_response(await lists.of(selection), response)
        async with pages.admit():
            query, control = asked.query(), manager.control
            async with store_time():
                page = await control.overviews.page(control.select(selection), query)
            if page.following is not None:
                response.headers["Link"] = asked.link(selection, page.following)
            show = partial(overview_response, recent=asked.include is not None)
            return json_response(await write_list(pages, show, page.overviews), response)

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/statistics",
        dependencies=[OnlyKnownParameters],
        response_model=TaskStatistics,
        responses=error_responses({404: "There is no such task."}),
    )
    async def statistics(
        key: KeyInPath,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=1_000_000, description="Most runs to answer, the newest")] = 1_000_000,
    ) -> Response:
        """What happened to a task, newest first: every attempt with its outcome, and the skipped slots."""
        async with histories.admit():
            most = min(limit, manager.config.statistics_history_runs)
            async with store_time(most):
                runs = await manager.control.history(key, most)
                skips = await manager.control.skips(key, SKIPS_SHOWN)
            answer = json_object(
                task_group_name=json.dumps(key.group),
                task_name=json.dumps(key.name),
                runs=await write_list(histories, run_response, runs),
                skipped=await write_list(histories, skips_response, skips),
            )
        return json_response(answer, response)

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/runs",
        dependencies=[OnlyKnownParameters],
        responses=error_responses({404: "There is no such task."}),
    )
    @with_store_timeout
    async def runs(key: KeyInPath) -> LiveTaskRuns:
        """The runs of a task that have not ended, the running ones first, with what their attempts report."""
        live, count = await manager.control.live_runs(key, LIVE_RUNS_SHOWN)
        return live_runs_response(key, live, count)


def add_run_route(router: APIRouter, manager: Management) -> None:
    """GET of one run."""
    reading = Limiter("runs", width=4, waiting=64, patience=15.0)

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}/runs/{run_id}",
        dependencies=[OnlyKnownParameters],
        responses=error_responses({404: "There is no such task or run."}),
    )
    async def run(key: KeyInPath, run_id: Annotated[str, Path(description="Identity of the run")]) -> TaskRunDetail:
        """A run: what started it, its attempts with tracebacks and result, and what it does while it lives."""
        async with reading.admit(), store_time():
            return run_story_response(await manager.control.inspection.run(key, RunId(run_id)))


def add_task_route(router: APIRouter, manager: Management) -> None:
    """GET of one task. This must be the last GET route below /tasks: its path fits all of them."""

    @router.get(
        "/tasks/{task_group_name}/{task_name:path}",
        dependencies=[OnlyKnownParameters],
        responses=error_responses({404: "There is no such task."}),
    )
    @with_store_timeout
    async def task(key: KeyInPath, response: Response) -> TaskDetailed:
        """A task with its state, its newest attempts and its version as `ETag`."""
        overview = await manager.control.overviews.one(key)
        response.headers["ETag"] = f'"{overview.stored.version}"'
        return overview_response(overview, recent=True)
