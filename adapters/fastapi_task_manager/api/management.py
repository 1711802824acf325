"""The members of a task manager that the routes use."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fastapi_task_manager.config import OperationalConfig
    from fastapi_task_manager.schema.health import HealthResponse
    from fastapi_task_manager.task import Task
    from fastapi_task_manager.task_group import TaskGroup
    from task_manager_core.application.control import Control


class Management(Protocol):
    """Filled by `TaskManager`, where each member is described."""

    @property
    def config(self) -> OperationalConfig: ...

    @property
    def task_groups(self) -> Sequence[TaskGroup]: ...

    @property
    def control(self) -> Control: ...

    async def health_check(self) -> HealthResponse: ...

    @property
    def add_dynamic_task(self) -> Callable[..., Coroutine[Any, Any, Task]]:
        """A method; its many arguments come as they are from a request that was checked."""
        ...

    async def change_dynamic_task(
        self, group_name: str, name: str, *, expected_version: int | None = None, **changes: Any
    ) -> Task: ...

    async def remove_dynamic_task(self, group_name: str, name: str) -> Task: ...
