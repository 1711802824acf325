"""All processes on this store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from fastapi_task_manager.api.dependencies import OnlyKnownParameters
from fastapi_task_manager.api.errors import error_responses, with_store_timeout
from fastapi_task_manager.api.responses import cluster_response
from fastapi_task_manager.schema.cluster import ClusterResponse

if TYPE_CHECKING:
    from fastapi_task_manager.api.management import Management


def add_cluster_route(router: APIRouter, manager: Management) -> None:
    """GET /cluster."""

    @router.get("/cluster", dependencies=[OnlyKnownParameters], responses=error_responses())
    @with_store_timeout
    async def cluster() -> ClusterResponse:
        """The living processes, the leader, the queue and the store."""
        return cluster_response(await manager.control.inspection.cluster())
