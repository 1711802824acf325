"""How workers execute tasks: where, how many at a time, in which order, and what they log."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from fastapi import FastAPI

from fastapi_task_manager import Config, OperationalConfig, RunContext, TaskGroup, TaskManager
from fastapi_task_manager.observers.logs import ROOT, LogObserver
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.errors import BackendUnavailable
from task_manager_core.domain.events import Event, TickFailed
from task_manager_core.domain.identity import NodeId
from task_manager_memory import MemoryStore
from tests.adapters.fastapi.application import QUICK, answer, build, serving
from tests.adapters.fastapi.unstable_store import Link, SwitchedStore
from tests.waiting import wait_until_async

SECRET = "hunter2"


async def test_synchronous_functions_run_in_threads_and_asynchronous_ones_in_the_loop() -> None:
    threads: dict[str, threading.Thread] = {}
    group = TaskGroup("g")

    @group.add_task("* * * * * *")
    def in_thread() -> None:
        threads["sync"] = threading.current_thread()

    @group.add_task("* * * * * *")
    async def in_loop() -> None:
        threads["async"] = threading.current_thread()

    app, _ = build(group)
    async with serving(app):
        await wait_until_async(lambda: len(threads) == 2, "both have run")
    assert threads["async"] is threading.current_thread()
    assert threads["sync"] is not threading.current_thread()


async def test_a_synchronous_task_does_not_block_the_application() -> None:
    release = threading.Event()
    started = threading.Event()
    group = TaskGroup("g")

    @group.add_task("* * * * * *", allow_parallel=False)
    def blocking() -> None:
        started.set()
        release.wait(20)

    app, _ = build(group)
    async with serving(app) as client:
        await wait_until_async(started.is_set, "it blocks a thread")
        assert (await client.get("/health")).status_code == 200
        release.set()


async def test_at_most_concurrent_tasks_runs_execute_at_a_time() -> None:
    running = 0
    most = 0
    done = 0
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", kwargs=[{"number": number} for number in range(9)])
    async def job(number: int) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01 + number / 1000)
        running -= 1
        done += 1

    app, _ = build(group, concurrent_tasks=3)
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: done == 9, "all have run")
    assert most == 3


async def test_runs_of_high_priority_start_before_runs_of_low_priority() -> None:
    order: list[str] = []
    gate = asyncio.Event()
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", tags=["first"])
    async def gatekeeper() -> None:
        await gate.wait()

    for name, high in (("low 1", False), ("high 1", True), ("low 2", False), ("high 2", True)):

        @group.add_task("0 0 1 1 *", name=name, tags=["later"], high_priority=high, kwargs={"name": name})
        async def job(name: str) -> None:
            order.append(name)

    app, _ = build(group, concurrent_tasks=1)
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger", params={"tag": "first"})
        await wait_until_async(lambda: _is_running(client, "gatekeeper"), "the only worker slot is busy")
        for name in ("low 1", "high 1", "low 2", "high 2"):
            await answer(client, "POST", "/tasks/trigger", params={"task_name": name})
        gate.set()
        await wait_until_async(lambda: len(order) == 4, "all have run")
    assert order == ["high 1", "high 2", "low 1", "low 2"]


async def test_a_run_that_a_busy_worker_reaches_too_late_expires_and_explain_reports_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = asyncio.Event()
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", name="gatekeeper")
    async def gatekeeper() -> None:
        await gate.wait()

    group.add_task("* * * * * *", name="urgent", start_deadline=0.2, allow_parallel=False)(lambda: None)

    app, _ = build(group, concurrent_tasks=1)
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "gatekeeper"})
        await wait_until_async(lambda: _is_running(client, "gatekeeper"), "the only worker slot is busy")
        await wait_until_async(lambda: _explained(client, "has expired"), "a run has waited too long")
        gate.set()
        await wait_until_async(lambda: _lines(caplog, "consumer", "expired g/urgent run"), "the expiry is logged")
        runs = (await answer(client, "GET", "/tasks/g/urgent/statistics"))["runs"]
    (line, *_) = _lines(caplog, "consumer", "expired g/urgent run")
    assert line.levelno == logging.WARNING
    assert re.search(r"attempt 1: [\d.]+ s too late to start$", line.getMessage())
    (run, *_) = [run for run in runs if run["status"] == "expired"]
    assert (run["durations_second"], run["attempt"], run["error_type"]) == (0.0, 1, None)


async def _explained(client: Any, text: str) -> bool:
    explanation = await answer(client, "GET", "/tasks/g/urgent/explain")
    return any(text in reason["text"] for reason in explanation["reasons"])


async def _is_running(client: Any, name: str) -> bool:
    (task,) = await answer(client, "GET", "/tasks", params={"name": name})
    return bool(task["is_running"])


async def test_a_run_of_an_unknown_task_stays_queued_although_a_known_function_has_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In a rolling deploy that adds a tenant, a process of the older version leaves such a run to the newer ones."""
    caplog.set_level(logging.INFO, ROOT)
    store, billed = MemoryStore(), list[tuple[str, str]]()

    def version(*tenants: str) -> FastAPI:
        group = TaskGroup("Bills")

        def declare(tenant: str) -> None:
            @group.add_task("0 0 1 1 *", name=tenant)
            async def bill(context: RunContext) -> None:
                billed.append((tenant, context.task.name))

        for tenant in tenants:
            declare(tenant)
        return build(group, backend=store.open)[0]

    async with serving(version("acme", "globex")):
        pass
    async with serving(version("acme")) as client:
        await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: billed, "its own task is executed")
        (task,) = await answer(client, "GET", "/tasks", params={"name": "globex"})
    assert billed == [("acme", "acme")]
    assert not task["is_running"]
    async with serving(version("acme", "globex")):
        await wait_until_async(lambda: billed[1:], "a newer process executes the run")
    assert billed[1:] == [("globex", "globex")]
    assert not _lines(caplog, "consumer", "released Bills/globex")


