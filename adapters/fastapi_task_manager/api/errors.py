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
from fastapi_task_manager.api.bodies import refuse_other_than_json
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
    (DuplicateTask, 409),
    (DuplicateGroup, 409),
    (VersionConflict, 409),
    (TaskIsStatic, 400),
    (RefusedError, 409),
    (DefinitionError, 400),
    (BackendError, 503),
    (ProcessBusyError, 503),
)
"""The first type that fits decides."""

STORE_SECONDS = 5.0
"""No route waits longer for the store, but for one that reads many rows: so long for every ROWS_PER_STEP of them."""

ROWS_PER_STEP = 10_000

RETRY_LATER = {"Retry-After": "5"}
"""In seconds: nothing knows how long a store stays away, and until then a client had better not ask in a loop."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

Refusals = dict[int | str, dict[str, Any]]


class ErrorResponse(BaseModel):
    """A refusal."""

    detail: str = Field(description="What is wrong, in words")
    field: str | None = Field(default=None, description="The field that is wrong, if one is")


def error_responses(**reasons: str) -> Refusals:
    """Documentation of refusals: `refusals(_404="No task matches.")`. 503 is possible everywhere."""
    described = {int(code.removeprefix("_")): reason for code, reason in reasons.items()}
    described[503] = "The store is not available, or the manager is not running."
    return {code: {"model": ErrorResponse, "description": reason} for code, reason in sorted(described.items())}


def refused_requests(*, with_body: bool) -> Refusals:
    """The same for what every request that acts is turned away for, and one that sends a body."""
    described = {403: "A page of another site sent it.", 415: "The body is not JSON."}
    if with_body:
        described |= {408: "The body did not arrive in time.", 413: "The body is too long."}
    answers: Refusals = {code: {"model": ErrorResponse, "description": reason} for code, reason in described.items()}
    if with_body:  # FastAPI says so itself of the bodies that it reads
        schema = {"$ref": "#/components/schemas/HTTPValidationError"}
        answers[422] = {"description": "Validation Error", "content": {"application/json": {"schema": schema}}}
    return answers


@asynccontextmanager
async def store_time(rows: int = 0) -> AsyncGenerator[None]:
    """The store has a few seconds, and as many more for every ROWS_PER_STEP rows that are read. Errors:
    BackendUnavailable when they are over; ProcessBusyError when it is this process that had no time."""
    pulse, seconds = LoopLag(), STORE_SECONDS * (1 + rows // ROWS_PER_STEP)
    try:
        async with asyncio.timeout(seconds):
            yield
    except (TimeoutError, BackendUnavailable) as error:
        if pulse.is_too_high:
            raise ProcessBusyError(
                f"its event loop stood still for {pulse.lag:.1f} of {pulse.seconds:.1f} s, and the store's answer "
                "could not be heard"
            ) from error
        if isinstance(error, BackendUnavailable):
            raise
        raise BackendUnavailable(f"no answer within {seconds:g} s") from None
    finally:
        pulse.stop()


def with_store_timeout(endpoint: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same endpoint, for which the store has a few seconds."""

    @wraps(endpoint)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        async with store_time():
            return await endpoint(*args, **kwargs)

    # Older FastAPI reads annotations in the module of the wrapper, where these names mean nothing.
    setattr(call, "__signature__", inspect.signature(endpoint, eval_str=True))  # noqa: B010 - functions declare no such attribute
    return call


class ManagedRoute(APIRoute):
    """Answers the errors of the core, and input that cannot be read, without help of the application. Turns away what a
    page of another site sends and bodies that are too long, see `sites` and `bodies`."""

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
                response = await handler(managed)
            except TaskManagerError as error:
                response, reason = _refusal(error), _reason_of(error)
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
    """The routes of one manager. FastAPI makes routes anew where it includes a router, so they carry what they need."""

    class Route(ManagedRoute):
        pass

    Route.longest_body, Route.trusted_origins = longest_body, trusted_origins
    return Route


def status_of(error: TaskManagerError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def _refusal(error: TaskManagerError) -> Response:
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
    """For the log, where the values of a request do not belong: there may be secrets among its arguments."""
    return f"{error.field}: {error.reason}" if isinstance(error, DefinitionError) else str(error)


def _unreadable_parts(error: RequestValidationError) -> str:
    """Where the problems are, without what the request says there."""
    problems: list[Mapping[str, Any]] = list(error.errors())
    parts = (f"{'.'.join(map(str, problem['loc']))} ({problem['type']})" for problem in problems[:5])
    return f"cannot read {', '.join(parts)}"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
