"""Health, configuration, groups and functions of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from fastapi_task_manager.api.dependencies import OnlyKnownParameters
from fastapi_task_manager.api.errors import RETRY_LATER
from fastapi_task_manager.schema import task_group as schema
from fastapi_task_manager.schema.health import ConfigResponse, HealthResponse
from fastapi_task_manager.schema.task import RegisteredFunctionInfo, RegisteredFunctionsResponse

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management
    from fastapi_task_manager.task_group import TaskGroup


def add_status_routes(router: APIRouter, manager: Management) -> None:
    """GET /health, /config, /task-groups and /functions."""

    @router.get("/health", responses={503: {"model": HealthResponse, "description": "Unhealthy; `reason` says why."}})
    async def health(response: Response) -> HealthResponse:
        """State of this process. 503 when unhealthy."""
        answer = await manager.health_check()
        if answer.status == "unhealthy":
            response.status_code = 503
            response.headers.update(RETRY_LATER)
        return answer

    @router.get("/config")
    async def config() -> ConfigResponse:
        """The operational fields of the configuration: no host, no secret."""
        return ConfigResponse.model_validate(manager.config)

    @router.get("/task-groups", dependencies=[OnlyKnownParameters])
    async def task_groups(
        task_group_name: Annotated[str | None, Query(description="Only the group of this name")] = None,
        name: Annotated[str | None, Query(description="The same")] = None,
        tag: Annotated[str | None, Query(description="Only groups that carry this tag")] = None,
    ) -> list[schema.TaskGroup]:
        """The groups of this process."""
        return [
            schema.TaskGroup(
                name=group.name, tags=group.tags, allow_parallel=group.allow_parallel, task_count=len(group.tasks)
            )
            for group in _groups(manager, task_group_name, tag)
            if name in (None, group.name)
        ]

    @router.get("/functions", dependencies=[OnlyKnownParameters])
    async def functions(
        task_group_name: Annotated[str | None, Query(description="Only functions of this group")] = None,
        name: Annotated[str | None, Query(description="Only functions of this name")] = None,
        tag: Annotated[str | None, Query(description="Only functions of groups that carry this tag")] = None,
    ) -> RegisteredFunctionsResponse:
        """The functions that dynamic tasks may name."""
        found = [
            RegisteredFunctionInfo(task_group_name=group.name, function_name=function)
            for group in _groups(manager, task_group_name, tag)
            for function in group.function_registry
            if name in (None, function)
        ]
        return RegisteredFunctionsResponse(functions=found, count=len(found))


def _groups(manager: Management, name: str | None, tag: str | None) -> list[TaskGroup]:
    """The groups of this name that carry this tag; None is any."""
    return [group for group in manager.task_groups if name in (None, group.name) and (tag is None or tag in group.tags)]
