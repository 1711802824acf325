"""What the API answers when it refuses."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ErrorResponse(BaseModel):
    """A refusal."""

    detail: str = Field(description="What is wrong, in words")
    field: str | None = Field(default=None, description="The field that is wrong, if one is")
