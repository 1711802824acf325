"""Code of users of the earlier package works unchanged. Each test covers a few lines of it."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest
from fastapi import FastAPI

from fastapi_task_manager import Config, HealthResponse, OperationalConfig, TaskGroup, TaskManager
from fastapi_task_manager.task import Task
from fastapi_task_manager.task_translation import definition_of
from task_manager_core.domain.errors import DefinitionError, RefusedError
from task_manager_memory import MemoryStore

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


async def job() -> None:
    """Does nothing."""


def send_report(recipient: str = "x") -> None:
    """Does nothing, with an argument."""


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("config", "Config OperationalConfig"),
        ("task_group", "TaskGroup"),
        ("task_manager", "TaskManager"),
        (
            "schema.task",
            """TaskBase Task TaskDetailed TaskRun TaskStatistics TaskActionResponse AffectedTask
            CreateDynamicTaskRequest DynamicTaskResponse RegisteredFunctionInfo RegisteredFunctionsResponse""",
        ),
        ("schema.health", "HealthResponse ConfigResponse"),
        ("schema.task_group", "TaskGroup"),
    ],
)
def test_the_modules_stay_importable_under_their_paths(module: str, names: str) -> None:
    found = importlib.import_module(f"fastapi_task_manager.{module}")
    assert [name for name in names.split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("missing", ["fastapi", "pydantic", "pydantic_settings", "dependency_injector"])
def test_a_missing_package_gives_an_error_that_names_the_extra(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import fastapi_task_manager"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"needs {missing}: pip install 'hexagonal-task-manager[fastapi]'" in run.stderr


def test_importing_the_package_does_not_import_dependency_injector_or_redis() -> None:
    program = "import sys, fastapi_task_manager; print({'dependency_injector', 'redis'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


def test_a_manager_without_an_application_starts_without_fastapi() -> None:
    program = """
import asyncio, sys
from fastapi_task_manager import TaskManager
from task_manager_memory import MemoryStore

async def main():
    manager = TaskManager(backend=MemoryStore().open)
    await manager.start()
    await manager.stop()

