"""Reads the bodies of requests, with limits on length and time.

FastAPI reads and parses a declared body before it asks a dependency. Here a body is read after the
dependencies: `reads` replaces the parameter, so that the body of a refused caller is not read.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from fastapi_task_manager.api.rejection import RequestRejected

T = TypeVar("T")

BODY_SECONDS = 10.0
"""A caller has this long to send a body."""

_REQUEST = "request_of_the_body"
_BODY = "body_of_the_request"
_JSON = re.compile(r"application/(?:[^;\s]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


class BodyRefused(RequestRejected):
    """The body is too long, too slow, or not JSON."""


def bounded_body(request: Request, longest: int) -> Receive:
    """Receives the body of a request, piece by piece. A body that is too long is refused by its declared length, or as
    soon as its pieces are too long."""
    declared, received = request.headers.get("content-length", ""), 0

    async def receive() -> Message:
        nonlocal received
        if declared.isdecimal() and int(declared) > longest:
            raise _too_long(longest)
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > longest:
            raise _too_long(longest)
        return message

    return receive


def _too_long(longest: int) -> BodyRefused:
    return BodyRefused(413, f"the body is longer than {longest} bytes (api_max_body_bytes)")


def refuse_other_than_json(request: Request) -> None:
    """Refuse a body that does not say that it is JSON, before it is read.

    A page of another site can send a form or plain text to any address; before it sends JSON, its browser asks. A
    request without a body may name any type, or none.
    """
    headers = request.headers
    if headers.get("content-length", "").strip("0") or "transfer-encoding" in headers:
        _refuse_other_type(request)


def _refuse_other_type(request: Request) -> None:
    if not _JSON.fullmatch(request.headers.get("content-type", "").strip()):
        raise BodyRefused(415, "a body must be JSON and say so: Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise BodyRefused(415, "a body must not be compressed (Content-Encoding)")


def refuse_repeated_headers(request: Request) -> None:
    """Refuse a header that decides about an action and is given twice: the caller would not know which one counts."""
    for name in ("Idempotency-Key", "If-Match"):
        if len(request.headers.getlist(name)) > 1:
            raise BodyRefused(400, f"{name} must be given once")


def reads(
    model: type[BaseModel], *, optional: bool = False
) -> Callable[[Callable[..., Awaitable[T]]], Callable[..., Coroutine[Any, Any, T]]]:
    """The endpoint takes a body of this model as its first parameter; None if it is optional and was not sent."""

    def decorate(endpoint: Callable[..., Awaitable[T]]) -> Callable[..., Coroutine[Any, Any, T]]:
        @wraps(endpoint)
        async def call(**values: Any) -> T:
            body = await _read(values.pop(_REQUEST), model, optional=optional)
            return await endpoint(body, **values)

        signature = inspect.signature(endpoint, eval_str=True)
        _, *others = signature.parameters.values()
        request = inspect.Parameter(_REQUEST, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        setattr(call, "__signature__", signature.replace(parameters=[*others, request]))  # noqa: B010 - see `with_store_timeout`
        content = {"application/json": {"schema": model.model_json_schema()}}
        setattr(call, _BODY, {"required": not optional, "content": content})
        return call

    return decorate


def body_of(endpoint: Callable[..., Any]) -> dict[str, Any] | None:
    """The OpenAPI description of the body that `reads` reads for this endpoint."""
    body: dict[str, Any] | None = getattr(endpoint, _BODY, None)
    return body


async def _read(request: Request, model: type[BaseModel], *, optional: bool) -> BaseModel | None:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            sent = await request.body()
    except TimeoutError:
        raise BodyRefused(408, f"the body did not arrive within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise BodyRefused(400, "the caller closed the connection before the end of the body") from None
    if sent:
        _refuse_other_type(request)
    elif not optional:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    value = _parsed(sent) if sent else None
    if value is None and optional:
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in problems]) from None


def _parsed(sent: bytes) -> object:
    try:
        return json.loads(sent)
    except json.JSONDecodeError as error:
        problem = {"type": "json_invalid", "loc": ("body", error.pos), "msg": f"JSON decode error: {error.msg}"}
        raise RequestValidationError([problem]) from None
    except (ValueError, RecursionError):
        # Bytes that are no text, a number with too many digits, or too deep nesting.
        raise BodyRefused(400, "there was an error parsing the body") from None
