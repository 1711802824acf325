"""`Provide[...]` and `@inject` of dependency-injector in task functions.

Annotations are no texts here: `@inject` does not evaluate a text.
"""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from fastapi import Depends

from fastapi_task_manager import DefinitionError, TaskGroup
from tests.adapters.fastapi.attempts import application, succeeded

NEVER = "0 0 1 1 *"

lines: list[str] = []


def get_file() -> Iterator[str]:
    yield "file"
    lines.append("close file")


class Service:
    def __init__(self, name: str) -> None:
        self.name = name


class Container(containers.DeclarativeContainer):
    service = providers.Factory(Service, "wired")


@inject
async def injected(day: date, service: Service = Provide[Container.service]) -> None:
    lines.append(f"{day:%d.%m.} {service.name}")


@inject
def injected_in_thread(day: date, service: Annotated[Service, Provide[Container.service]]) -> None:
    lines.append(f"{day:%d.%m.} {service.name}")


@inject
async def injected_beside(
    day: date,
    file: Annotated[str, Depends(get_file)],
    service: Service = Depends(Provide[Container.service]),  # noqa: B008 - as its documentation writes it
) -> None:
    lines.append(f"{day:%d.%m.} {service.name} {file}")


@inject
def get_name(service: Service = Provide[Container.service]) -> str:
    return service.name


async def injected_below(day: date, name: Annotated[str, Depends(get_name)]) -> None:
    lines.append(f"{day:%d.%m.} {name}")


@pytest.mark.parametrize("function", [injected, injected_in_thread, injected_beside, injected_below])
async def test_dependency_injector_fills_its_parameters(function: Callable[..., Any]) -> None:
    lines.clear()
    container, group = Container(), TaskGroup("g")
    container.wire(modules=[__name__])
    group.add_task(NEVER, name="task", kwargs={"day": date(2026, 3, 1)})(function)
    try:
        async with application(group) as served:
            assert succeeded(await served.run("task"))
            with container.service.override(providers.Object(Service("fake"))):
                assert succeeded(await served.run("task"))
    finally:
        container.unwire()
    seen = [line.removesuffix(" file") for line in lines if line.startswith("01.03.")]
    assert seen == ["01.03. wired", "01.03. fake"]


def test_a_dependency_of_dependency_injector_is_no_argument_and_others_are_checked() -> None:
    group = TaskGroup("g")
    with pytest.raises(DefinitionError, match="'day': Input should be a valid date"):
        group.add_task(NEVER, kwargs={"day": "soon"})(injected)
    with pytest.raises(DefinitionError, match="'service' is filled with a dependency"):
        group.add_task(NEVER, kwargs={"day": "2026-03-01", "service": 1})(injected_in_thread)
    assert group.tasks == []
