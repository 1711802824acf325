"""What the function of an attempt returned, as a record that any store can keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Sized
from typing import TypeAlias, TypeGuard

from task_manager_core.domain.run import Result

LARGEST_RESULT = 32 * 1024
"""Bytes. A result whose JSON is longer is not kept."""

LONGEST_TYPE = 200

ToJson: TypeAlias = Callable[[object], str]
"""Makes the JSON of a value. It may raise anything: then the value is no JSON."""


def plain_json(value: object) -> str:
    """The JSON of a value that is built of the types of JSON. Errors: TypeError, ValueError, RecursionError."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def result_of(value: object, to_json: ToJson) -> Result:
    """The record of a returned value. It keeps the JSON if that is not too long; else it notes type and size."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")[:LONGEST_TYPE]
    if _is_counted(value) and len(value) > LARGEST_RESULT:
        return Result(type=kind)
    try:
        text = to_json(value)
        size = len(text.encode())  # A lone surrogate, which no store keeps, raises here.
    except BaseException:  # noqa: BLE001 - the methods of a user's object may raise anything
        return Result(type=kind)
    return Result(type=kind, size=size, json=text if size <= LARGEST_RESULT else None)


def _is_counted(value: object) -> TypeGuard[Sized]:
    """Has the JSON of the value at least one byte for each of its parts? A long value is not converted, which would
    take its time."""
    return isinstance(value, str | bytes | list | tuple | dict)
