"""The router: which route is answered by what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.params import Depends

from fastapi_task_manager.api.actions import add_action_routes
from fastapi_task_manager.api.definitions import add_definition_routes
from fastapi_task_manager.api.refusals import ManagedRoute
from fastapi_task_manager.api.schedules import add_schedule_routes
from fastapi_task_manager.api.status import add_status_routes
from fastapi_task_manager.api.tasks import add_task_routes

if TYPE_CHECKING:
    from fastapi_task_manager.task_manager import TaskManager


def management_router(manager: TaskManager, dependencies: Sequence[Depends] | None = None) -> APIRouter:
    """Every route of the management API for this manager."""
    router = APIRouter(route_class=ManagedRoute, dependencies=None if dependencies is None else list(dependencies))
    add_status_routes(router, manager)
    add_task_routes(router, manager)
    add_action_routes(router, manager)
    add_definition_routes(router, manager)
    add_schedule_routes(router, manager)
    return router
