"""Dynamic tasks: adding, changing, removing. Every process knows them within a poll."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Response

from fastapi_task_manager.api.action_log import Acting
from fastapi_task_manager.api.bodies import reads
from fastapi_task_manager.api.dependencies import KeyInPath, OnlyKnownParameters, possible_key
from fastapi_task_manager.api.errors import error_responses, with_store_timeout
from fastapi_task_manager.api.responses import dynamic_task_response
from fastapi_task_manager.schema.task import (
    ChangeDynamicTaskRequest,
    CreateDynamicTaskRequest,
    DynamicTaskResponse,
)
from fastapi_task_manager.task import Task
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import TaskKey

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management


def add_definition_routes(router: APIRouter, manager: Management) -> None:
    """POST, PUT and DELETE of dynamic tasks."""

    @router.post(
        "/tasks",
        dependencies=[OnlyKnownParameters],
        responses=error_responses(
            {
                400: "A value is refused: an unknown function, a bad cron expression; `field` names it.",
                404: "There is no such group.",
                409: "A task of this name exists, and `if_exists` is refuse or the task is static.",
            }
        ),
    )
    @reads(CreateDynamicTaskRequest)
    @with_store_timeout
    async def create(body: CreateDynamicTaskRequest, action: Acting, response: Response) -> DynamicTaskResponse:
        """Add a dynamic task, or with `if_exists` keep or replace the one of its name. A new task waits for its first
        slot. A replaced one keeps its pause, its history and its live runs."""
        if body.name is not None:
            with suppress(DefinitionError):  # of an impossible name, which is refused below
                action.concerns([TaskKey(body.task_group_name, body.name)])
        task = await manager.add_dynamic_task(**body.given())
        action.concerns([TaskKey(task.group, task.name)])
        return _with_version(response, task)

    path = "/tasks/{task_group_name}/{task_name:path}"
    refusals = error_responses(
        {
            400: "A value is refused, or the task is static.",
            404: "There is no such task.",
            409: "Its version is not the one of If-Match, or another caller changed it at the same moment.",
        }
    )

    @router.put(path, dependencies=[OnlyKnownParameters], responses=refusals)
    @router.patch(path, dependencies=[OnlyKnownParameters], responses=refusals)
    @reads(ChangeDynamicTaskRequest)
    @with_store_timeout
    async def change(
        body: ChangeDynamicTaskRequest,
        key: KeyInPath,
        action: Acting,
        response: Response,
        if_match: Annotated[
            str | None,
            Header(
                pattern=r'^(\*|"\d{1,19}")$',
                description="The version that the change was made for: the `ETag` of an answer, or the `version` of "
                "GET /tasks in double quotes",
            ),
        ] = None,
    ) -> DynamicTaskResponse:
        """Change a dynamic task. Fields that are left out stay. Its pause and history stay, and no slot is dispatched
        at once."""
        action.concerns([key])
        expected = None if if_match in (None, "*") else int(if_match.strip('"'))
        task = await manager.change_dynamic_task(key.group, key.name, expected_version=expected, **body.given())
        return _with_version(response, task)

    @router.delete(
        "/tasks",
        dependencies=[OnlyKnownParameters],
        responses=error_responses(
            {400: "The task is static, and a living process declares it.", 404: "There is no such task."}
        ),
    )
    @with_store_timeout
    async def remove(
        task_group_name: Annotated[str, Query(description="Group of the task")],
        task_name: Annotated[str, Query(description="Name of the task")],
        action: Acting,
    ) -> DynamicTaskResponse:
        """Remove a dynamic task, or a static one that is retired, with all its state; the answer is the task that is
        gone."""
        key = possible_key(task_group_name, task_name)
        action.concerns([key])
        return dynamic_task_response(await manager.remove_dynamic_task(key.group, key.name))


def _with_version(response: Response, task: Task) -> DynamicTaskResponse:
    response.headers["ETag"] = f'"{task.version}"'
    return dynamic_task_response(task)
