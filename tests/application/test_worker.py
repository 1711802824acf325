"""Claiming, executing and settling. What a task does wrong is its failure, whatever it is."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.application.failure import LONGEST_MESSAGE, LONGEST_TRACEBACK
from task_manager_core.application.function import AnyFunction
from task_manager_core.domain.events import RunReleased, RunSettled, RunStarted
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Priority, RetryPolicy
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Failure, RunState
from tests.application.world import KEY, LOGGER, NOON, SECOND, Process, World, a_task, live, queued

TEN_MILLISECONDS = timedelta(milliseconds=10)


async def records(world: World) -> list[AttemptRecord]:
    return list(await world.backend.history.read(KEY, 100))


async def failure(world: World) -> Failure:
    newest = (await records(world))[0].failure
    assert newest is not None
    return newest


# --- executing -------------------------------------------------------------------------------------------------------


async def test_an_async_function_runs_in_the_loop_and_its_run_ends_once_it_is_settled(world: World) -> None:
    ran: list[object] = []

    async def call() -> None:
        ran.append(asyncio.get_running_loop())

    process = await queued(world, call)
    assert await process.node.worker.claim() == 0.0
    assert process.events.one(RunStarted).claim.attempt == 1
    await process.ended()
    assert ran == [asyncio.get_running_loop()]
    assert [run.state for run in await live(world)] == [RunState.RUNNING]
    assert await process.node.worker.settle() == 0.0
    assert (await live(world), [record.status for record in await records(world)]) == ([], [AttemptStatus.SUCCEEDED])
    assert process.events.one(RunSettled).error is None
    assert await process.node.worker.settle() is None


async def test_a_sync_function_runs_in_a_daemon_thread_with_the_context_of_the_caller(world: World) -> None:
    colour = contextvars.ContextVar("colour", default="none")
    seen: list[tuple[bool, bool, str]] = []

    def call() -> None:
        thread = threading.current_thread()
        seen.append((thread is threading.main_thread(), thread.daemon, colour.get()))

    process = await queued(world, call)
    colour.set("blue")
    await process.work()
    assert seen == [(False, True, "blue")]


async def test_an_awaitable_that_a_sync_function_returns_is_awaited(world: World) -> None:
    ran: list[str] = []

    async def inner() -> None:
        ran.append("inner")

    def returns_awaitable() -> Awaitable[None]:
        return inner()

    await (await queued(world, returns_awaitable)).work()
    assert ran == ["inner"]


async def test_a_task_gets_its_arguments_and_its_context(world: World) -> None:
    seen: list[tuple[int, RunContext]] = []

    async def call(number: int, context: RunContext) -> None:
        seen.append((number, context))

    process = await queued(world, call, a_task(kwargs={"number": 7}, timeout=SECOND))
    await process.work()
    ((number, context),) = seen
    claim = process.events.one(RunStarted).claim
    assert (number, context.task, context.run_id, context.slot) == (7, KEY, claim.run.id, None)
    assert (context.attempt, context.fencing_token, context.worker) == (1, claim.token, process.id)
    assert context.deadline == NOON + SECOND
    assert context.logger.logger is LOGGER
    assert not context.cancelled.is_set()


async def test_at_most_as_many_attempts_execute_as_there_are_places(world: World) -> None:
    door = asyncio.Event()
    process = await queued(world, door.wait, runs=5)
    freed: list[int] = []
    process.node.worker.on_free = lambda: freed.append(process.node.worker.running)
    await process.node.worker.claim()
    assert process.node.worker.running == 2
    assert await process.node.worker.claim() is None
    assert (await world.backend.history.snapshot()).queued == 3
    door.set()
    await process.ended()
    assert freed == [1, 0]
    await process.work()
    await process.work()
    assert len(await records(world)) == 5


async def test_high_priority_runs_before_low_then_first_in_first_out(world: World) -> None:
    order: list[str] = []

    async def call(name: str) -> None:
        order.append(name)

    process = world.process()
    for name, priority in (("low", Priority.LOW), ("high", Priority.HIGH), ("last", Priority.LOW)):
        process.declares(a_task(name, kwargs={"name": name}, priority=priority), call)
    await process.node.registrar.tick()
    for name in ("last", "low", "high"):
        await process.node.control.trigger([TaskKey("group", name)], "r")
    await process.work()
    await process.work()
    assert order == ["high", "last", "low"]


# --- failing ---------------------------------------------------------------------------------------------------------


async def test_a_failed_run_is_executed_again_after_its_backoff(world: World) -> None:
    attempts: list[int] = []

    async def call(context: RunContext) -> None:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise ValueError("not yet")

    process = await queued(world, call)
    for wait in (SECOND, 2 * SECOND):
        await process.work()
        (run,) = await live(world)
        assert (run.state, run.retrying, run.due_at) == (RunState.WAITING, True, world.clock.now() + wait)
        world.clock.advance(wait - timedelta(milliseconds=1))
        await process.work()
        world.clock.advance(timedelta(milliseconds=1))
    await process.work()
    assert attempts == [1, 2, 3]
    statuses = [record.status for record in await records(world)]
    assert statuses == [AttemptStatus.SUCCEEDED, AttemptStatus.RETRIED, AttemptStatus.RETRIED]


@pytest.mark.parametrize(
    ("retry", "status"),
    [
        (RetryPolicy(retry_on=("builtins.OSError",)), AttemptStatus.RETRIED),
        (RetryPolicy(retry_on=("builtins.ValueError",)), AttemptStatus.FAILED),
        (RetryPolicy(no_retry_on=("builtins.OSError",)), AttemptStatus.FAILED),
        (RetryPolicy(max_retries=0), AttemptStatus.FAILED),
        (RetryPolicy(max_retries=1), AttemptStatus.RETRIED),
    ],
)
async def test_the_policy_decides_which_failures_deserve_another_attempt(
    world: World, retry: RetryPolicy, status: AttemptStatus
) -> None:
    async def call() -> NoReturn:
        raise ConnectionError("away")

    await (await queued(world, call, a_task(retry=retry))).work()
    assert [record.status for record in await records(world)] == [status]


def raising(error: BaseException) -> Iterator[AnyFunction]:
    """The same failure in a coroutine and in a thread."""

    async def in_loop() -> NoReturn:
        raise error

    def in_thread() -> NoReturn:
        raise error

    yield in_loop
    yield in_thread


FAILURES = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(),
    asyncio.CancelledError(),
    ValueError(),
]


@pytest.mark.parametrize("call", [call for error in FAILURES for call in raising(error)])
async def test_whatever_a_task_raises_is_its_failure_and_frees_its_place(world: World, call: AnyFunction) -> None:
    """SystemExit must not end the process; StopIteration and GeneratorExit mean something else to futures and loops."""
    process = await queued(world, call)
    await process.work()
    assert [record.status for record in await records(world)] == [AttemptStatus.RETRIED]
    assert [run.state for run in await live(world)] == [RunState.WAITING]


async def test_arguments_that_the_function_does_not_accept_are_a_failure(world: World) -> None:
    process = world.process().declares(a_task(), lambda: None)
    await process.node.registrar.tick()
    run = a_task(kwargs={"surprise": 1}).run_of_request("r", 1)
    await world.backend.queue.enqueue([run])
    await process.work()
    assert (await failure(world)).type == "TypeError"


async def test_a_failure_is_kept_within_bounds_and_as_text_that_any_store_can_hold(world: World) -> None:
    async def call() -> NoReturn:
        raise ValueError("\ud800" + "x" * 100_000)

    await (await queued(world, call)).work()
    kept = await failure(world)
    assert kept.type == "ValueError"
    assert len(kept.message) == LONGEST_MESSAGE + 1
    assert len(kept.traceback) <= LONGEST_TRACEBACK + 1
    assert "in call" in kept.traceback
    (kept.message + kept.traceback).encode()


async def test_of_a_long_traceback_the_end_is_kept(world: World) -> None:
    async def call(depth: int = 0) -> NoReturn:
        if depth < 10:
            try:
                await call(depth + 1)
            except ValueError as error:
                raise ValueError(f"{depth}" + "x" * 5_000) from error
        raise ValueError("the first")

    await (await queued(world, call)).work()
    kept = await failure(world)
    assert len(kept.traceback) == LONGEST_TRACEBACK + 1
    assert "the first" not in kept.traceback
    assert "ValueError: 0xxx" in kept.traceback


async def test_a_short_traceback_of_strange_text_can_be_stored_too(world: World) -> None:
    async def call() -> NoReturn:
        raise ValueError("\ud800")

    await (await queued(world, call)).work()
    kept = await failure(world)
    assert kept.message == "?"
    assert "ValueError: " in kept.traceback
    kept.traceback.encode()


class UnspeakableError(Exception):
    def __init__(self, instead: BaseException) -> None:
        super().__init__()
        self.instead = instead

    def __str__(self) -> str:
        raise self.instead


class UnnotableError(Exception):
    def __getattr__(self, name: str) -> NoReturn:
        raise ValueError("the notes must not be read") if name == "__notes__" else AttributeError(name)


A_TEXT_FOR_A_NUMBER: Any = ("page.html", 1, "7", "{% x")
UNSPEAKABLE = [
    (UnspeakableError(RuntimeError()), "(its message cannot be shown)"),
    (UnspeakableError(SystemExit(3)), "(its message cannot be shown)"),
    (UnspeakableError(asyncio.CancelledError()), "(its message cannot be shown)"),
    # A template engine reports the line of an error like this. Its traceback cannot be formatted.
    (SyntaxError("cannot parse", A_TEXT_FOR_A_NUMBER), "cannot parse (page.html, line 1)"),
    (UnnotableError("noted"), "noted"),
]


@pytest.mark.parametrize(("error", "message"), UNSPEAKABLE)
async def test_an_exception_that_cannot_be_shown_is_still_a_failure_with_its_place(
    world: World, error: BaseException, message: str
) -> None:
    async def call() -> NoReturn:
        raise error

    process = await queued(world, call)
    await process.work()
    kept = await failure(world)
    assert kept.type.endswith(type(error).__name__)
    assert kept.message == message
    assert "in call" in kept.traceback
    assert process.node.worker.running == 0


# --- timeouts --------------------------------------------------------------------------------------------------------


async def never() -> None:
    await asyncio.Event().wait()


async def swallows() -> None:
    try:
        await never()
    except asyncio.CancelledError:
        return


def returns_never() -> Awaitable[None]:
    return never()


@pytest.mark.parametrize("call", [never, swallows, returns_never])
async def test_an_attempt_that_takes_too_long_is_stopped_and_has_failed(world: World, call: AnyFunction) -> None:
    """Also one that swallows the interruption and returns as if it had finished."""
    process = await queued(world, call, a_task(timeout=TEN_MILLISECONDS))
    await process.work()
    assert [record.status for record in await records(world)] == [AttemptStatus.RETRIED]
    kept = await failure(world)
    assert (kept.type.rpartition(".")[2], kept.message) == ("RunTimedOut", "timed out after 0.01 s")


async def test_a_timeout_error_of_the_task_itself_is_its_own(world: World) -> None:
    async def call() -> NoReturn:
        raise TimeoutError("mine")

    await (await queued(world, call, a_task(timeout=SECOND))).work()
    assert (await failure(world)).type == "TimeoutError"


async def test_a_thread_that_took_too_long_is_judged_when_it_returns(world: World) -> None:
    def call() -> None:
        world.clock.advance(2 * SECOND)

    await (await queued(world, call, a_task(timeout=SECOND))).work()
    assert (await failure(world)).message == "took longer than 1 s; a thread cannot be interrupted"


async def test_a_thread_can_see_that_its_time_is_over(world: World) -> None:
    def call(context: RunContext) -> None:
        assert context.cancelled.wait(10)
        raise ValueError("gave up")

    await (await queued(world, call, a_task(timeout=TEN_MILLISECONDS))).work()
    assert (await failure(world)).message == "gave up"


async def test_a_failure_of_a_late_thread_is_its_own_and_an_early_one_is_no_timeout(world: World) -> None:
    def call() -> NoReturn:
        world.clock.advance(2 * SECOND)
        raise ValueError("late and wrong")

    await (await queued(world, call, a_task(timeout=SECOND))).work()
    assert (await failure(world)).message == "late and wrong"


# --- what this process cannot call -----------------------------------------------------------------------------------


async def test_a_run_of_an_unknown_function_is_passed_on_and_rests_when_it_comes_round(world: World) -> None:
    old, older = world.process("old"), world.process("older")
    new = await queued(world, lambda: None)
    for _ in range(2):
        for process in (old, older):
            assert await process.node.worker.claim() == 0.0
            (run,) = await live(world)
            assert (run.state, run.attempt, run.failures) == (RunState.QUEUED, 1, 0)
        assert await old.node.worker.claim() == 0.0
        (run,) = await live(world)
        assert (run.state, run.retrying, run.attempt, run.failures) == (RunState.WAITING, False, 1, 0)
        assert run.due_at is not None
        world.clock.advance(run.due_at - world.clock.now() + timedelta(milliseconds=1))
    assert [event.reason for event in old.events.of(RunReleased)] == ["unknown function"] * 4
    await new.work()
    assert [(record.status, record.attempt) for record in await records(world)] == [(AttemptStatus.SUCCEEDED, 1)]


@pytest.mark.parametrize("max_lost_attempts", [0, 2, None])
async def test_a_run_that_lost_its_workers_too_often_is_not_started_again(
    world: World, max_lost_attempts: int | None
) -> None:
    """Losses cost no retry: this run has none."""
    calls: list[int] = []
    retry = RetryPolicy(max_retries=0, max_lost_attempts=max_lost_attempts)
    process = await queued(world, lambda: calls.append(1), a_task(retry=retry))
    leader = await world.process("leader").lead()
    doomed = world.process("doomed")
    lost = 7 if max_lost_attempts is None else max_lost_attempts
    for losses in range(lost):
        await lose(doomed, leader, losses)
    if max_lost_attempts is not None:
        await lose(doomed, leader, lost)
    await process.work()
    statuses = [record.status for record in await records(world)]
    if max_lost_attempts is None:
        assert calls == [1]
        assert statuses == [AttemptStatus.SUCCEEDED] + lost * [AttemptStatus.LOST]
    else:
        assert calls == []
        assert statuses == [AttemptStatus.FAILED] + (lost + 1) * [AttemptStatus.LOST]
        reason = await failure(world)
        assert reason.type.endswith(".WorkerLost")
        assert reason.message == f"{lost + 1} attempts lost their worker"
    assert await live(world) == []


async def lose(doomed: Process, leader: Process, losses: int) -> None:
    """One more attempt loses its worker."""
    (claim,) = await doomed.backend.queue.claim(doomed.id, 1, timedelta(0))
    assert (claim.attempt, claim.failures, claim.losses) == (losses + 1, 0, losses)
    await leader.reign(after=10 * SECOND)
    await leader.node.reconciler.tick()


async def test_claims_that_were_never_started_cost_a_run_no_retry(world: World) -> None:
    """The reply of a claim is lost, and its worker is gone before it asks again."""
    calls: list[int] = []
    process = await queued(world, lambda: calls.append(1), a_task(retry=RetryPolicy(max_retries=0)))
    leader = await world.process("leader").lead()
    await lose(world.process("doomed"), leader, 0)
    await process.work()
    assert calls == [1]
    assert [record.status for record in await records(world)] == [AttemptStatus.SUCCEEDED, AttemptStatus.LOST]


async def test_a_cancelled_context_is_seen_by_nobody_but_its_own_attempt(world: World) -> None:
    contexts: list[RunContext] = []

    async def call(context: RunContext) -> None:
        contexts.append(context)

    process = await queued(world, call, runs=2)
    await process.work()
    first, second = contexts
    first.cancelled.set()
    assert not second.cancelled.is_set()
