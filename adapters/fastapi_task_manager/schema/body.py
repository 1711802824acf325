"""Limits for the bodies of requests: the number of unknown fields, and the lengths of lists.

Both are checked before pydantic validates the items: pydantic would report an error for each of a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from task_manager_core.domain.errors import DefinitionError

MOST_UNKNOWN = 20


class Body(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_unknown_fields(cls, given: Any) -> Any:
        number = _length(given)
        if number > len(cls.model_fields) + MOST_UNKNOWN:
            raise PydanticCustomError("extra_forbidden", "{number} fields, most of them unknown", {"number": number})
        return given


def at_most(most: int) -> BeforeValidator:
    """A list of at most this many items. Other values pass; their field checks them. Errors: the DefinitionError that
    the core raises for the same list."""

    def check(value: object, info: ValidationInfo) -> object:
        number = _length(value)
        if number > most and not isinstance(value, str):
            raise DefinitionError(info.field_name or "", number, f"must be at most {most}")
        return value

    return BeforeValidator(check)


def _length(value: object) -> int:
    return len(value) if isinstance(value, Sized) else 0
