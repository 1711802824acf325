"""`/docs` shows an example for every route, and each fits its model."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from fastapi_task_manager.api.examples import ANSWERS, BODIES, name_of_route
from fastapi_task_manager.schema.schedule import PreviewRequest
from fastapi_task_manager.schema.task import (
    ChangeDynamicTaskRequest,
    CreateDynamicTaskRequest,
    TriggerRequest,
)
from tests.adapters.fastapi.application import PREFIX, build

APP, MANAGER = build()
ROUTES = {
    name_of_route(method, route.path): route
    for route in MANAGER.get_manager_router().routes
    if isinstance(route, APIRoute) and route.include_in_schema
    for method in route.methods or ()
}


def operations(app: FastAPI) -> dict[str, Any]:
    return {
        f"{method.upper()} {path.removeprefix(PREFIX)}": operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def without_nulls(value: Any) -> Any:
    """The OpenAPI document of FastAPI leaves nulls out."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def test_every_route_shows_an_example_of_its_answer_and_of_its_body() -> None:
    found = operations(APP)
    assert found.keys() == ANSWERS.keys()
    for route, operation in found.items():
        content = operation["responses"]["200"]["content"]["application/json"]
        assert content["example"] == without_nulls(ANSWERS[route])
        assert "schema" in content
        assert ("requestBody" in operation) == (route in BODIES)
        for body in operation.get("requestBody", {}).get("content", {}).values():
            assert body["example"] == BODIES[route]


@pytest.mark.parametrize("route", ANSWERS)
def test_the_example_of_an_answer_fits_its_model(route: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ROUTES[route].response_model)
    shown = adapter.dump_python(adapter.validate_python(ANSWERS[route]), mode="json")
    example = ANSWERS[route] if isinstance(ANSWERS[route], list) else [ANSWERS[route]]
    for given, read in zip(example, shown if isinstance(shown, list) else [shown], strict=True):
        assert given.keys() <= read.keys()


@pytest.mark.parametrize(
    ("route", "model"),
    [
        ("POST /tasks", CreateDynamicTaskRequest),
        ("PATCH /tasks/{task_group_name}/{task_name}", ChangeDynamicTaskRequest),
        ("PUT /tasks/{task_group_name}/{task_name}", ChangeDynamicTaskRequest),
        ("POST /tasks/trigger", TriggerRequest),
        ("POST /schedules/preview", PreviewRequest),
    ],
)
def test_the_example_of_a_body_fits_its_model(route: str, model: type[Any]) -> None:
    model.model_validate(BODIES[route])
