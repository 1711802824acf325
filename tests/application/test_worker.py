"""A worker claims, executes and settles. Every error of a task is a failure of its run, and never of the worker."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.application.failure import LONGEST_MESSAGE, LONGEST_TRACEBACK, ArgumentsRefused
from task_manager_core.application.function import AnyFunction
from task_manager_core.domain.events import RunReleased, RunSettled, RunStarted
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import Priority, RetryPolicy
from task_manager_core.domain.run import AttemptRecord, AttemptStatus, Failure, RunState
from tests.application.cluster import KEY, LOGGER, NOON, SECOND, Cluster, Process, a_task, live, queued

TEN_MILLISECONDS = timedelta(milliseconds=10)


async def records(cluster: Cluster) -> list[AttemptRecord]:
    return list(await cluster.backend.history.read(KEY, 100))


async def failure(cluster: Cluster) -> Failure:
    newest = (await records(cluster))[0].failure
    assert newest is not None
    return newest


# --- executing -------------------------------------------------------------------------------------------------------


async def test_an_async_function_runs_in_the_loop_and_its_run_ends_once_it_is_settled(cluster: Cluster) -> None:
    ran: list[object] = []

    async def call() -> None:
        ran.append(asyncio.get_running_loop())

    process = await queued(cluster, call)
    assert await process.node.worker.claim() == 0.0
    assert process.events.one(RunStarted).claim.attempt == 1
    await process.ended()
    assert ran == [asyncio.get_running_loop()]
    assert [run.state for run in await live(cluster)] == [RunState.RUNNING]
    assert await process.node.worker.settle() == 0.0
    assert (await live(cluster), [record.status for record in await records(cluster)]) == (
        [],
        [AttemptStatus.SUCCEEDED],
    )
    assert process.events.one(RunSettled).error is None
    assert await process.node.worker.settle() is None


async def test_a_sync_function_runs_in_a_daemon_thread_with_the_context_of_the_caller(cluster: Cluster) -> None:
    colour = contextvars.ContextVar("colour", default="none")
    seen: list[tuple[bool, bool, str]] = []

    def call() -> None:
        thread = threading.current_thread()
        seen.append((thread is threading.main_thread(), thread.daemon, colour.get()))

    process = await queued(cluster, call)
    colour.set("blue")
    await process.work()
    assert seen == [(False, True, "blue")]


async def test_an_awaitable_that_a_sync_function_returns_is_awaited(cluster: Cluster) -> None:
    ran: list[str] = []

    async def inner() -> None:
        ran.append("inner")

    def returns_awaitable() -> Awaitable[None]:
        return inner()

    await (await queued(cluster, returns_awaitable)).work()
    assert ran == ["inner"]


async def test_a_task_gets_its_arguments_and_its_context(cluster: Cluster) -> None:
    seen: list[tuple[int, RunContext]] = []

    async def call(number: int, context: RunContext) -> None:
        seen.append((number, context))

    process = await queued(cluster, call, a_task(kwargs={"number": 7}, timeout=SECOND))
    await process.work()
    ((number, context),) = seen
    claim = process.events.one(RunStarted).claim
    assert (number, context.task, context.run_id, context.slot) == (7, KEY, claim.run.id.value, None)
    assert (context.attempt, context.fencing_token, context.worker) == (1, claim.token, process.id.value)
    assert context.deadline == NOON + SECOND
    assert context.logger.logger is LOGGER
    assert not context.cancelled.is_set()


async def test_a_worker_executes_at_most_as_many_attempts_as_its_concurrency(cluster: Cluster) -> None:
    door = asyncio.Event()
    process = await queued(cluster, door.wait, runs=5)
    freed: list[int] = []
    process.node.worker.on_free = lambda: freed.append(process.node.worker.running)
    await process.node.worker.claim()
    assert process.node.worker.running == 2
    assert await process.node.worker.claim() is None
    assert (await cluster.backend.history.snapshot()).queued == 3
    door.set()
    await process.ended()
    assert freed == [1, 0]
    await process.work()
    await process.work()
    assert len(await records(cluster)) == 5


async def test_high_priority_runs_before_low_then_first_in_first_out(cluster: Cluster) -> None:
    order: list[str] = []

    async def call(name: str) -> None:
        order.append(name)

    process = cluster.process()
    for name, priority in (("low", Priority.LOW), ("high", Priority.HIGH), ("last", Priority.LOW)):
        process.declares(a_task(name, kwargs={"name": name}, priority=priority), call)
    await process.node.registrar.tick()
    for name in ("last", "low", "high"):
        await process.node.control.trigger([TaskKey("group", name)], "r")
    await process.work()
    await process.work()
    assert order == ["high", "last", "low"]


# --- failing ---------------------------------------------------------------------------------------------------------


async def test_a_failed_run_is_executed_again_after_its_backoff(cluster: Cluster) -> None:
    attempts: list[int] = []

    async def call(context: RunContext) -> None:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise ValueError("not yet")

    process = await queued(cluster, call)
    for wait in (SECOND, 2 * SECOND):
        await process.work()
        (run,) = await live(cluster)
        assert (run.state, run.retrying, run.due_at) == (RunState.WAITING, True, cluster.clock.now() + wait)
        cluster.clock.advance(wait - timedelta(milliseconds=1))
        await process.work()
        cluster.clock.advance(timedelta(milliseconds=1))
    await process.work()
    assert attempts == [1, 2, 3]
    statuses = [record.status for record in await records(cluster)]
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
    cluster: Cluster, retry: RetryPolicy, status: AttemptStatus
) -> None:
    async def call() -> NoReturn:
        raise ConnectionError("away")

    await (await queued(cluster, call, a_task(retry=retry))).work()
    assert [record.status for record in await records(cluster)] == [status]


async def test_arguments_that_do_not_fit_end_the_run_whatever_its_policy_says(cluster: Cluster) -> None:
    async def call() -> NoReturn:
        raise ArgumentsRefused("call() does not accept them")

    task = a_task(retry=RetryPolicy(max_retries=None, retry_on=("builtins.TypeError",)))
    await (await queued(cluster, call, task)).work()
    assert [record.status for record in await records(cluster)] == [AttemptStatus.FAILED]
    assert (await failure(cluster)).type == "task_manager_core.application.failure.ArgumentsRefused"


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
async def test_every_exception_of_a_task_is_its_failure_and_the_worker_goes_on(
    cluster: Cluster, call: AnyFunction
) -> None:
    """SystemExit must not end the process. StopIteration and GeneratorExit have another meaning for futures and
    event loops."""
    process = await queued(cluster, call)
    await process.work()
    assert [record.status for record in await records(cluster)] == [AttemptStatus.RETRIED]
    assert [run.state for run in await live(cluster)] == [RunState.WAITING]


async def test_arguments_that_the_function_does_not_accept_are_a_failure(cluster: Cluster) -> None:
    process = cluster.process().declares(a_task(), lambda: None)
    await process.node.registrar.tick()
    run = a_task(kwargs={"surprise": 1}).run_of_request("r", 1)
    await cluster.backend.queue.enqueue([run])
    await process.work()
    assert (await failure(cluster)).type == "TypeError"


async def test_a_failure_is_kept_within_bounds_and_as_text_that_any_store_can_hold(cluster: Cluster) -> None:
    async def call() -> NoReturn:
        raise ValueError("\ud800" + "x" * 100_000)

    await (await queued(cluster, call)).work()
    kept = await failure(cluster)
    assert kept.type == "ValueError"
    assert len(kept.message) == LONGEST_MESSAGE + 1
    assert len(kept.traceback) <= LONGEST_TRACEBACK + 1
    assert "in call" in kept.traceback
    (kept.message + kept.traceback).encode()


async def test_the_end_of_a_long_traceback_is_kept(cluster: Cluster) -> None:
    async def call(depth: int = 0) -> NoReturn:
        if depth < 10:
            try:
                await call(depth + 1)
            except ValueError as error:
                raise ValueError(f"{depth}" + "x" * 5_000) from error
        raise ValueError("the first")

    await (await queued(cluster, call)).work()
    kept = await failure(cluster)
    assert len(kept.traceback) == LONGEST_TRACEBACK + 1
    assert "the first" not in kept.traceback
    assert "ValueError: 0xxx" in kept.traceback


async def test_a_short_traceback_of_strange_text_can_be_stored_too(cluster: Cluster) -> None:
    async def call() -> NoReturn:
        raise ValueError("\ud800")

    await (await queued(cluster, call)).work()
    kept = await failure(cluster)
    assert kept.message == "?"
    assert "ValueError: " in kept.traceback
    kept.traceback.encode()


class UnprintableError(Exception):
    def __init__(self, instead: BaseException) -> None:
        super().__init__()
        self.instead = instead

    def __str__(self) -> str:
        raise self.instead


class UnnotableError(Exception):
    def __getattr__(self, name: str) -> NoReturn:
        raise ValueError("the notes must not be read") if name == "__notes__" else AttributeError(name)


A_TEXT_FOR_A_NUMBER: Any = ("page.html", 1, "7", "{% x")
UNPRINTABLE = [
    (UnprintableError(RuntimeError()), "(its message cannot be shown)"),
    (UnprintableError(SystemExit(3)), "(its message cannot be shown)"),
    (UnprintableError(asyncio.CancelledError()), "(its message cannot be shown)"),
    # A template engine reports the line of an error like this. Its traceback cannot be formatted.
    (SyntaxError("cannot parse", A_TEXT_FOR_A_NUMBER), "cannot parse (page.html, line 1)"),
    (UnnotableError("noted"), "noted"),
]


@pytest.mark.parametrize(("error", "message"), UNPRINTABLE)
async def test_an_exception_that_cannot_be_shown_is_still_a_failure_with_its_place(
    cluster: Cluster, error: BaseException, message: str
) -> None:
    async def call() -> NoReturn:
        raise error

    process = await queued(cluster, call)
    await process.work()
    kept = await failure(cluster)
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
async def test_an_attempt_that_takes_too_long_is_stopped_and_has_failed(cluster: Cluster, call: AnyFunction) -> None:
    """An attempt that swallows the interruption and returns has failed, too."""
    process = await queued(cluster, call, a_task(timeout=TEN_MILLISECONDS))
    await process.work()
    assert [record.status for record in await records(cluster)] == [AttemptStatus.RETRIED]
    kept = await failure(cluster)
    assert (kept.type.rpartition(".")[2], kept.message) == ("RunTimedOut", "timed out after 0.01 s")


async def test_a_timeout_error_that_the_task_raises_keeps_its_type(cluster: Cluster) -> None:
    async def call() -> NoReturn:
        raise TimeoutError("mine")

    await (await queued(cluster, call, a_task(timeout=SECOND))).work()
    assert (await failure(cluster)).type == "TimeoutError"


async def test_a_thread_that_took_too_long_has_failed_when_it_returns(cluster: Cluster) -> None:
    def call() -> None:
        cluster.clock.advance(2 * SECOND)

    await (await queued(cluster, call, a_task(timeout=SECOND))).work()
    assert (await failure(cluster)).message == "took longer than 1 s; a thread cannot be interrupted"


async def test_a_thread_can_see_that_its_time_is_over(cluster: Cluster) -> None:
    def call(context: RunContext) -> None:
        assert context.cancelled.wait(10)
        raise ValueError("gave up")

    await (await queued(cluster, call, a_task(timeout=TEN_MILLISECONDS))).work()
    assert (await failure(cluster)).message == "gave up"


async def test_a_late_thread_that_raises_has_failed_with_its_own_error(cluster: Cluster) -> None:
    def call() -> NoReturn:
        cluster.clock.advance(2 * SECOND)
        raise ValueError("late and wrong")

    await (await queued(cluster, call, a_task(timeout=SECOND))).work()
    assert (await failure(cluster)).message == "late and wrong"


# --- unknown and lost runs -------------------------------------------------------------------------------------------


async def test_an_unknown_run_is_released_at_once_and_with_a_delay_when_its_worker_claims_it_again(
    cluster: Cluster,
) -> None:
    old, older = cluster.process("old").knows("other"), cluster.process("older").knows("other")
    new = await queued(cluster, lambda: None)
    for _ in range(2):
        for process in (old, older):
            assert await process.node.worker.claim() == 0.0
            (run,) = await live(cluster)
            assert (run.state, run.attempt, run.failures) == (RunState.QUEUED, 1, 0)
        assert await old.node.worker.claim() == 0.0
        (run,) = await live(cluster)
        assert (run.state, run.retrying, run.attempt, run.failures) == (RunState.WAITING, False, 1, 0)
        assert run.due_at is not None
        cluster.clock.advance(run.due_at - cluster.clock.now() + timedelta(milliseconds=1))
    assert [event.reason for event in old.events.of(RunReleased)] == ["unknown function"] * 4
    await new.work()
    assert [(record.status, record.attempt) for record in await records(cluster)] == [(AttemptStatus.SUCCEEDED, 1)]


@pytest.mark.parametrize("max_lost_attempts", [0, 2, None])
async def test_a_run_that_lost_its_workers_too_often_is_not_started_again(
    cluster: Cluster, max_lost_attempts: int | None
) -> None:
    """A loss uses no retry. This run has no retries, and survives losses."""
    calls: list[int] = []
    retry = RetryPolicy(max_retries=0, max_lost_attempts=max_lost_attempts)
    process = await queued(cluster, lambda: calls.append(1), a_task(retry=retry))
    leader = await cluster.process("leader").lead()
    doomed = cluster.process("doomed")
    lost = 7 if max_lost_attempts is None else max_lost_attempts
    for losses in range(lost):
        await lose(doomed, leader, losses)
    if max_lost_attempts is not None:
        await lose(doomed, leader, lost)
    await process.work()
    statuses = [record.status for record in await records(cluster)]
    if max_lost_attempts is None:
        assert calls == [1]
        assert statuses == [AttemptStatus.SUCCEEDED] + lost * [AttemptStatus.LOST]
    else:
        assert calls == []
        assert statuses == [AttemptStatus.FAILED] + (lost + 1) * [AttemptStatus.LOST]
        reason = await failure(cluster)
        assert reason.type.endswith(".WorkerLost")
        assert reason.message == f"{lost + 1} attempts lost their worker"
    assert await live(cluster) == []


async def lose(doomed: Process, leader: Process, losses: int) -> None:
    """One more attempt loses its worker."""
    (claim,) = await doomed.backend.queue.claim(doomed.id, 1, timedelta(0))
    assert (claim.attempt, claim.failures, claim.losses) == (losses + 1, 0, losses)
    await leader.ensure_leads(after=10 * SECOND)
    await leader.node.reconciler.tick()


async def test_a_claim_that_was_never_started_uses_no_retry(cluster: Cluster) -> None:
    """The reply to a claim is lost, and the worker ends before it can ask again."""
    calls: list[int] = []
    process = await queued(cluster, lambda: calls.append(1), a_task(retry=RetryPolicy(max_retries=0)))
    leader = await cluster.process("leader").lead()
    await lose(cluster.process("doomed"), leader, 0)
    await process.work()
    assert calls == [1]
    assert [record.status for record in await records(cluster)] == [AttemptStatus.SUCCEEDED, AttemptStatus.LOST]


async def test_a_cancelled_context_affects_its_own_attempt_only(cluster: Cluster) -> None:
    contexts: list[RunContext] = []

    async def call(context: RunContext) -> None:
        contexts.append(context)

    process = await queued(cluster, call, runs=2)
    await process.work()
    first, second = contexts
    first.cancelled.set()
    assert not second.cancelled.is_set()
