"""How errors become answers: one table by type, applied to every route of the router."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from fastapi_task_manager.api.requests import ManagedRequest
from fastapi_task_manager.observers.logs import logger_of
from fastapi_task_manager.schema.error import ErrorResponse
from task_manager_core.domain.errors import (
    BackendError,
    BackendUnavailable,
    DefinitionError,
    DuplicateGroup,
    DuplicateTask,
    GroupNotFound,
    NothingMatches,
    RefusedError,
    TaskIsStatic,
    TaskManagerError,
    TaskNotFound,
    VersionConflict,
)

_log = logger_of("api")

P = ParamSpec("P")
T = TypeVar("T")

STATUSES: tuple[tuple[type[TaskManagerError], int], ...] = (
    (TaskNotFound, 404),
    (GroupNotFound, 404),
    (NothingMatches, 404),
    (DuplicateTask, 409),
    (DuplicateGroup, 409),
    (VersionConflict, 409),
    (TaskIsStatic, 400),
    (RefusedError, 409),
    (DefinitionError, 400),
    (BackendError, 503),
)
"""The first type that fits decides."""

STORE_SECONDS = 5.0
"""No route waits longer for the store."""

Refusals = dict[int | str, dict[str, Any]]


def refusals(**reasons: str) -> Refusals:
    """Documentation of refusals: `refusals(_404="No task matches.")`. 503 is possible everywhere."""
    described = {int(code.removeprefix("_")): reason for code, reason in reasons.items()}
    described[503] = "The store is not available, or the manager is not running."
    return {code: {"model": ErrorResponse, "description": reason} for code, reason in sorted(described.items())}


def bounded(endpoint: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same endpoint, for which the store has a few seconds."""

    @wraps(endpoint)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await endpoint(*args, **kwargs)
        except TimeoutError:
            raise BackendUnavailable(f"no answer within {STORE_SECONDS:g} s") from None

    # Older FastAPI reads annotations in the module of the wrapper, where these names mean nothing.
    setattr(call, "__signature__", inspect.signature(endpoint, eval_str=True))  # noqa: B010 - functions declare no such attribute
    return call


class ManagedRoute(APIRoute):
    """Answers the errors of the core, and input that cannot be read, without help of the application."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handler(ManagedRequest(request.scope, request.receive))
            except TaskManagerError as error:
                response = _refusal(error)
            except RequestValidationError as error:
                response = _unreadable(error)
            if request.method != "GET":
                _log.info("%s %s: %d", request.method, self.path, response.status_code)
            return response

        return answer


def status_of(error: TaskManagerError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def _refusal(error: TaskManagerError) -> Response:
    field = error.field if isinstance(error, DefinitionError) else None
    return JSONResponse({"detail": _utf8(str(error)), "field": field}, status_of(error))


def _unreadable(error: RequestValidationError) -> Response:
    """FastAPI's own body, without the input: an echo of it need not be valid JSON or UTF-8."""
    problems: list[Mapping[str, Any]] = list(error.errors())
    detail = [
        {
            "type": problem["type"],
            "loc": [part if isinstance(part, int) else _utf8(str(part))[:200] for part in problem["loc"]],
            "msg": _utf8(str(problem["msg"]))[:500],
        }
        for problem in problems[:20]
    ]
    return JSONResponse({"detail": detail}, 422)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