async def test_tasks_do_not_run_on_the_first_start_unless_they_ask_for_it() -> None:
    ran: list[str] = []
    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="waits")(lambda: ran.append("waits"))
    group.add_task("0 0 1 1 *", name="at once", run_on_start=True)(lambda: ran.append("at once"))
    app, _ = build(group)
    async with serving(app):
        await wait_until_async(lambda: ran, "one runs")
    assert ran == ["at once"]


async def test_a_failed_run_is_executed_again_until_it_succeeds() -> None:
    attempts: list[float] = []
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", name="n", retry_backoff=0.02, retry_backoff_max=0.05)
    async def flaky() -> None:
        attempts.append(time.monotonic())
        if len(attempts) < 4:
            raise OSError("not yet")

    app, _ = build(group)
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: len(attempts) == 4, "the fourth attempt")
        await wait_until_async(lambda: _statuses(client, 4), "recorded")
        assert await _all_statuses(client) == ["succeeded", "retried", "retried", "retried"]


async def _all_statuses(client: Any) -> list[str]:
    return [run["status"] for run in (await answer(client, "GET", "/tasks/g/n/statistics"))["runs"]]


async def _statuses(client: Any, count: int) -> bool:
    return len(await _all_statuses(client)) == count


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_retries": 0}, OSError),
        ({"no_retry_on": [OSError]}, ConnectionError),
        ({"retry_on": ["builtins.ValueError"]}, OSError),
        ({"retry_on": ValueError}, OSError),
    ],
)
async def test_a_failure_without_retries_is_final(options: Any, error: type[Exception]) -> None:
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", name="n", **options)
    async def failing() -> None:
        raise error("for good")

    app, _ = build(group)
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: _statuses(client, 1), "recorded")
        assert await _all_statuses(client) == ["failed"]


async def test_a_run_that_exceeds_its_timeout_fails() -> None:
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", name="n", timeout=0.05, max_retries=0)
    async def slow() -> None:
        await asyncio.Event().wait()

    app, _ = build(group)
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger")
        await wait_until_async(lambda: _statuses(client, 1), "recorded")
        (run,) = (await answer(client, "GET", "/tasks/g/n/statistics"))["runs"]
        assert (run["status"], "0.05" in run["error_message"]) == ("failed", True)


