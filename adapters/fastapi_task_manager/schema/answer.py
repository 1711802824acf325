"""What all answers of the API have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A client finds every field in every answer; only code that builds one may leave out what has a default."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)
