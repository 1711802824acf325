"""Task functions have dependencies, written as FastAPI's users write them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import ContextVar
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, cast

import pytest
from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    Header,
    Path,
    Query,
    Request,
    Response,
    Security,
    UploadFile,
    WebSocket,
)
from fastapi.requests import HTTPConnection
from fastapi.security import SecurityScopes
from pydantic import Field
from starlette.applications import Starlette

from fastapi_task_manager import DefinitionError, OperationalConfig, RunContext, TaskGroup, TaskManager
from fastapi_task_manager.group_contents import contents_of
from task_manager_core.domain.events import RunReleased, RunSettled
from task_manager_core.domain.run import Cancelled, Retried
from task_manager_core.ports import OpenBackend
from task_manager_core.testing.recorder import Recorder
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import QUICK, answer
from tests.adapters.fastapi.attempts import application, succeeded
from tests.waiting import wait_until_async

if TYPE_CHECKING:
    import collections as sessions

    from fastapi import FastAPI

    Session = sessions.deque[int]

NEVER = "0 0 1 1 *"


class Journal:
    """What happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> str:
        self.lines.append(line)
        return line


journal = Journal()


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    journal.lines.clear()


def both(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The task, and the same as a synchronous function."""

    @functools.wraps(function)
    def in_thread(**kwargs: Any) -> None:
        asyncio.run(function(**kwargs))

    return [function, in_thread]


# -- what users write ----------------------------------------------------------------------------------------------


def get_settings() -> str:
    return journal("settings")


async def get_engine(settings: Annotated[str, Depends(get_settings)]) -> str:
    return f"{journal('engine')}({settings})"


async def get_session(engine: str = Depends(get_engine)) -> AsyncIterator[str]:
    journal("open session")
    try:
        yield f"session({engine})"
    except BaseException as error:
        journal(f"session sees {type(error).__name__}")
        raise
    finally:
        journal("close session")


def get_file() -> Iterator[str]:
    journal("open file")
    try:
        yield "file"
    except BaseException as error:
        journal(f"file sees {type(error).__name__}")
        raise
    finally:
        journal("close file")


class Mailer:
    def __init__(self, settings: Annotated[str, Depends(get_settings)], retries: int = 3) -> None:
        self.settings, self.retries = settings, retries


class Checker:
    def __init__(self, level: str) -> None:
        self.level = level

    async def __call__(self, settings: Annotated[str, Depends(get_settings)]) -> str:
        return f"{self.level} {settings}"


SessionDep = Annotated[str, Depends(get_session)]


async def written_in_every_form(
    day: date,
    session: SessionDep,
    mailer: Annotated[Mailer, Depends()],
    checker: Annotated[str, Security(Checker("strict"), scopes=["x"])],
    file: str = Depends(get_file),
    part: str = Depends(functools.partial(str, "part")),
    *,
    context: RunContext,
) -> None:
    journal(f"{day:%d.%m.} {session} {mailer.settings}*{mailer.retries} {checker} {file} {part} {context.attempt}")


@pytest.mark.parametrize("function", both(written_in_every_form), ids=["async", "sync"])
async def test_every_form_of_dependency_arrives_and_ends_in_reverse_order(
    function: Callable[..., Any], open_backend: OpenBackend
) -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, name="task", kwargs={"day": date(2026, 3, 1)})(function)
    async with application(group, backend=open_backend) as served:
        assert succeeded(await served.run("task"))
    assert journal.lines == [
        "settings",
        "engine",
        "open session",
        "open file",
        "01.03. session(engine(settings)) settings*3 strict settings file part 1",
        "close file",
        "close session",
    ]


def test_the_decorated_name_stays_the_function_and_its_dependencies_are_no_arguments() -> None:
    group = TaskGroup("g")
    decorated = group.add_task(NEVER, kwargs={"day": "2026-03-01"})(written_in_every_form)
    assert decorated is written_in_every_form
    assert group.tasks[0].function is written_in_every_form
    signature = contents_of(group).functions["written_in_every_form"].function.signature
    assert signature is not None
    assert list(signature.parameters) == ["day", "context"]


async def test_a_dependency_is_resolved_once_in_an_attempt_and_again_in_the_next() -> None:
    group = TaskGroup("g")

    @group.add_task(NEVER, max_retries=1)
    async def job(
        one: Annotated[str, Depends(get_settings)],
        two: Annotated[str, Depends(get_settings)],
        fresh: Annotated[str, Depends(get_settings, use_cache=False)],
        context: RunContext,
    ) -> None:
        if context.attempt == 1:
            raise ConnectionError(one + two + fresh)

    async with application(group) as served:
        await served.run("job")
        assert journal.lines[:2] == ["settings"] * 2
        await served.settled(2)
    assert journal.lines == ["settings"] * 4


async def failing(session: SessionDep, file: Annotated[str, Depends(get_file)]) -> None:
    raise ConnectionError(session + file)


@pytest.mark.parametrize("function", both(failing), ids=["async", "sync"])
async def test_generators_see_the_exception_of_a_failed_attempt(function: Callable[..., Any]) -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, name="task", retry_backoff=60)(function)
    async with application(group) as served:
        settled = await served.run("task")
    assert isinstance(settled.settlement.outcome, Retried)
    assert isinstance(settled.error, ConnectionError)
    assert journal.lines[-4:] == [
        "file sees ConnectionError",
        "close file",
        "session sees ConnectionError",
        "close session",
    ]


async def test_generators_are_closed_after_a_timeout() -> None:
    group = TaskGroup("g")

    @group.add_task(NEVER, timeout=0.05, retry_backoff=60)
    async def slow(session: SessionDep, file: Annotated[str, Depends(get_file)]) -> None:
        await asyncio.sleep(60)
        journal(session + file)

    async with application(group) as served:
        settled = await served.run("slow")
    assert isinstance(settled.error, TimeoutError)
    assert journal.lines[-4:] == [
        "file sees CancelledError",
        "close file",
        "session sees CancelledError",
        "close session",
    ]


async def test_generators_are_closed_after_a_cancellation() -> None:
    group = TaskGroup("g")

    @group.add_task(NEVER)
    async def slow(session: SessionDep) -> None:
        journal(f"runs with {session}")
        await asyncio.sleep(60)

    async with application(group) as served:
        await answer(served.client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: any(line.startswith("runs") for line in journal.lines), "it runs")
        await answer(served.client, "POST", "/tasks/cancel")
        (settled,) = await served.settled()
    assert isinstance(settled.settlement.outcome, Cancelled)
    assert journal.lines[-2:] == ["session sees CancelledError", "close session"]


async def test_generators_are_closed_when_the_worker_stops() -> None:
    group = TaskGroup("g")

    @group.add_task(NEVER)
    async def slow(session: SessionDep, file: Annotated[str, Depends(get_file)]) -> None:
        journal(f"runs with {session} {file}")
        await asyncio.sleep(60)

    async with application(group, shutdown_timeout=0.05) as served:
        await answer(served.client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: any(line.startswith("runs") for line in journal.lines), "it runs")
    assert served.events.of(RunReleased)
    assert journal.lines[-3:] == ["close file", "session sees CancelledError", "close session"]


async def test_a_synchronous_task_that_ends_while_its_worker_stops_is_settled() -> None:
    """As without dependencies: it has no way to notice the stop."""
    group, release = TaskGroup("g"), threading.Event()

    @group.add_task(NEVER)
    def job(session: SessionDep) -> None:
        journal(f"runs with {session}")
        release.wait(20)

    async with application(group, shutdown_timeout=0.05) as served:
        await answer(served.client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: any(line.startswith("runs") for line in journal.lines), "it runs")
        asyncio.get_running_loop().call_later(0.3, release.set)
    assert succeeded(served.events.one(RunSettled))
    assert journal.lines[-1] == "close session"


async def test_an_interruption_while_a_thread_opens_a_generator_closes_it() -> None:
    group, release = TaskGroup("g"), threading.Event()

    def get_slowly() -> Iterator[str]:
        journal("opening")
        release.wait(20)
        try:
            yield "slow"
        except BaseException as error:
            journal(f"sees {type(error).__name__}")
            raise
        finally:
            journal("closed")

    @group.add_task(NEVER, timeout=0.05, retry_backoff=60)
    async def job(slow: str = Depends(get_slowly)) -> None:
        journal(f"runs with {slow}")

    async with application(group) as served:
        await answer(served.client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: journal.lines, "a thread opens it")
        asyncio.get_running_loop().call_later(0.3, release.set)
        (settled,) = await served.settled()
    assert isinstance(settled.error, TimeoutError)
    assert journal.lines == ["opening", "sees CancelledError", "closed"]


@pytest.mark.parametrize("function", both(failing), ids=["async", "sync"])
async def test_a_generator_that_suppresses_the_exception_does_not_make_a_success(function: Callable[..., Any]) -> None:
    async def suppressing() -> AsyncIterator[str]:
        try:
            yield "quiet"
        except ConnectionError:
            journal("suppressed")

    group = TaskGroup("g")
    group.add_task(NEVER, name="task", retry_backoff=60)(function)
    async with application(group) as served:
        served.app.dependency_overrides[get_session] = suppressing
        settled = await served.run("task")
    assert journal.lines[-1] == "suppressed"
    assert isinstance(settled.error, ConnectionError)


async def test_an_error_at_the_end_of_a_dependency_fails_the_attempt() -> None:
    group = TaskGroup("g")

    def committing() -> Iterator[str]:
        yield "session"
        raise ConnectionError("the commit failed")

    @group.add_task(NEVER, retry_backoff=60)
    async def job(session: str = Depends(committing)) -> None:
        journal(session)

    async with application(group) as served:
        settled = await served.run("job")
    assert str(settled.error) == "the commit failed"
    assert isinstance(settled.settlement.outcome, Retried)


async def test_an_error_of_a_dependency_fails_the_attempt_and_closes_those_before_it() -> None:
    group = TaskGroup("g")

    def broken(session: SessionDep) -> str:
        raise StopIteration(session)

    @group.add_task(NEVER, retry_backoff=60)
    async def job(value: str = Depends(broken)) -> None:
        journal(f"runs with {value}")

    async with application(group) as served:
        settled = await served.run("job")
    assert settled.error is not None
    assert journal.lines[-1] == "close session"
    assert not [line for line in journal.lines if line.startswith("runs")]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, StopIteration])
async def test_a_synchronous_task_may_raise_anything(kind: type[BaseException]) -> None:
    group = TaskGroup("g")

    @group.add_task(NEVER, retry_backoff=60)
    def job(file: Annotated[str, Depends(get_file)]) -> None:
        raise kind(file)

    async with application(group) as served:
        settled = await served.run("job")
        assert settled.error is not None
        assert (await served.client.get("/health")).status_code == 200
    assert journal.lines[-1] == "close file"


async def test_a_generator_is_open_until_the_awaitable_of_a_synchronous_task_has_ended() -> None:
    group = TaskGroup("g")

    async def inner(session: str) -> None:
        await asyncio.sleep(0)
        journal(f"runs with {session}")

    group.add_task(NEVER, name="task")(_outer(inner))
    async with application(group) as served:
        assert succeeded(await served.run("task"))
    assert journal.lines[-2:] == ["runs with session(engine(settings))", "close session"]


def _outer(inner: Callable[..., Any]) -> Callable[..., Any]:
    def outer(session: SessionDep) -> Any:
        return inner(session)

    return outer


# -- overrides -----------------------------------------------------------------------------------------------------


async def greet(session: SessionDep) -> None:
    journal(session)


@pytest.mark.parametrize("function", both(greet), ids=["async", "sync"])
async def test_the_overrides_of_the_application_count(function: Callable[..., Any]) -> None:
    def fake_settings() -> Generator[str]:
        journal("open fake")
        yield "fake"
        journal("close fake")

    group = TaskGroup("g")
    group.add_task(NEVER, name="task")(function)
    async with application(group) as served:
        served.app.dependency_overrides[get_settings] = fake_settings
        assert succeeded(await served.run("task"))
        assert journal.lines == [
            "open fake",
            "engine",
            "open session",
            "session(engine(fake))",
            "close session",
            "close fake",
        ]
        served.app.dependency_overrides[get_session] = lambda: "nothing below"
        journal.lines.clear()
        assert succeeded(await served.run("task"))
        assert journal.lines == ["nothing below"]
        served.app.dependency_overrides.clear()
        journal.lines.clear()
        assert succeeded(await served.run("task"))
        assert "session(engine(settings))" in journal.lines


async def test_an_override_may_ask_for_the_context_and_for_dependencies() -> None:
    group = TaskGroup("g")

    async def fake(context: RunContext, settings: Annotated[str, Depends(get_settings)]) -> str:
        return f"{context.task.name} {settings}"

    group.add_task(NEVER, name="task")(greet)
    async with application(group) as served:
        served.app.dependency_overrides[get_session] = fake
        assert succeeded(await served.run("task"))
    assert journal.lines == ["settings", "task settings"]


async def test_an_override_that_needs_a_request_fails_the_attempt_and_says_why() -> None:
    group = TaskGroup("g")

    async def fake(request: Request) -> str:
        return str(request.url)

    group.add_task(NEVER, name="task", retry_backoff=60)(greet)
    async with application(group) as served:
        served.app.dependency_overrides[get_session] = fake
        settled = await served.run("task")
    assert "parameter 'request' of the dependency" in str(settled.error)
    assert "needs the Request of a request" in str(settled.error)


async def test_an_application_without_overrides_runs_tasks_with_dependencies() -> None:
    """An application of Starlette has a lifespan, and no `dependency_overrides`."""
    app, group, events = Starlette(), TaskGroup("g"), Recorder()
    group.add_task("* * * * * *")(traced)
    config = OperationalConfig(**QUICK)
    manager = TaskManager(cast("FastAPI", app), config, backend=MemoryStore().open, observers=[events])
    manager.add_task_group(group)
    async with app.router.lifespan_context(app):
        await wait_until_async(lambda: events.of(RunSettled), "it has run")
    assert succeeded(events.of(RunSettled)[0])


async def test_each_manager_of_a_group_has_the_overrides_of_its_application() -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, name="task")(greet)
    async with application(group) as one, application(group) as other:
        one.app.dependency_overrides[get_session] = lambda: "one"
        other.app.dependency_overrides[get_session] = lambda: "other"
        assert succeeded(await one.run("task"))
        assert succeeded(await other.run("task"))
    assert journal.lines == ["one", "other"]


# -- the run -------------------------------------------------------------------------------------------------------


async def get_tracer(context: RunContext) -> str:
    return f"{context.task.group}/{context.task.name} {context.attempt}"


async def traced(tracer: Annotated[str, Depends(get_tracer)]) -> None:
    journal(tracer)


@pytest.mark.parametrize("function", both(traced), ids=["async", "sync"])
async def test_a_dependency_may_ask_for_the_context(function: Callable[..., Any]) -> None:
    group = TaskGroup("g")
    group.add_task(NEVER, name="task")(function)
    async with application(group) as served:
        assert succeeded(await served.run("task"))
    assert journal.lines == ["g/task 1"]


tenant: ContextVar[str] = ContextVar("tenant", default="none")


async def set_tenant() -> None:
    tenant.set("acme")


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_context_variable_that_a_dependency_sets_is_set_in_the_function(is_async: bool) -> None:
    group = TaskGroup("g")

    async def in_loop(_tenant: Annotated[None, Depends(set_tenant)]) -> None:
        journal(tenant.get())

    def in_thread(_tenant: Annotated[None, Depends(set_tenant)]) -> None:
        journal(tenant.get())

    group.add_task(NEVER, name="task")(in_loop if is_async else in_thread)
    async with application(group) as served:
        assert succeeded(await served.run("task"))
    assert journal.lines == ["acme"]


async def test_synchronous_dependencies_are_called_in_threads() -> None:
    group, threads = TaskGroup("g"), set[threading.Thread]()

    def get_thread() -> Iterator[None]:
        threads.add(threading.current_thread())
        yield
        threads.add(threading.current_thread())

    def get_plainly() -> None:
        threads.add(threading.current_thread())

    @group.add_task(NEVER)
    async def job(_thread: None = Depends(get_thread), _plain: None = Depends(get_plainly)) -> None:
        assert threading.current_thread() is threading.main_thread()

    async with application(group) as served:
        assert succeeded(await served.run("job"))
    assert threads
    assert threading.main_thread() not in threads


async def test_a_limit_of_calls_at_one_time_is_kept_for_all_tasks_that_share_the_depends() -> None:
    """FastAPI has `max_concurrency` in its later versions; in its earlier ones a Depends has no limit."""
    is_known = "max_concurrency" in inspect.signature(Depends).parameters
    expected = 1 if is_known else 3
    group, now, most = TaskGroup("g"), 0, 0

    async def connection() -> AsyncIterator[None]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        # All that may come at one time have come; without a limit, the others get many turns to come, too.
        await wait_until_async(lambda: now >= expected, "the calls overlap")
        for _ in range(50):
            await asyncio.sleep(0)
        yield
        now -= 1

    limit: Any = {"max_concurrency": 1} if is_known else {}
    limited = Depends(connection, **limit)

    async def job(_connection: None = limited) -> None: ...

    for number in range(3):
        group.add_task(NEVER, name=f"task{number}")(job)
    async with application(group, concurrent_tasks=3) as served:
        await answer(served.client, "POST", "/tasks/trigger")
        assert all(map(succeeded, await served.settled(3)))
    assert most == expected


async def test_an_argument_cannot_take_the_place_of_a_dependency() -> None:
    group = TaskGroup("g")

    async def job(session: SessionDep, **more: Any) -> None:
        journal(f"{session} {more}")

    with pytest.raises(DefinitionError, match="'session' is filled with a dependency"):
        group.add_task(NEVER, kwargs={"session": "mine"})(job)
    assert group.tasks == []
    group.add_task(NEVER, kwargs={"other": 1})(job)
    async with application(group) as served:
        refused = await served.client.post("/tasks/trigger", json={"kwargs": {"session": "mine"}})
        assert (refused.status_code, refused.json()["field"]) == (400, "kwargs")
        assert "'session' is filled with a dependency" in refused.json()["detail"]


async def test_a_name_that_only_the_type_checker_knows_does_not_hide_a_dependency() -> None:
    group = TaskGroup("g")

    @group.add_task(NEVER)
    async def job(session: Annotated[Session, Depends(get_session)], other: sessions.deque[int] | None = None) -> None:
        journal(f"{session} {other}")

    async with application(group) as served:
        assert succeeded(await served.run("job"))
    assert "session(engine(settings)) None" in journal.lines


# -- refusals ------------------------------------------------------------------------------------------------------


async def needs_request(request: Request) -> str:
    return str(request.url)


async def through_another(url: Annotated[str, Depends(needs_request)]) -> str:
    return url


def needs_query(q: str) -> str:
    return q


async def with_request(request: Request) -> None: ...
async def with_optional_request(request: Request | None = None) -> None: ...
async def with_response(response: Response) -> None: ...
async def with_websocket(socket: WebSocket) -> None: ...
async def with_connection(connection: HTTPConnection) -> None: ...
async def with_background(tasks: BackgroundTasks) -> None: ...
async def with_scopes(scopes: SecurityScopes) -> None: ...
async def with_upload(upload: UploadFile) -> None: ...
async def with_query(q: Annotated[str, Query()]) -> None: ...
async def with_default_query(q: str = Query("x")) -> None: ...
async def with_header(token: Annotated[str, Header()]) -> None: ...
async def with_cookie(token: Annotated[str, Cookie()]) -> None: ...
async def with_path(item: Annotated[str, Path()]) -> None: ...
async def with_body(item: Annotated[str, Body()]) -> None: ...
async def with_field_default(copies: int = Field(5, gt=0)) -> None: ...
async def below(url: Annotated[str, Depends(through_another)]) -> None: ...
async def below_query(q: Annotated[str, Depends(needs_query)]) -> None: ...
async def of_no_class(session: Annotated[Session, Depends()]) -> None: ...
async def of_no_name(session: Annotated[str, Depends(sessions.OrderedDict)]) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (with_request, "parameter 'request' needs the Request of a request"),
        (with_optional_request, "parameter 'request' needs the Request of a request"),
        (with_response, "parameter 'response' needs the Response of a request"),
        (with_websocket, "parameter 'socket' needs the WebSocket of a request"),
        (with_connection, "parameter 'connection' needs the HTTPConnection of a request"),
        (with_background, "parameter 'tasks' needs the BackgroundTasks of a request"),
        (with_scopes, "parameter 'scopes' needs the SecurityScopes of a request"),
        (with_upload, "parameter 'upload' needs the UploadFile of a request"),
        (with_query, "parameter 'q' is a Query of a request"),
        (with_default_query, "parameter 'q' is a Query of a request"),
        (with_header, "parameter 'token' is a Header of a request"),
        (with_cookie, "parameter 'token' is a Cookie of a request"),
        (with_path, "parameter 'item' is a Path of a request"),
        (with_body, "parameter 'item' is a Body of a request"),
        (with_field_default, "parameter 'copies' has a Field as its default"),
        (below, "parameter 'request' of the dependency 'url' of the dependency 'url' needs the Request of a request"),
        (below_query, "parameter 'q' of the dependency 'q' would come from a request"),
        (of_no_class, "parameter 'session' has a Depends whose dependency is not known"),
        (of_no_name, "parameter 'session' has a Depends whose dependency is not known"),
    ],
)
def test_a_function_that_needs_a_request_is_refused_at_the_decorator(function: Callable[..., Any], said: str) -> None:
    group = TaskGroup("g")
    with pytest.raises(DefinitionError) as refused:
        group.add_task(NEVER, kwargs={})(function)
    assert refused.value.field == "function"
    assert said in refused.value.reason
    assert refused.value.value == function.__name__
    with pytest.raises(DefinitionError):
        group.register_function()(function)
    assert (group.tasks, group.function_registry) == ([], {})
