"""Groups and functions, as the API shows them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from fastapi_task_manager.schema.task import RegisteredFunctionInfo, RegisteredFunctionsResponse

__all__ = ["RegisteredFunctionInfo", "RegisteredFunctionsResponse", "TaskGroupResponse"]


class TaskGroupResponse(BaseModel):
    """A group of this process."""

    name: str = Field(description="Name of the group")
    tags: list[str] = Field(description="Carried by every task of the group")
    allow_parallel: bool | None = Field(description="null: what the configuration says")
    task_count: int = Field(description="Static and dynamic tasks")
