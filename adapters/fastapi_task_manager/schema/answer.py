"""The base of all answers of the API."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Every answer contains every field. Code that builds an answer may leave out fields that have a default."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)