asyncio.run(main())
print({"dependency_injector.providers", "dependency_injector.wiring", "fastapi"} & set(sys.modules))
"""
    answer = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert answer.strip() == "{'dependency_injector.providers'}"


def test_a_name_may_be_a_member_of_an_enumeration() -> None:
    class Names(str, Enum):  # noqa: UP042 - str() of this older form is not its value
        REPORTS = "reports"

    group = TaskGroup(Names.REPORTS)
    assert (type(group.name), f"{group.name}") == (str, "reports")


def test_a_manager_takes_app_and_config_by_name_or_position() -> None:
    for manager in (
        TaskManager(app=FastAPI(), config=Config(redis_host="localhost")),
        TaskManager(FastAPI(), Config(redis_host="localhost")),
    ):
        assert manager.config.redis_key_prefix == "fastapi_task_manager.config"
        assert manager.task_groups == []
        assert manager.is_running is False


def test_a_config_without_redis_needs_a_backend() -> None:
    with pytest.raises(TypeError, match="backend="):
        TaskManager(FastAPI(), OperationalConfig())
    assert TaskManager(backend=MemoryStore().open).config == OperationalConfig()


def test_a_group_has_its_attributes_and_gives_copies() -> None:
    group = TaskGroup("Reports", ["reports"], False)
    assert (group.name, group.tags, group.allow_parallel) == ("Reports", ["reports"], False)
    group.add_task("* * * * *")(job)
    group.tags.append("other")
    group.tasks.clear()
    group.function_registry.clear()
    assert group.tags == ["reports"]
    assert [task.name for task in group.tasks] == ["job"]
    assert group.function_registry == {"job": job}


def test_a_task_has_its_attributes() -> None:
    group = TaskGroup(name="Reports", tags=["reports"])
    decorated = group.add_task(
        "*/5 * * * *",
        kwargs={"recipient": "a"},
        tags=["own", "reports"],
        name="n",
        description="d",
        high_priority=True,
        retry_backoff=2,
        retry_backoff_max=9.5,
        register=False,
        allow_parallel=False,
    )(send_report)
    assert decorated is send_report
    (task,) = group.tasks
    assert (task.name, task.expression, task.description, task.tags) == ("n", "*/5 * * * *", "d", ["reports", "own"])
    assert (task.high_priority, task.retry_backoff, task.retry_backoff_max) == (True, 2, 9.5)
    assert (task.dynamic, task.allow_parallel, task.kwargs) == (False, False, {"recipient": "a"})
    assert (task.function, task.function_name) == (send_report, "send_report")
    assert group.function_registry == {}


def test_a_list_of_pairs_makes_one_task_each_with_names_that_do_not_depend_on_the_cron_text() -> None:
    def names(*expressions: str) -> dict[str, tuple[str, dict[str, object]]]:
        group = TaskGroup("g")
        group.add_task(list(expressions), kwargs=[{"recipient": "a"}, {"recipient": "b"}], name="n")(send_report)
        return {task.name: (task.expression, task.kwargs) for task in group.tasks}

    assert names("1 * * * *", "2 * * * *") == {
        "n__1": ("1 * * * *", {"recipient": "a"}),
        "n__2": ("2 * * * *", {"recipient": "b"}),
    }
    assert names("3 * * * *", "4 * * * *").keys() == names("1 * * * *", "2 * * * *").keys()


def test_a_single_value_goes_with_every_item_of_the_other_list_and_one_pair_keeps_the_plain_name() -> None:
    group = TaskGroup("g")
    group.add_task(["1 * * * *", "2 * * * *"], kwargs={"recipient": "a"}, name="schedules")(send_report)
    group.add_task("1 * * * *", kwargs=[{"recipient": "a"}, {"recipient": "b"}], name="arguments")(send_report)
    group.add_task(["1 * * * *"], kwargs=[{"recipient": "a"}], name="plain")(send_report)
    assert [task.name for task in group.tasks] == [
        "schedules__1",
        "schedules__2",
        "arguments__1",
        "arguments__2",
        "plain",
    ]


def test_lists_of_different_length_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="same length"):
        TaskGroup("g").add_task(["1 * * * *", "2 * * * *"], kwargs=[{}, {}, {}])
    with pytest.raises(TypeError, match="same length"):
        TaskGroup("g").add_task(["1 * * * *"], kwargs=[{}, {}])
    with pytest.raises(TypeError, match="same length"):
        TaskGroup("g").add_task(["1 * * * *"], kwargs=[])
    with pytest.raises(TypeError, match="expr"):
        TaskGroup("g").add_task([])


def test_functions_without_a_name_of_their_own_get_one() -> None:
    class Callable_:  # noqa: N801 - the test checks this name
        async def __call__(self) -> None:
            """Does nothing."""

    group = TaskGroup("g")
    group.add_task("* * * * *")(functools.partial(send_report, recipient="y"))
    group.add_task("* * * * *")(Callable_())
    assert [task.name for task in group.tasks] == ["send_report", "Callable_"]
    with pytest.raises(TypeError, match="function"):
        group.add_task("* * * * *")("no function")  # type: ignore[type-var]


def test_functions_made_in_a_loop_are_distinguished_by_the_names_of_their_tasks() -> None:
    group = TaskGroup("g")
    for number in range(3):

        @group.add_task("* * * * *", name=f"job-{number}")
        def made() -> None:
            """Each call makes another function."""

    assert len(group.tasks) == 3
    assert list(group.function_registry) == ["job-0", "job-1", "job-2"]
    assert len(set(group.function_registry.values())) == 3


def _filled() -> TaskGroup:
    group = TaskGroup("g")
    group.add_task("* * * * *", name="static")(job)
    group.register_function("report")(send_report)
    group.add_dynamic_task("report", "* * * * *", name="dynamic")
    return group


@pytest.mark.parametrize(
    ("attempt", "text"),
    [
        (lambda g: g.add_task("* * * * *", name="static")(job), "already exists"),
        (lambda g: g.add_task("* * * * *", name="dynamic")(job), "already exists"),
        (lambda g: g.add_dynamic_task("report", "* * * * *", name="static"), "already exists"),
        (lambda g: g.register_function("report")(job), "already registered"),
        (lambda g: g.add_dynamic_task("missing", "* * * * *"), "not registered"),
        (lambda g: g.remove_dynamic_task("missing"), "not found"),
        (lambda g: g.remove_dynamic_task("static"), "is static and cannot be removed"),
        (lambda g: g.add_task("* * *", name="n")(job), "cron_expression='.*5 fields"),
        (lambda g: g.add_task("R * * * *", name="n")(job), "cron_expression"),
        (lambda g: g.add_task("* " * 5000, name="n")(job), "256 characters"),
        (lambda g: g.add_task("0 0 31 2 *", name="n")(job), "never fires"),
        (
            lambda g: g.add_task("* * * * *", name="n", interval=5)(job),
            r"interval=5\.0: give exactly one of .*, not cron_expression and interval",
        ),
        (lambda g: g.add_task("* * * * *", name="n", phase=5)(job), r"phase=5\.0: .* interval"),
        (lambda g: g.add_task(name="n", run_at=NOON, phase=5)(job), r"phase=5\.0: .* interval"),
        (lambda g: g.add_task(name="n", interval=5, timezone="UTC")(job), "timezone='UTC': .* cron expression"),
        (lambda g: g.add_task(name="n", interval=5, gap="shift")(job), "gap='shift': .* cron expression"),
        (lambda g: g.add_task(name="n", run_at=NOON, fold="both")(job), "fold='both': .* cron expression"),
        (lambda g: g.add_dynamic_task("report", interval=5, timezone="UTC"), "timezone='UTC': .* cron expression"),
        (lambda g: g.add_task("* * * * *", name="n", tags="reports")(job), "tags='reports': must be a list"),
        (lambda g: g.add_task("* * * * *", name="n", tags=[1])(job), "tags=1: must be text"),
        (lambda g: g.add_dynamic_task("report", "* * * * *", tags="reports"), "tags='reports': must be a list"),
        (lambda g: g.add_task("* * * * *", name="n", allow_parallel="no")(job), "allow_parallel='no': must be true or"),
        (lambda g: g.add_task("* * * * *", name="n", high_priority="no")(job), "high_priority='no': must be true or"),
        (lambda g: g.add_dynamic_task("report", "* * * * *", allow_parallel="no"), "allow_parallel='no': must be true"),
        (lambda g: g.add_task("* * * * *", name="n", description=5)(job), "description=5: must be text"),
        (lambda g: g.add_task("* * * * *", name="n", timeout=1e9)(job), "timeout=.*31622400 seconds"),
        (
            lambda g: g.add_task("* * * * *", name="n", timeout=timedelta(days=367))(job),
            r"timeout=31708800\.0: must be at most 31622400 seconds",
        ),
        (lambda g: g.add_task("* * * * *", name="n", timezone="Mars/Olympus")(job), "timezone='Mars/Olympus'"),
        (lambda g: g.add_task("* * * * *", name="n", kwargs={"x": {1, 2}})(send_report), "kwargs=.*JSON"),
        (lambda g: g.add_task("* * * * *", name="n", kwargs={"wrong": 1})(send_report), "kwargs=.*wrong"),
        (lambda g: g.add_task("* * * * *", name="n", kwargs={"x": 1})(job), "does not accept"),
        (lambda g: g.add_dynamic_task("report", "* * * * *", kwargs={"wrong": 1}), "does not accept"),
        (lambda g: g.add_dynamic_task("report", "* * * * *", kwargs={"recipient": float("nan")}), "JSON"),
        (lambda g: g.add_task("* * * * *", name="")(job), "name=''"),
        (lambda g: g.add_task("* * * * *", name="a\0b")(job), "control"),
        (lambda g: g.add_task("* * * * *", name="n", tags=["\ud800"])(job), "tags="),
        (lambda g: g.add_task("* * * * *", name="n", description="\ud800")(job), "description="),
        (lambda g: g.add_task("* * * * *", name="n", retry_backoff=0)(job), "retry_backoff=0.0"),
        (lambda g: g.add_task("* * * * *", name="n", retry_backoff="soon")(job), "retry_backoff='soon'"),
        (lambda g: g.add_task("* * * * *", name="n", retry_backoff=1e300)(job), "retry_backoff=1e"),
        (
            lambda g: g.add_task("* * * * *", name="n", retry_backoff=9, retry_backoff_max=2)(job),
            "retry_backoff_max=2.0: must not be below retry_backoff=9.0",
        ),
        (lambda g: g.add_task("* * * * *", name="n", gap="jump")(job), "gap='jump'.*shift, skip"),
        (lambda g: g.add_task("* * * * *", name="n", max_retries=-1)(job), "max_retries=-1"),
        (lambda g: g.add_task("* * * * *", name="n", max_lost_attempts=-1)(job), "max_lost_attempts=-1"),
        (lambda g: g.add_task("* * * * *", name="n", max_instances=0)(job), "max_instances=0: .*from 1 to 10000"),
        (lambda g: g.add_task("* * * * *", name="n", max_instances=True)(job), "max_instances=True"),
        (
            lambda g: g.add_task("* * * * *", name="n", max_instances=3, allow_parallel=False)(job),
            "max_instances=3: .*overlap=buffer_one",
        ),
        (
            lambda g: g.add_task("* * * * *", name="n", max_instances=3, overlap="skip")(job),
            "max_instances=3: .*overlap=skip",
        ),
        (lambda g: g.add_task("* * * * *", name="n", expires=0)(job), "expires=0.0: must be 0.001 to"),
        (lambda g: g.add_task("* * * * *", name="n", expires="1h")(job), "expires='1h'"),
        (lambda g: g.add_task("* * * * *", name="n", retry_on=[int])(job), "retry_on"),
        (lambda g: g.add_task("* * * * *", name="n", start_at="tomorrow")(job), "start_at='tomorrow'"),
        (lambda g: g.add_task("* * * * *", name="n", run_on_start="yes")(job), "run_on_start='yes'"),
    ],
)
def test_a_group_refuses_with_a_runtime_error_that_says_why(attempt: Callable[[TaskGroup], Any], text: str) -> None:
    group = _filled()
    before = group.tasks, group.function_registry
    with pytest.raises(RuntimeError, match=text) as caught:
        attempt(group)
    assert isinstance(caught.value, (DefinitionError, RefusedError))
    assert (group.tasks, group.function_registry) == before


def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> AsyncIterator[int]:
    yield 1


class _CallableGenerator:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    "function", [_generator, _async_generator, functools.partial(_generator), _CallableGenerator()]
)
@pytest.mark.parametrize("declare", ["add_task", "register_function"])
def test_a_generator_is_refused_because_its_body_would_never_run(function: Callable[[], Any], declare: str) -> None:
    group = TaskGroup("g")
    decorate = group.add_task("* * * * *") if declare == "add_task" else group.register_function()
    with pytest.raises(DefinitionError, match=r"function='.*enerator.*': is a generator") as caught:
        decorate(function)
    assert isinstance(caught.value, RuntimeError)
    assert (group.tasks, group.function_registry) == ([], {})


def test_a_decorator_without_parentheses_says_what_to_write() -> None:
    group = TaskGroup("g")
    with pytest.raises(TypeError, match=r'write @group.add_task\("\* \* \* \* \*"\) above job'):
        group.add_task(job)  # type: ignore[arg-type]  # the mistake is the point
    with pytest.raises(TypeError, match=r"write @group.register_function\(\) above job"):
        group.register_function(job)  # type: ignore[arg-type]  # the mistake is the point


@pytest.mark.parametrize(
    ("attempt", "text"),
    [
        (lambda g: type(g)(5), "name=5"),
        (lambda g: type(g)("H", allow_parallel="abc"), "allow_parallel='abc'"),
        (lambda g: type(g)("H", timezone=5), "timezone=5"),
        (lambda g: g.add_task("* * * * *", name=5), "name=5"),
        (lambda g: g.add_task(["* * * * *"] * 2, name=5), "name=5"),
        (lambda g: g.add_task("* * * * *", name=b"x"), "name=b'x'"),
        (lambda g: g.add_task("* * * * *", tags=[1]), "tags=1"),
        (lambda g: g.add_task("* * * * *", description=1), "description=1"),
        (lambda g: g.add_task("* * * * *", high_priority="no"), "high_priority='no'"),
        (lambda g: g.add_task("* * * * *", register="no"), "register='no'"),
        (lambda g: g.register_function(name=5), "name=5"),
        (lambda g: g.add_dynamic_task("job", "* * * * *", name=5), "name=5"),
        (lambda g: g.add_dynamic_task(["job"], "* * * * *"), "function_name="),
        (lambda g: g.remove_dynamic_task(["x"]), "name="),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(attempt: Callable[[TaskGroup], Any], text: str) -> None:
    group = TaskGroup("g")
    group.register_function()(job)

    def decorated() -> None:
        attempt(group)(send_report)

    with pytest.raises(RuntimeError, match=text) as caught:
        decorated()
    assert isinstance(caught.value, DefinitionError)
    assert (group.tasks, group.function_registry) == ([], {"job": job})


def test_an_argument_that_is_no_application_group_or_configuration_is_a_type_error() -> None:
    store = MemoryStore().open
    with pytest.raises(TypeError, match="app must be a FastAPI application, not 5"):
        TaskManager(app=5, backend=store)  # type: ignore[arg-type]  # the mistake is the point
    with pytest.raises(TypeError, match="config must be a Config or an OperationalConfig, not 5"):
        TaskManager(config=5, backend=store)  # type: ignore[arg-type]  # the mistake is the point
    with pytest.raises(TypeError, match="task_group must be a TaskGroup, not 'x'"):
        TaskManager(backend=store).add_task_group("x")  # type: ignore[arg-type]  # the mistake is the point


def test_an_unknown_argument_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="'retry_bakoff'"):
        TaskGroup("g").add_task("* * * * *", retry_bakoff=1)(job)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_an_impossible_group_is_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match="name="):
        TaskGroup(name)
    with pytest.raises(RuntimeError, match="timezone="):
        TaskGroup("g", timezone="nowhere")


def test_a_group_refuses_arguments_that_would_mean_something_else() -> None:
    with pytest.raises(RuntimeError, match="tags='reports': must be a list"):
        TaskGroup("g", tags="reports")
    with pytest.raises(RuntimeError, match="allow_parallel='no'"):
        TaskGroup("g", allow_parallel="no")  # type: ignore[arg-type]


def test_a_list_with_an_invalid_pair_adds_no_task() -> None:
    group = TaskGroup("g")
    with pytest.raises(RuntimeError):
        group.add_task(["* * * * *", "wrong"])(job)
    assert group.tasks == []
    assert group.function_registry == {}


def test_a_dynamic_task_is_listed_at_once_and_returned() -> None:
    group = _filled()
    task = group.add_dynamic_task(
        function_name="report",
        cron_expression="0 1 * * *",
        kwargs={"recipient": "a"},
        name="n",
        description="d",
        high_priority=True,
        tags=["t"],
        retry_backoff=1,
        retry_backoff_max=2,
        allow_parallel=False,
    )
    assert isinstance(task, Task)
    assert task in group.tasks
    assert (task.name, task.dynamic, task.function, task.function_name) == ("n", True, send_report, "report")
    group.remove_dynamic_task("n")
    assert task not in group.tasks


def test_a_dynamic_task_without_a_name_gets_one_and_the_same_call_twice_already_exists() -> None:
    group = _filled()
    first = group.add_dynamic_task("report", "0 1 * * *", kwargs={"recipient": "a"})
    other = group.add_dynamic_task("report", "0 1 * * *", kwargs={"recipient": "b"})
    assert first.name.startswith("report__")
    assert first.name != other.name
    with pytest.raises(RuntimeError, match="already exists"):
        group.add_dynamic_task("report", "0 1 * * *", kwargs={"recipient": "a"})


@pytest.mark.parametrize(
    "other",
    [
        {"timezone": "Europe/Rome"},
        {"timezone": "Asia/Tokyo"},
        {"gap": "skip"},
        {"fold": "both"},
        {"jitter": 5},
        {"start_at": NOON},
        {"end_at": NOON + timedelta(days=1)},
        {"catch_up": "none"},
        {"max_retries": 1},
        {"max_lost_attempts": 1},
        {"expires": 60},
        {"max_instances": 2},
        {"retry_backoff": 2},
        {"tags": ["own"]},
        {"description": "d"},
        {"high_priority": True},
        {"allow_parallel": False},
    ],
)
def test_every_argument_distinguishes_a_dynamic_task_without_a_name_from_others(other: dict[str, Any]) -> None:
    group = _filled()
    plain = group.add_dynamic_task("report", "0 9 * * *")
    told_apart = group.add_dynamic_task("report", "0 9 * * *", **other)
    rome = group.add_dynamic_task("report", "0 9 * * *", name="named", timezone="Europe/Rome")
    assert len({plain.name, told_apart.name, rome.name}) == 3
    with pytest.raises(RuntimeError, match="already exists"):
        group.add_dynamic_task("report", "0 9 * * *", **other)


def test_the_name_of_a_plain_call_is_stable() -> None:
    """Stored definitions carry the name. It does not depend on the tags, because a deploy may change them."""
    names: set[str] = set()
    for tags in (None, ["of the group"]):
        group = TaskGroup("g", tags=tags)
        group.register_function("report")(send_report)
        names.add(group.add_dynamic_task("report", "0 9 * * *", {"recipient": "a"}).name)
    assert names == {"report__f9dd7dce39"}


def test_a_group_name_taken_twice_is_refused() -> None:
    manager = TaskManager(backend=MemoryStore().open)
    manager.add_task_group(TaskGroup("g"))
    with pytest.raises(RuntimeError, match="already exists"):
        manager.add_task_group(TaskGroup("g"))
    assert [group.name for group in manager.task_groups] == ["g"]


def test_a_value_of_the_task_overrides_the_value_of_the_config() -> None:
    group = TaskGroup("g")
    group.add_task("* * * * *", retry_backoff=300)(job)
    manager = TaskManager(config=OperationalConfig(retry_backoff_max=60), backend=MemoryStore().open)
    manager.add_task_group(group)
    (task,) = group.tasks
    assert definition_of(task, manager.config.defaults()).retry.maximum.total_seconds() == 300


async def test_health_before_the_start_returns_a_report() -> None:
    manager = TaskManager(backend=MemoryStore().open)
    assert await manager.is_healthy() is False
    health = await manager.health_check()
    assert isinstance(health, HealthResponse)
    assert (health.status, health.redis_connected, health.is_leader) == ("unhealthy", False, False)
    assert health.reason == "not started yet"
