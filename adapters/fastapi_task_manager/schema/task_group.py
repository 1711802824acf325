"""Groups, as the API shows them."""

from __future__ import annotations

from pydantic import Field

from fastapi_task_manager.schema.answer import Answer


class TaskGroup(Answer):
    """A group of this process."""

    name: str = Field(description="Name of the group")
    tags: list[str] = Field(default=[], description="Carried by every task of the group")
    allow_parallel: bool | None = Field(default=None, description="null: what the configuration says")
    task_count: int = Field(default=0, description="Static and dynamic tasks")