# -- the log ----------------------------------------------------------------------------------------------------------


def _lines(caplog: pytest.LogCaptureFixture, component: str, text: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == f"{ROOT}.{component}" and text in record.getMessage()]


async def test_the_log_has_one_line_for_each_dispatch_failure_and_change_of_leadership(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, ROOT)
    group = TaskGroup("g")

    @group.add_task("* * * * * *", name="n", retry_backoff=30)
    async def failing() -> None:
        raise ValueError("the reason")

    app, _ = build(group)
    async with serving(app):
        await wait_until_async(lambda: _lines(caplog, "consumer", "failed g/n run"), "the failure is logged")
    won, ended = _lines(caplog, "leader", " leads, term")
    assert "no longer leads" in ended.getMessage()
    (failed,) = _lines(caplog, "consumer", "failed g/n run")
    assert (won.levelno, ended.levelno, failed.levelno) == (logging.INFO, logging.INFO, logging.WARNING)
    assert _lines(caplog, "coordinator", "dispatched g/n run")[0].levelno == logging.DEBUG
    assert failed.exc_info is not None
    assert "ValueError: the reason" in caplog.text
    assert 'raise ValueError("the reason")' in caplog.text


async def test_a_line_about_an_attempt_has_the_fields_of_a_line_of_its_task(caplog: pytest.LogCaptureFixture) -> None:
    """A reader of a structured log finds everything about a run by its id."""
    caplog.set_level(logging.DEBUG, ROOT)
    group = TaskGroup("g")

    @group.add_task("* * * * * *", name="n", retry_backoff=30)
    async def failing(context: RunContext) -> None:
        context.logger.info("begun")
        raise ValueError

    app, _ = build(group)
    async with serving(app):
        await wait_until_async(lambda: _lines(caplog, "consumer", "failed g/n run"), "the failure is logged")
    ordinary = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}

    def fields(component: str, text: str) -> dict[str, object]:
        (record, *_) = _lines(caplog, component, text)
        return {name: value for name, value in vars(record).items() if name not in ordinary}

    own = fields("runner", "begun")
    assert own.keys() == {"task", "run_id", "slot", "attempt", "fencing_token", "worker"}
    assert fields("consumer", "started g/n run") == fields("consumer", "failed g/n run") == own
    run = {name: own[name] for name in ("task", "run_id", "slot")}
    assert fields("coordinator", f"dispatched g/n run {own['run_id']}") == run


async def test_a_long_message_fills_neither_the_log_nor_the_history(caplog: pytest.LogCaptureFixture) -> None:
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", name="n", max_retries=0)
    async def failing() -> None:
        raise ValueError("x" * 5_000_000) from KeyError("y" * 5_000_000)

    app, _ = build(group)
    async with serving(app) as client:
        await answer(client, "POST", "/tasks/trigger", params={"task_name": "n"})
        await wait_until_async(lambda: _lines(caplog, "consumer", "failed g/n run"), "the failure is logged")
        (failed,) = _lines(caplog, "consumer", "failed g/n run")
        (run,) = (await answer(client, "GET", "/tasks/g/n/statistics"))["runs"]
    logged = logging.Formatter().format(failed)
    for text in (logged, run["error_traceback"]):
        assert len(text) < 10_000
        assert "in failing" in text
        assert "ValueError: xxx" in text
    assert isinstance(failed.exc_info, tuple)
    assert failed.exc_info[0] is ValueError


