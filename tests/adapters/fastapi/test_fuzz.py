"""No input makes the API fail: the test calls every operation of the OpenAPI document with generated input."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from fastapi_task_manager import TaskGroup
from tests.adapters.fastapi.application import build
from tests.waiting import wait_until

EXAMPLES = 25
UNHEALTHY = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]
CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]


schema = schemathesis.openapi.from_dict(build()[0].openapi())


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a real server, which receives paths and bodies as bytes."""
    group = TaskGroup("g", tags=["t"])

    @group.register_function("f")
    async def greet(recipient: str = "x") -> None:
        """Does nothing."""

    group.add_task("0 0 1 1 *", name="static", kwargs={"recipient": "y"})(greet)
    app, _ = build(group)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the server listens")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def _aimed(case: Any) -> Any:
    """The same input with names of existing tasks, because a generator would never guess them."""
    for container in (case.path_parameters, case.query, case.body):
        if isinstance(container, dict):
            container.update(
                {
                    name: known
                    for name, known in (("task_group_name", "g"), ("function_name", "f"), ("task_name", "static"))
                    if name in container
                }
            )
    return case


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=UNHEALTHY)
def test_no_input_is_a_server_error(case: Any, address: str) -> None:
    case.call_and_validate(base_url=address, checks=CHECKS)
    _aimed(case).call_and_validate(base_url=address, checks=CHECKS)
