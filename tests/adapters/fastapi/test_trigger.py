"""Runs that code asks for: `manager.trigger` and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

import pytest
from fastapi import Depends, FastAPI

from fastapi_task_manager import (
    BlockingRunHandle,
    InvalidArguments,
    InvalidPolicy,
    Progress,
    RequestReused,
    ResultNotKept,
    RunContext,
    RunFailed,
    RunHandle,
    RunNotFound,
    RunState,
    TaskGroup,
    TaskManager,
    TaskNotFound,
)
from task_manager_core.application.control import Selection
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import TaskKey
from task_manager_core.ports import OpenBackend
from tests.adapters.fastapi.application import answer, build, serving
from tests.waiting import wait_until_async

IN_A_YEAR = "0 0 1 1 *"
LONG = 30.0


def managed(group: TaskGroup, open_backend: OpenBackend | None = None, **config: Any) -> TaskManager:
    _, manager = build(group, backend=open_backend, **config)
    return manager


@asynccontextmanager
async def running(manager: TaskManager) -> AsyncGenerator[TaskManager]:
    await manager.start()
    try:
        yield manager
    finally:
        await manager.stop()


async def state_reached(run: RunHandle, state: RunState) -> None:
    async def is_reached() -> bool:
        return await run.status() is state

    await wait_until_async(is_reached, f"the run is {state.value}")


def session() -> str:
    return "session"


async def test_a_task_runs_on_request_with_the_given_arguments(open_backend: OpenBackend) -> None:
    greeted: list[str] = []
    group = TaskGroup("Greetings")

    @group.add_task()
    async def hello(name: str, *, punctuation: str = "!") -> None:
        greeted.append(name + punctuation)

    async with running(managed(group, open_backend)) as manager:
        first = await manager.trigger(hello, name="reader")
        assert await first.wait(LONG) is RunState.SUCCEEDED
        second = await manager.trigger(hello, "writer", punctuation="?")
        assert await second.result(LONG) is None
        third = await manager.trigger(("Greetings", "hello"), name="editor")
        assert await third.status() in RunState
        assert await third.wait(timedelta(seconds=LONG)) is RunState.SUCCEEDED
        assert first.run_id != second.run_id
        assert first.task == ("Greetings", "hello")
        assert repr(first) == f"RunHandle(task=('Greetings', 'hello'), run_id={first.run_id!r})"
        assert await manager.run_handle(hello, first.run_id).status() is RunState.SUCCEEDED
    await hello("direct")  # The decorated function stays itself.
    assert greeted == ["reader!", "writer?", "editor!", "direct!"]


async def test_arguments_are_values_of_the_annotated_types(open_backend: OpenBackend) -> None:
    seen: list[object] = []
    group = TaskGroup("g")

    @group.add_task(IN_A_YEAR, kwargs={"day": date(2026, 1, 1)})
    async def close(day: date) -> None:
        seen.append(day)

    async with running(managed(group, open_backend)) as manager:
        await (await manager.trigger(close, day=date(2026, 3, 1))).wait(LONG)
        await (await manager.trigger(("g", "close"))).wait(LONG)
    assert seen == [date(2026, 3, 1), date(2026, 1, 1)]


async def test_the_caller_leaves_out_what_a_worker_fills() -> None:
    seen: list[object] = []
    group = TaskGroup("g")

    @group.add_task()
    async def work(context: RunContext, number: int, db: str = Depends(session)) -> None:
        seen.append((context.run_id, number, db))

    @group.add_task()
    async def annotated(db: Annotated[str, Depends(session)], number: int) -> None:
        seen.append((number, db))

    async with running(managed(group)) as manager:
        run = await manager.trigger(work, 4)
        await run.wait(LONG)
        await (await manager.trigger(("g", "annotated"), number=5)).wait(LONG)
        with pytest.raises(InvalidArguments, match="'context' is filled with the RunContext"):
            await manager.trigger(("g", "work"), context=None, number=4)
        with pytest.raises(InvalidArguments, match="'db' is filled with a dependency"):
            await manager.trigger(work, 4, db="mine")
    assert seen == [(run.run_id, 4, "session"), (5, "session")]


async def test_type_checkers_know_the_parameters() -> None:
    """Every wrong call has an ignore, and a checker refuses an ignore that it does not need."""
    group = TaskGroup("g")

    @group.add_task()
    async def work(context: RunContext, number: int, *, text: str = "") -> None: ...

    @group.add_task()
    def plain(number: int = 1) -> int:
        return number

    async with running(managed(group)) as manager:
        await manager.trigger(work, 4, text="x")
        await manager.trigger(work, number=4)
        await manager.with_options(priority="low").trigger(plain)
        with pytest.raises(InvalidArguments):
            await manager.trigger(work, number="many")  # type: ignore[call-overload]
        with pytest.raises(InvalidArguments):
            await manager.trigger(plain, numbr=5)  # type: ignore[call-overload]
        with pytest.raises(InvalidPolicy):
            manager.with_options(priority="urgent")  # type: ignore[arg-type]


async def test_the_result_of_a_failed_run_is_its_error(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")

    @group.add_task(max_retries=1)
    async def broken() -> None:
        raise ValueError("no such invoice")

    async with running(managed(group, open_backend)) as manager:
        run = await manager.trigger(broken)
        with pytest.raises(RunFailed, match=r"failed: .*ValueError: no such invoice") as caught:
            await run.result(LONG)
        assert await run.status() is RunState.FAILED
    assert caught.value.run == run.run_id
    assert caught.value.state == "failed"
    assert (caught.value.error_type or "").endswith("ValueError")
    assert caught.value.message == "no such invoice"


async def test_the_result_of_a_run_is_what_its_function_returned(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")

    @group.add_task()
    async def total(prices: list[int]) -> dict[str, int]:
        return {"total": sum(prices)}

    @group.add_task()
    def much() -> str:
        return "x" * 40_000

    async with running(managed(group, open_backend)) as manager:
        assert await (await manager.trigger(total, [3, 4])).result(LONG) == {"total": 7}
        with pytest.raises(ResultNotKept, match="was not kept") as caught:
            await (await manager.trigger(much)).result(LONG)
    assert (caught.value.type_name, caught.value.size) == ("str", None)


async def test_a_run_is_cancelled_through_its_handle(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    started = asyncio.Event()

    @group.add_task()
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    async with running(managed(group, open_backend)) as manager:
        run = await manager.trigger(endless)
        await started.wait()
        with pytest.raises(TimeoutError):
            await run.wait(0.05)
        assert await run.status() is RunState.RUNNING
        assert await run.cancel()
        assert await run.wait(LONG) is RunState.CANCELLED
        assert not await run.cancel()
        with pytest.raises(RunFailed, match="was cancelled"):
            await run.result()


async def test_a_handle_shows_the_progress_of_its_run(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    release = asyncio.Event()

    @group.add_task()
    async def load(context: RunContext) -> None:
        context.progress(1, 3, "the first")
        context.log("begun")
        await release.wait()

    async with running(managed(group, open_backend)) as manager:
        run = await manager.trigger(load)

        async def is_reported() -> bool:
            return await run.progress() is not None

        await wait_until_async(is_reported, "the progress is in the store")
        assert await run.progress() == Progress(done=1, total=3, text="the first", lines=("begun",))
        release.set()
        await run.wait(LONG)
        assert await run.progress() is None
        assert await manager.run_handle(load, "unknown").progress() is None


async def test_a_run_that_has_not_started_in_time_expires(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    calls: list[str] = []

    @group.add_task()
    async def late() -> None:
        calls.append("late")

    async with running(managed(group, open_backend)) as manager:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        run = await manager.with_options(expires=past).trigger(late)
        assert await run.wait(LONG) is RunState.EXPIRED
        with pytest.raises(RunFailed, match="was not started in time"):
            await run.result()
        in_time = await manager.with_options(expires=timedelta(hours=1)).trigger(late)
        assert await in_time.wait(LONG) is RunState.SUCCEEDED
    assert calls == ["late"]


async def test_a_repeated_request_with_an_idempotency_key_is_the_same_run(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    calls: list[int] = []

    @group.add_task()
    async def book(number: int) -> None:
        calls.append(number)

    async with running(managed(group, open_backend)) as manager:
        once = manager.with_options(idempotency_key="order 7")
        first = await once.trigger(book, 1)
        await first.wait(LONG)
        again = await once.trigger(book, number=1)
        assert again.run_id == first.run_id
        assert await again.wait(LONG) is RunState.SUCCEEDED
        with pytest.raises(RequestReused):
            await once.trigger(book, 2)
    assert calls == [1]


async def test_a_run_of_high_priority_is_claimed_first(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    order: list[str] = []
    release = asyncio.Event()

    @group.add_task()
    async def hold() -> None:
        await release.wait()

    @group.add_task()
    async def note(name: str) -> None:
        order.append(name)

    async with running(managed(group, open_backend, concurrent_tasks=1)) as manager:
        held = await manager.trigger(hold)
        await state_reached(held, RunState.RUNNING)
        runs = [await manager.trigger(note, "low"), await manager.with_options(priority="high").trigger(note, "high")]
        release.set()
        for run in runs:
            await run.wait(LONG)
    assert order == ["high", "low"]


async def test_a_registered_function_gets_a_task_with_its_first_run(open_backend: OpenBackend) -> None:
    group = TaskGroup("g", tags=["all"])
    sent: list[str] = []

    @group.register_function()
    async def send(recipient: str) -> None:
        sent.append(recipient)

    async with running(managed(group, open_backend)) as manager:
        assert [task.name for task in group.tasks] == []
        runs = await asyncio.gather(*(manager.trigger(send, f"r{number}") for number in range(5)))
        for run in runs:
            assert await run.wait(LONG) is RunState.SUCCEEDED
        await (await manager.trigger(("g", "send"), recipient="r5")).wait(LONG)
        (task,) = group.tasks
        assert (task.name, task.expression, task.dynamic, task.tags) == ("send", "no schedule", True, ["all"])
        (status,), _ = await manager.control.list_tasks(manager.control.select(Selection()))
        assert status.view.live == ()
    assert sorted(sent) == [f"r{number}" for number in range(6)]


async def test_a_task_without_a_schedule_says_so() -> None:
    group = TaskGroup("g")

    @group.add_task()
    async def on_request(number: int) -> None: ...

    app, manager = build(group)
    async with serving(app) as client:
        (row,) = await answer(client, "GET", "/tasks")
        assert (row["expression"], row["next_run"], row["is_active"]) == ("no schedule", None, True)
        explained = await manager.explain("g", "on_request")
        assert explained.next_slot is None
        assert [(one.code.value, one.text) for one in explained.reasons] == [
            ("no_schedule", "the task has no schedule: it runs when it is triggered")
        ]
        refused = await client.post("/tasks/trigger", params={"task_name": "on_request"})
        assert refused.status_code == 400
        assert "missing a required argument: 'number'" in refused.json()["detail"]
        triggered = await client.post(
            "/tasks/trigger", params={"task_name": "on_request"}, json={"kwargs": {"number": 1}}
        )
        assert triggered.status_code == 200


class Compared:
    """A callable that counts how often it is compared."""

    def __init__(self) -> None:
        self.comparisons = 0

    def __eq__(self, other: object) -> bool:
        self.comparisons += 1
        return self is other

    def __hash__(self) -> int:
        return id(self)

    async def __call__(self) -> None: ...


async def test_a_function_is_found_without_a_look_at_each_of_the_others() -> None:
    group = TaskGroup("g")
    calls = [Compared() for _ in range(50)]
    for number, call in enumerate(calls):
        group.add_task(IN_A_YEAR, name=f"t{number}")(call)
    async with running(managed(group)) as manager:
        await manager.trigger(calls[-1])
        before = sum(call.comparisons for call in calls)
        await manager.trigger(calls[-1])
        assert sum(call.comparisons for call in calls) - before <= 5


async def test_a_callable_without_a_hash_is_triggerable() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        async def __call__(self) -> str:
            return "called"

    group, call = TaskGroup("g"), Unhashable()
    group.add_task(IN_A_YEAR, name="t")(call)
    async with running(managed(group)) as manager:
        assert await (await manager.trigger(call)).result() == "called"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"jitter": 5}, "jitter"),
        ({"start_at": datetime(2030, 1, 1, tzinfo=UTC)}, "start_at"),
        ({"timezone": "Europe/Rome"}, "timezone"),
        ({"phase": 5}, "phase"),
        ({"run_on_start": True}, "run_on_start"),
    ],
)
def test_a_task_without_a_schedule_refuses_options_about_slots(options: dict[str, Any], field: str) -> None:
    group = TaskGroup("g")
    with pytest.raises(InvalidPolicy) as caught:
        group.add_task(**options)(lambda: None)
    assert caught.value.field == field
    assert group.tasks == []


async def test_a_blocking_twin_serves_threads(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    handles: list[BlockingRunHandle] = []

    @group.add_task()
    async def inner(number: int) -> None: ...

    manager = managed(group, open_backend)

    @group.add_task()
    def outer() -> None:
        run = manager.trigger_sync(inner, 3)
        assert run.wait(LONG) is RunState.SUCCEEDED
        assert run.status() is RunState.SUCCEEDED
        assert run.result() is None
        assert run.progress() is None
        assert not run.cancel()
        handles.append(run)

    app = FastAPI()
    manager.append_to_app_lifecycle(app)

    @app.get("/task-manager/sync")
    def endpoint() -> str:
        return manager.with_options(priority="high").trigger_sync(("g", "inner"), number=4).run_id

    async with serving(app) as client:
        assert await (await manager.trigger(outer)).wait(LONG) is RunState.SUCCEEDED
        run_id = await answer(client, "GET", "/sync")
        assert await manager.run_handle(inner, run_id).wait(LONG) is RunState.SUCCEEDED
        with pytest.raises(RuntimeError, match=r"trigger_sync\(\) would block the event loop"):
            manager.trigger_sync(inner, 3)
        with pytest.raises(RuntimeError, match=r"wait\(\) would block the event loop"):
            handles[0].wait()
    with pytest.raises(RuntimeError, match="is not running"):
        await asyncio.to_thread(manager.trigger_sync, inner, 3)


async def test_a_refused_request_names_what_is_wrong_and_leaves_nothing_behind(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")

    @group.add_task()
    async def work(number: int) -> None: ...

    @group.add_task([IN_A_YEAR, IN_A_YEAR])
    async def twice() -> None: ...

    @group.register_function()
    async def registered(number: int) -> None: ...

    async def foreign() -> None: ...

    untyped: Any
    async with running(managed(group, open_backend)) as manager:
        untyped = manager
        for arguments, words in (
            ({"number": 1, "nummer": 1}, "got an unexpected keyword argument 'nummer'"),
            ({"number": "x"}, "'number': Input should be a valid integer"),
            ({}, "missing a required argument: 'number'"),
        ):
            with pytest.raises(InvalidArguments, match=words):
                await untyped.trigger(work, **arguments)
        with pytest.raises(InvalidArguments, match=r"work\(\) takes 1 by position"):
            await untyped.trigger(work, 1, 2)
        with pytest.raises(InvalidArguments, match="'number' is given by position and by name"):
            await untyped.trigger(work, 1, number=2)
        with pytest.raises(DefinitionError, match=r"several tasks; name one of them: \('g', 'twice__1'\), \('g', 'tw"):
            await manager.trigger(twice)
        with pytest.raises(DefinitionError, match="task='foreign': no group of this manager"):
            await manager.trigger(foreign)
        for name in (("g", "nothing"), ("nowhere", "work")):
            with pytest.raises(TaskNotFound):
                await manager.trigger(name)
        for nonsense in (("g",), 5, "work"):
            with pytest.raises(TypeError, match=r"task must be a function or \(group, name\)"):
                await untyped.trigger(nonsense)
        for option, value in (
            ("idempotency_key", ""),
            ("idempotency_key", 5),
            ("priority", "urgent"),
            ("expires", 0),
            ("delay", -1),
            ("delay", "soon"),
            ("at", datetime(2030, 1, 1)),  # noqa: DTZ001 - without a time zone it is refused
            ("expires", datetime(2030, 1, 1)),  # noqa: DTZ001 - without a time zone it is refused
        ):
            with pytest.raises(InvalidPolicy) as caught:
                untyped.with_options(**{option: value})
            assert caught.value.field == option
        with pytest.raises(RunNotFound):
            await manager.run_handle(work, uuid4().hex).status()
        keys = {TaskKey("g", name) for name in ("work", "twice__1", "twice__2")}
        statuses, _ = await manager.control.list_tasks(manager.control.select(Selection()))
        assert {one.view.key for one in statuses} == keys
        assert all(one.view.live == () for one in statuses)
        assert all([await manager.control.history(key, 5) == () for key in keys])
    with pytest.raises(RuntimeError, match="is not running"):
        await manager.trigger(work, 1)


async def test_a_request_ends_no_backoff_of_other_runs() -> None:
    group = TaskGroup("g")
    attempts: list[int] = []

    @group.add_task(retry_backoff=3600, retry_backoff_max=3600)
    async def work(number: int) -> None:
        attempts.append(number)
        if number == 0:
            raise ValueError

    async with running(managed(group)) as manager:
        failing = await manager.trigger(work, 0)
        await state_reached(failing, RunState.WAITING)
        await (await manager.trigger(work, 1)).wait(LONG)
        assert await failing.status() is RunState.WAITING
    assert attempts == [0, 1]


async def test_a_delayed_run_waits_in_the_store(open_backend: OpenBackend) -> None:
    group = TaskGroup("g")
    calls: list[int] = []

    @group.add_task()
    async def later(number: int) -> None:
        calls.append(number)

    async with running(managed(group, open_backend)) as manager:
        soon = await manager.with_options(delay=timedelta(milliseconds=150)).trigger(later, 1)
        in_an_hour = await manager.with_options(at=datetime.now(UTC) + timedelta(hours=1)).trigger(later, 2)
        assert await in_an_hour.status() is RunState.WAITING
        assert await soon.wait(LONG) is RunState.SUCCEEDED
        past = await manager.with_options(at=datetime(2020, 1, 1, tzinfo=UTC), expires=LONG).trigger(later, 3)
        assert await past.wait(LONG) is RunState.SUCCEEDED
        await manager.control.trigger([TaskKey("g", "later")], "over REST", {"number": 4})
        assert await in_an_hour.status() is RunState.WAITING
        assert await in_an_hour.cancel()
        assert await in_an_hour.status() is RunState.CANCELLED
    assert 2 not in calls


@pytest.mark.parametrize(
    ("options", "words"),
    [({"allow_parallel": False}, "one live run at a time"), ({"max_instances": 3}, "at most 3 live runs at a time")],
)
async def test_a_task_with_a_limit_of_live_runs_refuses_a_delay(options: Any, words: str) -> None:
    group = TaskGroup("g")

    @group.add_task(**options)
    async def alone() -> None: ...

    async with running(managed(group)) as manager:
        with pytest.raises(InvalidPolicy, match=words) as caught:
            await manager.with_options(delay=5).trigger(alone)
        assert caught.value.field == "delay"
        assert await manager.control.history(TaskKey("g", "alone"), 1) == ()
        await (await manager.with_options(delay=0).trigger(alone)).wait(LONG)
