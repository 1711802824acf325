"""Cursors and the `Link` header of a page."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from urllib.parse import urlencode

from task_manager_core.application.overviews import Order, Place
from task_manager_core.domain.errors import InvalidPolicy

LONGEST_CURSOR = 2_000


def cursor_of(order: Order, place: Place) -> str:
    """The cursor of the page after this place."""
    return urlsafe_b64encode(json.dumps([order.value, *place]).encode()).decode().rstrip("=")


def place_of(order: Order, cursor: str) -> Place:
    """The place in a cursor. Errors: InvalidPolicy."""
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)) if len(cursor) <= LONGEST_CURSOR else b""
        match json.loads(text):
            case [order.value, int(value), str(group), str(name)]:
                return value, group, name
            case _:
                pass
    except (ValueError, RecursionError):
        pass
    raise InvalidPolicy("cursor", cursor[:100], "is not one of the Link header of a list in this order")


def link_to_next(parameters: Mapping[str, str | int | None], cursor: str) -> str:
    """The `Link` header with the query of the next page. It names no path: the client may see another one than this
    process."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f'<?{urlencode({**given, "cursor": cursor})}>; rel="next"'
