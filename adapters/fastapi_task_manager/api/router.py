"""The router of the management API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.params import Depends

from fastapi_task_manager.api.actions import add_action_routes
from fastapi_task_manager.api.agenda import add_agenda_route
from fastapi_task_manager.api.bodies import body_of
from fastapi_task_manager.api.cluster import add_cluster_route
from fastapi_task_manager.api.definitions import add_definition_routes
from fastapi_task_manager.api.errors import refused_requests, route_class
from fastapi_task_manager.api.examples import answer_with_example, body_with_example, name_of_route
from fastapi_task_manager.api.explain import add_explain_route
from fastapi_task_manager.api.schedules import add_schedule_routes
from fastapi_task_manager.api.status import add_status_routes
from fastapi_task_manager.api.tasks import add_run_route, add_task_route, add_task_routes
from fastapi_task_manager.origins import checked_origins

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management


class ManagementRouter(APIRouter):
    """Answers HEAD wherever it answers GET, as Starlette does and FastAPI does not. The OpenAPI document has GET only.
    It lists the general refusals with each route that acts."""

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        (method,) = options["methods"]
        route = name_of_route(method, path)
        responses: dict[int | str, Any] = options["responses"] or {}
        if method == "GET":
            head: dict[str, Any] = {**options, "methods": ["HEAD"], "include_in_schema": False}
            super().add_api_route(path, endpoint, **head)
        else:
            body = body_of(endpoint)
            responses = refused_requests(with_body=body is not None) | responses
            options["openapi_extra"] = None if body is None else {"requestBody": body_with_example(route, body)}
        options["responses"] = answer_with_example(route, responses)
        super().add_api_route(path, endpoint, **options)


def management_router(manager: Management, dependencies: Sequence[Depends] | None = None) -> APIRouter:
    """Every route of the management API for this manager."""
    config = manager.config
    router = ManagementRouter(
        route_class=route_class(config.api_max_body_bytes, checked_origins(config.api_trusted_origins or "")),
        dependencies=None if dependencies is None else list(dependencies),
    )
    add_status_routes(router, manager)
    add_cluster_route(router, manager)
    add_task_routes(router, manager)
    add_action_routes(router, manager)
    add_definition_routes(router, manager)
    add_schedule_routes(router, manager)
    add_agenda_route(router, manager)
    add_explain_route(router, manager)
    add_run_route(router, manager)
    add_task_route(router, manager)
    return router
