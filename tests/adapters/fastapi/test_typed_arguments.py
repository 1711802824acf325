"""Arguments are JSON in the store, and values of the annotated types in the function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from fastapi_task_manager import InvalidArguments, OperationalConfig, RunContext, TaskGroup, TaskManager
from fastapi_task_manager.arguments import MOST_PROBLEMS
from fastapi_task_manager.group_contents import contents_of
from task_manager_core.domain.events import RunSettled
from task_manager_core.domain.run import Exhausted
from task_manager_core.ports import OpenBackend
from task_manager_core.testing.recorder import Recorder
from tests.adapters.fastapi.application import PREFIX, QUICK, answer, build, serving
from tests.waiting import wait_until_async

if TYPE_CHECKING:
    import collections as for_the_checker_only
    from collections.abc import AsyncGenerator

    from fastapi_task_manager import RunContext as Ctx

    Ledger = dict[str, int]

NEVER = "0 0 1 1 *"
DAY = date(2026, 3, 1)
ID = UUID("a3c2cf5d-5d6c-4f6e-8a41-4d0f8a1f6d6e")


class Colour(Enum):
    RED = "red"


class Line(BaseModel):
    text: str
    amount: Decimal = Field(gt=0)


class Invoice(BaseModel):
    id: UUID
    due: date
    lines: list[Line] = []


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    due: date


class Aliased(BaseModel):
    due_on: date = Field(alias="dueOn")


class Forgetful(BaseModel):
    kept: int
    left_out: int = Field(default=0, exclude=True)


@dataclass
class Point:
    x: int
    y: int = 0


INVOICE = Invoice(id=ID, due=DAY, lines=[Line(text="tea", amount=Decimal("2.50"))])


class Foreign:
    """A class that pydantic does not know."""


VALUES: list[tuple[Any, object, object]] = [
    (date, DAY, "2026-03-01"),
    (datetime, datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00Z"),
    (timedelta, timedelta(minutes=5), "PT5M"),
    (UUID, ID, str(ID)),
    (Decimal, Decimal("2.50"), "2.50"),
    (Colour, Colour.RED, "red"),
    (Path, Path("a/b"), "a/b"),
    (set[int], {3}, [3]),
    (bytes, b"abc", "abc"),
    (date | None, DAY, "2026-03-01"),
    (list[date], [DAY], ["2026-03-01"]),
    (dict[int, date], {7: DAY}, {"7": "2026-03-01"}),
    (Invoice, INVOICE, {"id": str(ID), "due": "2026-03-01", "lines": [{"text": "tea", "amount": "2.50"}]}),
    (Strict, Strict(due=DAY), {"due": "2026-03-01"}),
    (Aliased, Aliased(dueOn=DAY), {"dueOn": "2026-03-01"}),
    (Point, Point(1), {"x": 1, "y": 0}),
    (Annotated[date, Field(strict=True)], DAY, "2026-03-01"),
]
NAMED = [str(getattr(annotation, "__name__", annotation)) for annotation, _, _ in VALUES]


def taking(annotation: Any, seen: list[object]) -> Callable[..., Any]:
    async def job(value: object) -> None:
        seen.append(value)

    job.__annotations__["value"] = annotation
    return job


@asynccontextmanager
async def application(
    open_backend: OpenBackend, *groups: TaskGroup, recorder: Recorder | None = None, **settings: Any
) -> AsyncGenerator[tuple[TaskManager, Any]]:
    app = FastAPI()
    observers = [recorder] if recorder is not None else []
    manager = TaskManager(app, OperationalConfig(**(QUICK | settings)), backend=open_backend, observers=observers)
    for group in groups:
        manager.add_task_group(group)
    app.include_router(manager.get_manager_router(), prefix=PREFIX)
    async with serving(app) as client:
        yield manager, client


@pytest.mark.parametrize(("annotation", "value", "kept"), VALUES, ids=NAMED)
def test_code_gives_values_of_the_annotated_type_and_the_group_keeps_their_json(
    annotation: Any, value: object, kept: object
) -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, kwargs={"value": value})(taking(annotation, []))
    (task,) = group.tasks
    assert task.kwargs == {"value": kept}
    assert group.add_dynamic_task("job", NEVER, kwargs={"value": value}).kwargs == {"value": kept}


@pytest.mark.parametrize(("annotation", "value", "kept"), VALUES, ids=NAMED)
def test_json_of_the_annotated_type_is_kept_as_it_is_given(annotation: Any, value: object, kept: object) -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, kwargs={"value": kept})(taking(annotation, []))
    assert group.tasks[0].kwargs == {"value": kept}


async def test_values_arrive_as_the_annotated_types(open_backend: OpenBackend) -> None:
    """Each of three ways: a static task, a task that a request adds, a trigger with other arguments."""
    group = TaskGroup("g")
    seen: dict[str, object] = {}

    def remember(number: int, value: object) -> None:
        seen[f"{number}"] = value

    for number, (annotation, value, _) in enumerate(VALUES):
        group.add_task(NEVER, name=f"static{number}", kwargs={"value": value})(
            _remembering(remember, number, annotation)
        )
    async with application(open_backend, group) as (_, client):
        await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: len(seen) == len(VALUES), "all have run")
        assert list(dict(sorted(seen.items(), key=lambda item: int(item[0]))).values()) == [one for _, one, _ in VALUES]
        assert {type(seen[f"{number}"]) for number in range(4)} == {date, datetime, timedelta, UUID}
        seen.clear()
        body = {"task_group_name": "g", "function_name": "static0", "cron_expression": NEVER, "name": "dynamic"}
        await answer(client, "POST", "/tasks", json={**body, "kwargs": {"value": "2027-01-02"}})
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "dynamic"})
        await wait_until_async(lambda: seen, "the dynamic task has run")
        assert seen.pop("0") == date(2027, 1, 2)
        kwargs = {"kwargs": {"value": "2028-01-02"}}
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "static0"}, json=kwargs)
        await wait_until_async(lambda: seen, "it has run with the arguments of the request")
        assert seen.pop("0") == date(2028, 1, 2)


def _remembering(remember: Callable[[int, object], None], number: int, annotation: Any) -> Callable[..., Any]:
    def in_thread(value: object) -> None:
        remember(number, value)

    async def in_loop(value: object) -> None:
        remember(number, value)

    job = in_thread if number % 2 else in_loop
    job.__annotations__["value"] = annotation
    return job


def declares(kwargs: dict[str, object], job: Callable[..., Any]) -> str:
    """The refusal of the arguments, at the decorator and by the two ways to add a dynamic task. Nothing stays."""
    group = TaskGroup("g")
    with pytest.raises(InvalidArguments) as refused:
        group.add_task(NEVER, kwargs=kwargs)(job)
    assert (group.tasks, group.function_registry) == ([], {})
    group.register_function("job")(job)
    with pytest.raises(InvalidArguments) as again:
        group.add_dynamic_task("job", NEVER, kwargs=kwargs)
    assert group.tasks == []
    assert refused.value.field == again.value.field == "kwargs"
    assert refused.value.reason == again.value.reason
    return refused.value.reason


async def send(
    day: date, to: str = "x", copies: Annotated[int, Field(gt=0)] = 1, *, invoice: Invoice = INVOICE
) -> None:
    """A function with annotations."""


def test_an_argument_that_does_not_fit_is_named_at_the_decorator_and_nothing_stays() -> None:
    assert "'day': Input should be a valid date" in declares({"day": "soon"}, send)
    assert "'to': Input should be a valid string" in declares({"day": "2026-01-01", "to": 5}, send)
    assert "'copies': Input should be greater than 0" in declares({"day": DAY, "copies": 0}, send)
    reason = declares({"day": DAY, "invoice": {"id": "x", "due": "2026-01-01"}}, send)
    assert reason.startswith("send() does not accept them: 'invoice.id': Input should be a valid UUID")
    assert "missing a required argument: 'day'" in declares({"to": "x"}, send)
    assert "unexpected keyword argument 'date'" in declares({"day": DAY, "date": 1}, send)


def test_a_value_of_another_type_is_named_too() -> None:
    reason = declares({"day": INVOICE}, send)
    assert "'day': Input should be a valid date" in reason
    assert reason.endswith(" (and it is no JSON)")
    assert "must be JSON" in declares({"value": DAY}, lambda value: None)


def test_every_argument_that_does_not_fit_is_named() -> None:
    assert "'day': " in (reason := declares({"day": "soon", "copies": -1, "to": None}, send))
    assert "'copies': " in reason
    assert "'to': " in reason

    async def wide(numbers: list[int]) -> None: ...

    reason = declares({"numbers": ["x"] * 1000}, wide)
    assert reason.count("numbers.") == MOST_PROBLEMS
    assert reason.endswith("; …")


def test_a_value_that_json_does_not_give_back_is_refused() -> None:
    async def login(password: SecretStr) -> None: ...

    reason = declares({"password": SecretStr("hunter2")}, login)
    assert reason == "login() does not accept them: 'password': a SecretStr does not come back from JSON as it was"
    assert "hunter2" not in str(reason)

    async def note(value: Forgetful) -> None: ...

    assert "'value': a Forgetful does not come back" in declares({"value": Forgetful(kept=1, left_out=2)}, note)


def test_no_description_of_a_refusal_shows_the_value() -> None:
    async def pay(card: int, invoice: Invoice) -> None: ...

    assert "4111" not in declares({"card": "4111-x", "invoice": {"id": "4111-y", "due": {"4111": 1}}}, pay)


async def test_a_request_with_an_argument_that_does_not_fit_is_400_and_names_it(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, name="send", kwargs={"day": DAY})(send)
    async with application(open_backend, group) as (_, client):
        body = {"task_group_name": "g", "function_name": "send", "cron_expression": NEVER, "name": "n"}
        made = await answer(client, "POST", "/tasks", json={**body, "name": "good", "kwargs": {"day": "2026-01-01"}})
        wrong = {"kwargs": {"day": "soon"}}
        for method, path, arguments in (
            ("POST", "/tasks", {"json": {**body, **wrong}}),
            ("PUT", "/tasks/g/good", {"json": wrong}),
            ("POST", "/tasks/trigger", {"json": wrong, "params": {"task_name": "send"}}),
            ("POST", "/tasks/trigger", {"json": wrong, "params": {"task_name": "good"}}),
        ):
            response = await client.request(method, path, **arguments)
            assert response.status_code == 400, response.text
            assert response.json()["field"] == "kwargs"
            assert "send() does not accept them: 'day': Input should be a valid date" in response.json()["detail"]
        tasks = await answer(client, "GET", "/tasks")
        assert {task["name"]: task["kwargs"] for task in tasks} == {
            "send": {"day": "2026-03-01"},
            "good": {"day": "2026-01-01"},
        }
        assert not [task["name"] for task in tasks if task["is_running"]]
        assert (await answer(client, "GET", "/tasks/g/send/statistics"))["runs"] == []
        assert made["kwargs"] == {"day": "2026-01-01"}


async def test_a_stored_argument_that_no_longer_fits_ends_the_run_without_a_retry(open_backend: OpenBackend) -> None:
    """A deploy has given the parameter another type, and the store holds a dynamic task from before."""
    calls: list[object] = []
    before, after = TaskGroup("g"), TaskGroup("g")

    async def untyped(value: Any) -> None:
        calls.append(value)

    before.register_function("f")(untyped)
    after.register_function("f")(taking(date, calls))
    async with application(open_backend, before) as (manager, _):
        await manager.add_dynamic_task("g", "f", NEVER, {"value": "soon"}, "n")
    recorder = Recorder()
    async with application(open_backend, after, recorder=recorder) as (_, client):
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "n"})
        await wait_until_async(lambda: recorder.of(RunSettled), "the run has ended")
        (settled,) = recorder.of(RunSettled)
        (run,) = (await answer(client, "GET", "/tasks/g/n/statistics"))["runs"]
    assert isinstance(settled.settlement.outcome, Exhausted)
    assert settled.settlement.claim.attempt == 1
    assert calls == []
    assert run["error_type"] == "task_manager_core.application.failure.ArgumentsRefused"
    assert run["error_message"].startswith("job() does not accept them: 'value': Input should be a valid date")
    assert "soon" not in run["error_message"]


def test_a_function_without_types_to_convert_to_is_called_directly() -> None:
    def plain(anything, free: Any = None, other: object = None, *more: int, context: RunContext) -> None:  # type: ignore[no-untyped-def]
        """No annotation asks for a conversion."""

    async def nothing() -> None: ...

    group = TaskGroup("g")
    for one in (plain, nothing):
        group.register_function()(one)
        assert contents_of(group).functions[one.__name__].function.call is one


def test_a_decorated_name_stays_the_function_of_the_user() -> None:
    group = TaskGroup("g")
    decorated = group.add_task(NEVER, kwargs={"day": DAY})(send)
    assert decorated is send
    assert group.tasks[0].function is send
    assert group.function_registry == {"send": send}


def test_a_function_that_takes_what_it_is_given_keeps_it() -> None:
    group = TaskGroup("g")

    def job(anything, foreign: Foreign | None = None, text: str = None) -> None:  # type: ignore[no-untyped-def,assignment]  # noqa: RUF013
        """The last annotation is an old way to write `str | None`."""

    group.add_task(NEVER, kwargs={"anything": [1, {"a": None}], "foreign": {"any": "thing"}, "text": None})(job)
    assert group.tasks[0].kwargs == {"anything": [1, {"a": None}], "foreign": {"any": "thing"}, "text": None}


def test_an_annotation_that_cannot_be_evaluated_leaves_the_others() -> None:
    """This file has `from __future__ import annotations`, and the names exist only for the type checker."""

    async def job(
        day: date,
        ledger: Ledger,
        deque: for_the_checker_only.deque[int] | None = None,
        context: Ctx | None = None,
        *,
        optional: Annotated[Ledger | None, "text"] = None,
    ) -> None: ...

    assert "'day': Input should be a valid date" in declares({"day": "soon", "ledger": {}}, job)
    group = TaskGroup("g")
    kwargs = {"day": DAY, "ledger": "anything", "deque": {"any": 1}, "optional": 5}
    group.add_task(NEVER, kwargs=kwargs)(job)
    assert group.tasks[0].kwargs == {**kwargs, "day": "2026-03-01"}


def test_the_annotation_of_further_keyword_arguments_counts_for_each() -> None:
    def job(day: date, **amounts: Decimal) -> None: ...

    assert "'b': " in declares({"day": DAY, "a": "1.5", "b": "much"}, job)


async def test_the_annotation_of_further_keyword_arguments_does_not_count_for_the_context(
    open_backend: OpenBackend,
) -> None:
    seen: list[tuple[object, object]] = []
    group = TaskGroup("g")

    @group.add_task(NEVER, kwargs={"a": "1.5"})
    async def job(context: RunContext, **amounts: Decimal) -> None:
        seen.append((context.task.name, amounts))

    async with application(open_backend, group) as (_, client):
        await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: seen, "it has run")
    assert seen == [("job", {"a": Decimal("1.5")})]


class Job:
    async def method(self, day: date) -> None: ...

    async def __call__(self, day: date) -> None: ...


@pytest.mark.parametrize(
    "job",
    [Job(), Job().method, functools.partial(send, to="y"), functools.partial(functools.partial(send), copies=2)],
    ids=["object", "method", "partial", "partial of partial"],
)
def test_every_kind_of_callable_has_its_arguments_converted(job: Callable[..., Any]) -> None:
    assert "'day': " in declares({"day": "soon"}, job)


def test_a_task_of_code_keeps_its_generated_name() -> None:
    """JSON stays as it is given, so the suffix of a dynamic task without a name is that of an earlier version."""
    typed, untyped = TaskGroup("g"), TaskGroup("g")
    typed.register_function("job")(taking(int, []))
    untyped.register_function("job")(taking(Any, []))
    assert (
        typed.add_dynamic_task("job", NEVER, kwargs={"value": "5"}).name
        == untyped.add_dynamic_task("job", NEVER, kwargs={"value": "5"}).name
    )


def test_building_an_application_with_typed_tasks_needs_no_running_manager() -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, kwargs={"day": DAY})(send)
    _, manager = build(group)
    assert manager.task_groups[0].tasks[0].kwargs == {"day": "2026-03-01"}