async def test_an_exception_that_cannot_be_shown_is_logged_and_its_worker_slot_is_released(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = TaskGroup("g")

    @group.add_task("0 0 1 1 *", name="n", max_retries=0)
    async def failing() -> None:
        a_text_for_a_number: Any = ("page.html", 1, "7", "{% x")
        raise SyntaxError("cannot parse", a_text_for_a_number)

    app, _ = build(group, concurrent_tasks=1)
    async with serving(app) as client:
        for _ in range(2):
            await answer(client, "POST", "/tasks/trigger", params={"task_name": "n"})
        await wait_until_async(lambda: len(_lines(caplog, "consumer", "for good")) == 2, "both are logged")
        runs = (await answer(client, "GET", "/tasks/g/n/statistics"))["runs"]
    assert [(run["status"], run["error_type"]) for run in runs] == [("failed", "SyntaxError")] * 2
    for record in _lines(caplog, "consumer", "for good"):
        assert "in failing" in logging.Formatter().format(record)


async def test_an_observer_that_raises_does_not_stop_the_node(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def notice(self, event: Event) -> NoReturn:
            raise ZeroDivisionError

    group = TaskGroup("g")
    done: list[int] = []
    group.add_task("* * * * * *", name="n")(lambda: done.append(1))
    app = FastAPI()
    manager = TaskManager(app, OperationalConfig(**QUICK), backend=MemoryStore().open, observers=[Broken()])
    manager.add_task_group(group)
    async with app.router.lifespan_context(app):
        await wait_until_async(lambda: len(done) >= 2, "the task runs again and again")
        assert await manager.is_healthy()
    assert _lines(caplog, "runner", "Broken raised an exception about RunSettled")


async def test_an_unreachable_store_is_logged_less_and_less_often(caplog: pytest.LogCaptureFixture) -> None:
    observer = LogObserver()
    for repeats in range(1, 101):
        observer.notice(
            TickFailed(
                node=NodeId("n"),
                service="elector",
                error=BackendUnavailable("refused"),
                repeats=repeats,
                retry_in=timedelta(seconds=1),
            )
        )
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len([1, 2, 4, 8, 16, 32, 64])
    assert "64 in a row" in messages[-1]
    assert caplog.records[0].name == f"{ROOT}.leader"


async def test_recovery_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, ROOT)
    store = SwitchedStore(Link.DOWN)
    app, manager = build(backend=store.open)
    async with serving(app):
        store.link = Link.UP
        await wait_until_async(manager.is_healthy, "healthy")
        await wait_until_async(lambda: _lines(caplog, "leader", "works again"), "the recovery is logged")


async def test_changes_through_the_api_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, ROOT)
    group = TaskGroup("g")
    group.add_task("0 0 1 1 *", name="n")(lambda: None)
    app, _ = build(group)
    async with serving(app) as client:
        await client.get("/tasks")
        await client.post("/tasks/disable")
        await client.delete("/tasks/statistics")
    assert [record.getMessage() for record in _lines(caplog, "api", "")] == [
        "POST /task-manager/tasks/disable by 127.0.0.1: 200, 1 tasks: g/n",
        "DELETE /task-manager/tasks/statistics by 127.0.0.1: 200, 1 tasks: g/n",
    ]
    assert _lines(caplog, "statistics", "cleared the history of 1 tasks")


def test_the_library_sets_no_levels() -> None:
    components = ("runner", "leader", "coordinator", "consumer", "reconciler", "group", "api", "statistics")
    for name in (ROOT, *(f"{ROOT}.{component}" for component in components)):
        logger = logging.getLogger(name)
        assert (logger.level, logger.handlers) == (logging.NOTSET, [])


async def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No Redis listens at this address. Every field that takes a password has one."""
    caplog.set_level(logging.DEBUG)
    config = Config(
        redis_host=f"redis://user:{SECRET}@127.0.0.1:1/0",
        redis_password=SECRET,
        start_timeout=0.3,
        **QUICK,
    )
    manager = TaskManager(config=config)
    with pytest.raises(RuntimeError) as caught:
        await manager.start()
    assert "127.0.0.1:1" in str(caught.value)
    assert SECRET not in caplog.text + str(caught.value) + repr(caught.value)


def test_a_registry_is_filled_before_the_node_starts() -> None:
    group = TaskGroup("g")
    group.add_task("* * * * *", name="n")(lambda: None)
    manager = TaskManager(backend=MemoryStore().open)
    manager.add_task_group(group)
    declarations: Declarations = manager._groups.declarations
    assert [str(key) for key in declarations.declared] == ["g/n"]
