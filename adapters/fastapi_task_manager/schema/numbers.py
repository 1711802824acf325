"""Numbers of a request, not booleans: pydantic reads true as 1, and then a task with this interval would run every
second."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "must be a number, not true or false")
    return value


Number: TypeAlias = Annotated[float, BeforeValidator(_no_flag)]
WholeNumber: TypeAlias = Annotated[int, BeforeValidator(_no_flag)]
