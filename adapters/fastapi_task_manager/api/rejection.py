"""A request that is refused for what it is, before anything looks at what it says."""

from __future__ import annotations

from starlette.exceptions import HTTPException


class RequestRejected(HTTPException):
    """FastAPI passes an HTTPException on, also where it reads a body; the route answers it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
