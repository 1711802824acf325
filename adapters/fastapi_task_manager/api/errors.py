"""How errors become answers: one table by type, applied to every route of the router."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from fastapi_task_manager.api.action_log import acts, log_action, log_refused_caller
from fastapi_task_manager.api.bodies import refuse_other_than_json, refuse_repeated_headers
from fastapi_task_manager.api.cross_site import refuse_foreign_site
from fastapi_task_manager.api.loop_lag import LoopLag
from fastapi_task_manager.api.rejection import RequestRejected
from fastapi_task_manager.api.requests import ManagedRequest
from fastapi_task_manager.errors import ProcessBusyError
from task_manager_core.domain.errors import (
    BackendError,
    BackendUnavailable,
    DefinitionError,
    DuplicateGroup,
    DuplicateTask,
    GroupNotFound,
    NothingMatches,
    RefusedError,
    RunFailed,
    RunNotFound,
    TaskIsStatic,
    TaskManagerError,
    TaskNotFound,
    VersionConflict,
)

P = ParamSpec("P")
T = TypeVar("T")

STATUSES: tuple[tuple[type[TaskManagerError], int], ...] = (
    (TaskNotFound, 404),
    (GroupNotFound, 404),
    (NothingMatches, 404),
    (RunNotFound, 404),
    (DuplicateTask, 409),
    (DuplicateGroup, 409),
    (VersionConflict, 409),
    (TaskIsStatic, 400),
    (RefusedError, 409),
    (RunFailed, 409),
    (DefinitionError, 400),
    (BackendError, 503),
    (ProcessBusyError, 503),
)
"""The first type that fits decides."""

STORE_SECONDS = 5.0
"""The longest wait of a route for the store. A route that reads many rows waits so long for every ROWS_PER_STEP of
them."""

ROWS_PER_STEP = 10_000

RETRY_LATER = {"Retry-After": "5"}
"""In seconds. How long a store stays away is unknown; a client should not repeat its request at once."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

Refusals = dict[int | str, dict[str, Any]]


class ErrorResponse(BaseModel):
    """A refusal."""

    detail: str = Field(description="What is wrong, in words")
    field: str | None = Field(default=None, description="The field that is wrong, if one is")


def error_responses(reasons: Mapping[int, str] | None = None) -> Refusals:
    """The documentation of refusals, by status. Every route may answer 503."""
    described = {**(reasons or {}), 503: "The store is not available, or the manager is not running."}
    return {code: {"model": ErrorResponse, "description": reason} for code, reason in sorted(described.items())}


def refused_requests(*, with_body: bool) -> Refusals:
    """The documentation of the refusals of every request that acts, and of one with a body."""
    described = {403: "A page of another site sent it.", 415: "The body is not JSON."}
    if with_body:
        described |= {408: "The body did not arrive in time.", 413: "The body is too long."}
    answers: Refusals = {code: {"model": ErrorResponse, "description": reason} for code, reason in described.items()}
    if with_body:  # FastAPI documents this itself for the bodies that it reads
        schema = {"$ref": "#/components/schemas/HTTPValidationError"}
        answers[422] = {"description": "Validation Error", "content": {"application/json": {"schema": schema}}}
    return answers


@asynccontextmanager
async def store_time(rows: int = 0) -> AsyncGenerator[None]:
    """Give the store STORE_SECONDS, and as many more for every ROWS_PER_STEP rows. Errors: BackendUnavailable when they
    are over; ProcessBusyError if the event loop of this process was too busy meanwhile."""
    loop_lag, seconds = LoopLag(), STORE_SECONDS * (1 + rows // ROWS_PER_STEP)
    try:
        async with asyncio.timeout(seconds):
            yield
    except (TimeoutError, BackendUnavailable) as error:
        if loop_lag.is_too_high:
            raise ProcessBusyError(
                f"its event loop was blocked for {loop_lag.lag:.1f} of {loop_lag.seconds:.1f} s and could not read the "
                "answer of the store"
            ) from error
        if isinstance(error, BackendUnavailable):
            raise
        raise BackendUnavailable(f"no answer within {seconds:g} s") from None
    finally:
        loop_lag.stop()


def with_store_timeout(endpoint: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same endpoint; the store has STORE_SECONDS for it."""

    @wraps(endpoint)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        async with store_time():
            return await endpoint(*args, **kwargs)

    # Older FastAPI reads annotations in the module of the wrapper, where these names mean nothing.
    setattr(call, "__signature__", inspect.signature(endpoint, eval_str=True))  # noqa: B010 - functions declare no such attribute
    return call


class ManagedRoute(APIRoute):
    """Answers the errors of the core, and input that cannot be read, without help of the application. Refuses requests
    from pages of other sites and bodies that are too long, see `cross_site` and `bodies`."""

    longest_body: ClassVar[int]
    trusted_origins: ClassVar[frozenset[str]]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            managed, reason = ManagedRequest(request, self.longest_body), ""
            try:
                if request.method not in _READING:
                    refuse_foreign_site(managed, self.trusted_origins)
                    refuse_other_than_json(managed)
                    refuse_repeated_headers(managed)
                response = await handler(managed)
            except TaskManagerError as error:
                response, reason = refusal(error), _reason_of(error)
            except RequestValidationError as error:
                response, reason = _unreadable(error), _unreadable_parts(error)
            except RequestRejected as error:
                response = JSONResponse({"detail": _utf8(error.detail), "field": None}, error.status_code)
                reason = error.detail
            except HTTPException as error:
                if error.status_code in {401, 403}:
                    log_refused_caller(request, error.status_code)
                raise
            if acts(self.dependant):
                log_action(request, response.status_code, reason)
            if request.method == "HEAD":
                response.body = b""  # the length stays that of the answer to a GET
            return response

        return answer


def route_class(longest_body: int, trusted_origins: frozenset[str]) -> type[ManagedRoute]:
    """The class of the routes of one manager. It holds the settings, because FastAPI creates the routes again where it
    includes a router."""

    class Route(ManagedRoute):
        pass

    Route.longest_body, Route.trusted_origins = longest_body, trusted_origins
    return Route


def status_of(error: TaskManagerError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def refusal(error: TaskManagerError) -> Response:
    """The answer to an error."""
    field = error.field if isinstance(error, DefinitionError) else None
    status = status_of(error)
    headers = RETRY_LATER if status == 503 else None
    return JSONResponse({"detail": _utf8(str(error)), "field": field}, status, headers)


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


def _reason_of(error: TaskManagerError) -> str:
    """The reason for the log, without the values of the request: there may be secrets among its arguments."""
    return f"{error.field}: {error.reason}" if isinstance(error, DefinitionError) else str(error)


def _unreadable_parts(error: RequestValidationError) -> str:
    """The places of the problems, without the values of the request."""
    problems: list[Mapping[str, Any]] = list(error.errors())
    parts = (f"{'.'.join(map(str, problem['loc']))} ({problem['type']})" for problem in problems[:5])
    return f"cannot read {', '.join(parts)}"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
