"""The reference lists every field, option, route and log line of the code, and no other."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import annotated_types
import pytest
from fastapi import FastAPI
from pydantic.fields import FieldInfo

import fastapi_task_manager
import task_manager_core.domain.errors
from fastapi_task_manager import (
    Config,
    OperationalConfig,
    RunContext,
    TaskGroup,
    TaskManager,
    TaskOptions,
    simulation,
)
from fastapi_task_manager.api.errors import status_of
from task_manager_core.application.log_fields import FIELDS
from task_manager_core.domain import errors
from task_manager_core.domain.events import Event
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.run import AttemptStatus
from task_manager_memory import MemoryStore

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"


def page(name: str) -> str:
    """A page of the reference, with each item of a list on one line."""
    return re.sub(r"\n {2,}", " ", (REFERENCE / name).read_text())


def section(text: str, heading: str) -> str:
    """The text below a heading, up to the next heading of its rank or above."""
    rank = heading.split(" ", maxsplit=1)[0]
    _, _, below = f"\n{text}".partition(f"\n{heading}\n")
    assert below, heading
    return re.split(rf"\n#{{1,{len(rank)}}} ", below)[0]


# -- Config -----------------------------------------------------------------------------------------------------------

ITEM = re.compile(r"^- \*\*`(\w+)`\*\* \((.*?), `(TASK_MANAGER_\w+)`\): (.*)$", re.MULTILINE)
CONFIG = {name: (facts, variable, text) for name, facts, variable, text in ITEM.findall(page("config.md"))}


def test_every_field_of_config_has_an_item_in_its_order() -> None:
    assert list(CONFIG) == list(Config.model_fields)
    operational = [name for name, *_ in ITEM.findall(section(page("config.md"), "## How it runs"))]
    assert operational == list(OperationalConfig.model_fields)


def limits(annotation: object, field: FieldInfo | None = None) -> Iterator[object]:
    for one in (*(field.metadata if field else ()), *getattr(annotation, "__metadata__", ())):
        if isinstance(one, FieldInfo):
            yield from limits(None, one)
        elif isinstance(one, annotated_types.Ge):
            yield one.ge
        elif isinstance(one, annotated_types.Le):
            yield one.le
        elif isinstance(one, (annotated_types.MinLen, annotated_types.MaxLen)):
            yield one.min_length if isinstance(one, annotated_types.MinLen) else one.max_length
    for inner in get_args(annotation):
        yield from limits(inner)


@pytest.mark.parametrize("name", Config.model_fields)
def test_the_item_of_a_field_says_what_the_model_says(name: str) -> None:
    field = Config.model_fields[name]
    facts, variable, text = CONFIG[name]
    kind, *_, default = facts.split(", ")
    assert kind.split(" ")[0] in str(field.annotation), facts
    assert kind.endswith(" or None") == (type(None) in get_args(field.annotation)), facts
    assert default == ("required" if field.is_required() else f"default `{field.default!r}`")
    assert variable == f"{Config.model_config.get('env_prefix')}{name.upper()}"
    for limit in limits(field.annotation, field):
        assert re.search(rf"\b{limit}\b", text.partition("Limits: ")[2]), (limit, text)


# -- tasks ------------------------------------------------------------------------------------------------------------


def bold(text: str) -> list[str]:
    """The names that items begin with."""
    heads = re.findall(r"^- ((?:\*\*`\w+`\*\*(?:, )?)+)", text, re.MULTILINE)
    return [name for head in heads for name in re.findall(r"`(\w+)`", head)]


def test_every_option_of_a_task_has_an_item() -> None:
    plain = [name for name in inspect.signature(TaskGroup.add_task).parameters if name not in {"self", "options"}]
    assert bold(section(page("tasks.md"), "## add_task")) == [
        *plain,
        *sorted(TaskOptions.__annotations__, key=bold(section(page("tasks.md"), "## add_task")).index),
    ]


def test_every_argument_of_a_group_and_field_of_a_context_has_an_item() -> None:
    group = [name for name in inspect.signature(TaskGroup.__init__).parameters if name != "self"]
    assert bold(section(page("tasks.md"), "## TaskGroup")) == group
    fields = [field.name for field in dataclasses.fields(RunContext) if field.name[0] != "_"]
    fields += ["progress", "log", "previous", "cursor"]
    assert bold(section(page("tasks.md"), "## RunContext")) == fields


def test_the_arguments_of_a_dynamic_task_are_listed() -> None:
    shown = re.search(r"`group.add_dynamic_task\((.*?)\)`", section(page("tasks.md"), "## Dynamic tasks"))
    assert shown is not None
    names = [name for name in inspect.signature(TaskGroup.add_dynamic_task).parameters if name != "self"]
    assert shown[1].replace("**", "").split(", ") == names


def test_the_index_names_what_can_be_imported_and_called() -> None:
    names, manager = (section(page("index.md"), f"## {heading}") for heading in ("Names to import", "The manager"))
    package, *others = re.split(r"^- ", names, flags=re.MULTILINE)[1:]
    for name in fastapi_task_manager.__all__:
        assert f"`{name}`" in package
    [simulations] = [item for item in others if item.startswith("**`fastapi_task_manager.simulation`**")]
    for name in simulation.__all__:
        assert f"`{name}`" in simulations
    public = [name for name, _ in inspect.getmembers(TaskManager) if not name.startswith("_")]
    assert [name for name in public if not re.search(rf"\*\*`[^`]*\b{name}\b[^`]*`", manager)] == []


def test_the_paths_that_stay_can_be_imported() -> None:
    paths = re.findall(r"`(\w+(?:\.\w+)+)`", section(page("index.md"), "## Stable paths"))
    for path in paths:
        assert importlib.import_module(path).__doc__, path
    modules = ("config", "task_group", "task_manager", "schema.task", "schema.health", "schema.task_group")
    assert {f"fastapi_task_manager.{name}" for name in modules} <= {*paths}


def test_every_error_has_the_status_that_the_index_says() -> None:
    rows = re.findall(r"^\| (`.*?) \| .*? \| (\d+) \|$", section(page("index.md"), "## Errors"), re.MULTILINE)
    shown = {name: int(status) for names, status in rows for name in re.findall(r"`(\w+)`", names)}
    kinds = {
        name: kind
        for name, kind in inspect.getmembers(task_manager_core.domain.errors, inspect.isclass)
        if issubclass(kind, errors.TaskManagerError) and not kind.__subclasses__()
    }
    leaves = {name for name, kind in kinds.items() if kind.__module__ == errors.__name__}
    assert leaves <= shown.keys()
    for name, status in shown.items():
        kind: type[errors.TaskManagerError] = getattr(errors, name)
        assert status_of(kind.__new__(kind)) == status, name


# -- REST -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    app = FastAPI()
    manager = TaskManager(app, OperationalConfig(), backend=MemoryStore().open)
    app.include_router(manager.get_manager_router())
    return app.openapi()


def bodies(operations: dict[str, Any]) -> dict[str, Any]:
    """The models of bodies. OpenAPI has them at the operations that use them."""
    contents = [one["requestBody"]["content"] for one in operations.values() if "requestBody" in one]
    return {
        content["application/json"]["schema"]["title"]: content["application/json"]["schema"] for content in contents
    }


def models_of(openapi: dict[str, Any]) -> dict[str, Any]:
    """All models except those of FastAPI itself."""
    found = {name: model for name, model in openapi["components"]["schemas"].items() if "Validation" not in name}
    for operations in openapi["paths"].values():
        found |= bodies(operations)
    return found


def test_every_route_has_a_section_with_its_parameters_and_answers(openapi: dict[str, Any]) -> None:
    text = page("rest.md")
    routes = {
        f"{method.upper()} {path}": operation
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    }
    assert set(re.findall(r"^### ([A-Z]+ /.*)$", text, re.MULTILINE)) == routes.keys()
    for route, operation in routes.items():
        below = section(text, f"### {route}")
        asked = [one["name"] for one in operation.get("parameters", []) if one["in"] != "path"]
        shown = re.search(r"^- Asks: (.*)\.$", below, re.MULTILINE)
        assert re.findall(r"`([\w-]+)`", shown[1] if shown else "") == asked, route
        answers = re.search(r"^- Answers: (.*)$", below, re.MULTILINE)
        assert answers is not None, route
        assert re.findall(r"(?:^|· )(\d+)", answers[1]) == sorted(operation["responses"]), route
        for model in re.findall(r"#/components/schemas/(\w+)", str(operation["responses"]["200"])):
            assert f"`{model}`" in answers[1], route
        for model in bodies({route: operation}):
            assert f"- Body: `{model}`" in below, route


def test_every_model_has_a_section_with_its_fields(openapi: dict[str, Any]) -> None:
    text = section(page("rest.md"), "## Bodies and answers")
    models = models_of(openapi)
    assert set(re.findall(r"^### (\w+)$", text, re.MULTILINE)) == models.keys()
    for name, model in models.items():
        below = section(text, f"### {name}")
        assert re.findall(r"^- `(\w+)`", below, re.MULTILINE) == list(model.get("properties", {})), name
        for value in model.get("enum", []):
            assert f"`{value}`" in below, (name, value)
        shown = dict(re.findall(r"^- `(\w+)` \(.*?\): (.*)$", below, re.MULTILINE))
        assert shown == {field: one.get("description") for field, one in model.get("properties", {}).items()}, name


def test_every_parameter_and_every_property_is_described(openapi: dict[str, Any]) -> None:
    operations = [operation for methods in openapi["paths"].values() for operation in methods.values()]
    described = {
        **{(one["operationId"], item["name"]): item for one in operations for item in one.get("parameters", [])},
        **{
            (name, field): item
            for name, model in models_of(openapi).items()
            for field, item in model.get("properties", {}).items()
        },
    }
    assert [where for where, item in described.items() if not item.get("description")] == []


# -- events and logs --------------------------------------------------------------------------------------------------

LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def logged() -> Iterator[str]:
    """The texts of every call of a logger in the adapter, and of the callbacks, which get its logger."""
    callbacks = ROOT / "src/task_manager_core/application/callbacks.py"
    for path in (*sorted((ROOT / "adapters/fastapi_task_manager").rglob("*.py")), callbacks):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOG_METHODS:
                for argument in node.args[:2]:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield argument.value


def test_every_line_of_the_log_is_listed() -> None:
    lines = section(page("events-and-logs.md"), "## Lines")
    shown = re.findall(r"^\| .*? \| .*? \| `(.*?)`", lines, re.MULTILINE)
    assert sorted(shown) == sorted(set(logged()))


def test_every_logger_is_listed() -> None:
    shown = set(re.findall(r"`fastapi\.task-manager\.(\w+)`", section(page("events-and-logs.md"), "## Loggers")))
    source = (ROOT / "adapters/fastapi_task_manager/observers/logs.py").read_text()
    [names] = re.findall(r'"""The logger of a component: (.*?)\."""', source)
    assert shown == set(re.findall(r"\w+", names)) - {"or"}


def test_every_field_of_a_record_is_listed() -> None:
    fields = section(page("events-and-logs.md"), "## Fields")
    assert re.findall(r"^\| `(\w+)` \| (.*?) \|$", fields, re.MULTILINE) == list(FIELDS.items())


def test_every_attribute_of_a_span_is_listed() -> None:
    attribute = r"(?:messaging|faas|task_manager|error)\.\w[\w.]*"
    source = (ROOT / "adapters/fastapi_task_manager/tracing.py").read_text()
    table = section((ROOT / "docs/howto/traces.md").read_text(), "## Attributes")
    shown = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(attribute, row)}
    assert shown | {"task_manager.link"} == set(re.findall(f'"({attribute})"', source))


def test_every_event_is_listed() -> None:
    table = section(page("events-and-logs.md"), "## Events")
    shown = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert {kind.__name__ for kind in get_args(Event)} <= set(shown)


def test_every_status_and_every_reason_is_explained() -> None:
    history = (ROOT / "docs/howto/read-the-history.md").read_text()
    words = [one.value for one in (*AttemptStatus, *SkipReason)]
    assert re.findall(r"^\| `(\w+)` \|", history, re.MULTILINE) == sorted(words, key=words.index)
