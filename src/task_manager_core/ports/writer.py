"""Writes the members of JSON objects, as `reader` reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from task_manager_core.ports.reader import milliseconds

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_MILLISECOND = timedelta(milliseconds=1)

to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
"""The text of a value, without spaces and escaped letters."""

quoted = json.encoder.encode_basestring
"""The same for a text."""


def maybe(value: datetime | timedelta | None) -> int | None:
    """An instant or a length in milliseconds."""
    match value:
        case None:
            return None
        case timedelta():
            return value // _MILLISECOND
        case datetime():
            return milliseconds(value)
