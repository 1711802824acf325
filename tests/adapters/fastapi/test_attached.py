"""The application's own dependencies protect the routes, in every way in which FastAPI can attach a dependency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.security import APIKeyQuery
from pydantic import BaseModel

from fastapi_task_manager import OperationalConfig, TaskGroup, TaskManager
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import PREFIX, QUICK, serving

Check = Callable[..., object]


def to_the_application(manager: TaskManager, check: Check) -> FastAPI:
    app = FastAPI(dependencies=[Depends(check)])
    app.include_router(manager.get_manager_router(), prefix=PREFIX)
    return app


def to_an_outer_router(manager: TaskManager, check: Check) -> FastAPI:
    app, outer, middle = FastAPI(), APIRouter(dependencies=[Depends(check)]), APIRouter()
    middle.include_router(manager.get_manager_router(), prefix=PREFIX)
    outer.include_router(middle)
    app.include_router(outer)
    return app


def to_include_router(manager: TaskManager, check: Check) -> FastAPI:
    app = FastAPI()
    app.include_router(manager.get_manager_router(), prefix=PREFIX, dependencies=[Depends(check)])
    return app


def to_the_router_itself(manager: TaskManager, check: Check) -> FastAPI:
    app = FastAPI()
    app.include_router(manager.get_manager_router([Depends(check)]), prefix=PREFIX)
    return app


class Credentials(BaseModel):
    """A model that does not configure extra parameters, so pydantic ignores them."""

    token: str


def declared(token: Annotated[str, Query()]) -> None:
    _compare(token)


def as_a_model(credentials: Annotated[Credentials, Query()]) -> None:
    _compare(credentials.token)


def as_a_scheme(token: Annotated[str, Depends(APIKeyQuery(name="token"))]) -> None:
    _compare(token)


def from_the_request(request: Request) -> None:
    _compare(request.query_params.get("token"))


async def from_the_request_in_a_list(request: Request) -> None:
    _compare(*request.query_params.getlist("token"))


def _compare(*tokens: str | None) -> None:
    if tokens != ("right",):
        raise HTTPException(401, "wrong token")


WAYS = [to_the_application, to_an_outer_router, to_include_router, to_the_router_itself]
CHECKS = [declared, as_a_model, as_a_scheme, from_the_request, from_the_request_in_a_list]


def served(attach: Callable[[TaskManager, Check], FastAPI], check: Check) -> FastAPI:
    manager = TaskManager(config=OperationalConfig(**QUICK), backend=MemoryStore().open)
    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="t")(lambda: None)
    manager.add_task_group(group)
    app = attach(manager, check)
    manager.append_to_app_lifecycle(app)
    return app


@pytest.mark.parametrize("attach", WAYS)
@pytest.mark.parametrize("check", CHECKS)
async def test_a_query_parameter_that_a_dependency_reads_is_accepted(
    attach: Callable[[TaskManager, Check], FastAPI], check: Check
) -> None:
    async with serving(served(attach, check)) as client:
        assert (await client.get("/tasks?token=right")).status_code == 200
        assert (await client.get("/tasks?token=right&name=t")).json()[0]["name"] == "t"
        for action in ("disable", "enable", "trigger", "cancel", "reset-retry"):
            done = await client.post(f"/tasks/{action}?token=right&task_name=t")
            assert done.status_code == 200, done.text
        assert (await client.delete("/tasks/statistics?token=right&task_name=t")).status_code == 200


@pytest.mark.parametrize("attach", WAYS)
@pytest.mark.parametrize("check", CHECKS)
async def test_a_parameter_that_no_dependency_reads_is_still_refused(
    attach: Callable[[TaskManager, Check], FastAPI], check: Check
) -> None:
    async with serving(served(attach, check)) as client:
        for method, path in (("POST", "/tasks/disable?name=t"), ("GET", "/tasks?task_name=t")):
            refused = await client.request(method, f"{path}&token=right")
            assert refused.status_code == 422, refused.text
            (problem,) = refused.json()["detail"]
            assert problem["loc"] == ["query", path.partition("?")[2].partition("=")[0]]
            assert "tag, task_group_name" in problem["msg"]
            assert "token" in problem["msg"]
        assert (await client.get("/tasks?token=right")).json()[0]["is_active"] is True


@pytest.mark.parametrize("attach", WAYS)
@pytest.mark.parametrize("check", CHECKS)
async def test_a_request_without_the_token_is_refused(
    attach: Callable[[TaskManager, Check], FastAPI], check: Check
) -> None:
    app = served(attach, check)
    routes = [(method, path) for path, operations in app.openapi()["paths"].items() for method in operations]
    async with serving(app) as client:
        for query in ("", "?token=wrong", "?token=wrong&token=right&token=wrong"):
            for method, path in routes:
                response = await client.request(method, f"http://test{path}{query}")
                assert response.status_code in {401, 403, 422}, (method, path, response.text)


@pytest.mark.parametrize("attach", WAYS)
async def test_a_dependency_override_may_read_another_parameter(
    attach: Callable[[TaskManager, Check], FastAPI],
) -> None:
    app = served(attach, declared)

    def instead(user: str) -> None:
        assert user == "me"

    app.dependency_overrides[declared] = instead
    async with serving(app) as client:
        assert (await client.post("/tasks/disable?user=me&task_name=t")).status_code == 200
        assert (await client.post("/tasks/disable?user=me&token=right")).status_code == 422
