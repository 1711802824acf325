"""The refusal of a request before its content is read."""

from __future__ import annotations

from starlette.exceptions import HTTPException


class RequestRejected(HTTPException):
    """An HTTPException, because FastAPI lets it through also where it reads a body. The route answers it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
