"""Lengths of time as users write them: a timedelta or a number of seconds."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.errors import DefinitionError

Length = float | timedelta
"""Seconds, or a timedelta."""


def duration(field: str, value: object, must: str = "must be a timedelta or a number of seconds") -> timedelta:
    """The length as a timedelta. Errors: DefinitionError for another type and for a negative length."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (OverflowError, ValueError):
            raise DefinitionError(field, value, must) from None
    if not isinstance(value, timedelta):
        raise DefinitionError(field, value, must)
    if value < timedelta(0):
        raise DefinitionError(field, value, "must not be negative")
    return value
