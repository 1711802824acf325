"""A simulation shows what production would do: every slot is accounted for, and takeovers take their real time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.errors import DefinitionError
from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.planning import SkipReason
from task_manager_core.domain.policy import (
    CatchUp,
    CatchUpMode,
    LeadershipPolicy,
    NodePolicy,
    Overlap,
    RetryPolicy,
    WorkerPolicy,
)
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.cluster.failures import SimLeak
from task_manager_core.testing.cluster.link import Latency
from task_manager_core.testing.simulation import (
    REAL,
    Duration,
    Durations,
    During,
    ExecutionStatus,
    Fault,
    Report,
    during,
    kill,
    outage,
    partition,
    pause,
    rolling_deploy,
    simulate_registry,
    stop,
    store_down,
)
from task_manager_memory import MemoryStore

START = datetime(2026, 1, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

TAKEOVER = timedelta(seconds=9 + 5)
"""The default lease, and the longest that a follower then sleeps."""

RECOVERY = timedelta(seconds=9 + 30 + 9 + 5)
"""A claim ends, and the leader reconciles. If the leader died with the worker, another one must lead first."""


def task(name: str, cron: str, overlap: Overlap = Overlap.BUFFER_ONE, **options: Any) -> TaskDefinition:
    return TaskDefinition(
        key=TaskKey("group", name), schedule=Schedule.cron(cron), function=name, overlap=overlap, **options
    )


async def nothing() -> None:
    raise AssertionError("the real function was called")


def simulated(
    *tasks: TaskDefinition,
    duration: timedelta = DAY,
    faults: tuple[Fault, ...] = (),
    durations: Durations | None = None,
    calm: timedelta = HOUR,
    seed: int | None = None,
    workers: int = 3,
    policy: NodePolicy | None = None,
) -> Report:
    registry = Declarations()
    for one in tasks:
        registry.declare(one, nothing)
    return simulate_registry(
        registry,
        open_backend=MemoryStore().open,
        policy=policy,
        workers=workers,
        start=START,
        duration=duration,
        faults=faults,
        durations=durations,
        calm=calm,
        seed=seed,
    )


EXPORT = task("export", "0 2 * * *")
OFTEN = task("often", "*/5 * * * *")
SPARE = task("spare", "*/3 * * * *")

SLOWER = NodePolicy(poll_interval=timedelta(seconds=0.5), refresh_interval=2 * SECOND)
"""For simulations in which all waits are the configured ones: they take much longer."""


# -- a calm month ------------------------------------------------------------------------------------------------------


def test_every_slot_of_the_period_runs_on_time_when_nothing_goes_wrong() -> None:
    report = simulated(EXPORT, OFTEN, duration=3 * DAY)
    assert report.planned("export") == tuple(START + day * DAY + 2 * HOUR for day in range(3))
    assert report.planned("often") == tuple(START + number * 5 * MINUTE for number in range(3 * 288))
    assert [run.slot for run in report.runs("often")] == list(report.planned("often"))
    assert report.planned() == tuple(sorted(run.slot for run in report.runs()))
    assert report.lateness() == timedelta(0)
    assert {execution.status for execution in report.executions()} == {ExecutionStatus.SUCCEEDED}
    assert {execution.duration for execution in report.executions()} == {SECOND}
    assert [*report.skips(), *report.unfinished(), *report.undecided(), *report.errors, *report.lost()] == []
    assert len(report.leaders) == 1


def test_the_same_arguments_give_the_same_report() -> None:
    def once() -> Report:
        return simulated(EXPORT, OFTEN, faults=(kill(HOUR, restart_after=MINUTE),), seed=7)

    assert once() == once()


def test_long_waits_change_nothing_while_nothing_goes_wrong() -> None:
    slow = task("slow", "*/7 * * * *", overlap=Overlap.SKIP)
    lengths: Durations = {"slow": lambda slot: slot.minute * MINUTE / 2 + 13 * SECOND, "often": 4 * MINUTE}
    stretched, configured = (
        simulated(slow, OFTEN, SPARE, duration=HOUR, durations=lengths, calm=calm, policy=SLOWER)
        for calm in (HOUR, timedelta(0))
    )
    assert [(one.task, one.began, one.ended) for one in stretched.executions()] == [
        (one.task, one.began, one.ended) for one in configured.executions()
    ]
    assert stretched.skips() == configured.skips()
    assert len(stretched.skips("slow")) > 3
    assert stretched.settings.steps < configured.settings.steps / 10


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0 * SECOND, 1 * SECOND, 47 * SECOND, 17 * MINUTE])
def test_a_run_whose_worker_dies_is_executed_again_as_soon_as_in_production(after: timedelta) -> None:
    report = simulated(EXPORT, faults=(kill(during("export", after=after)),), durations=20 * MINUTE)
    (run,) = report.runs("export")
    lost, again = run.executions
    assert (lost.status, again.status) == (ExecutionStatus.LOST, ExecutionStatus.SUCCEEDED)
    assert lost.duration == after
    assert lost.ended is not None
    assert timedelta(0) < again.began - lost.ended <= RECOVERY
    assert (lost.attempt, again.attempt, run.lost) == (1, 2, 1)
    assert lost.worker != again.worker
    assert report.lost() == (lost,)
    assert report.retries() == (run,)
    assert not report.overlaps("export")


@pytest.mark.parametrize("at", [5 * HOUR - SECOND, 5 * HOUR - 2 * SECOND, 5 * HOUR - 4 * SECOND])
def test_slots_wait_for_a_new_leader_as_long_as_in_production(at: timedelta) -> None:
    report = simulated(OFTEN, faults=(kill(at, worker="leader"),))
    assert timedelta(0) < report.lateness("often") <= NodePolicy().grace + timedelta(seconds=0.1)
    assert len(report.late()) == 1
    assert len(report.leaders) == 2


def test_with_long_waits_a_fault_has_the_same_effects_as_with_the_configured_ones() -> None:
    faults = (
        kill(during("often", nth=8, after=2 * MINUTE)),
        kill(during("often", nth=14, after=MINUTE), restart_after=MINUTE),
    )
    stretched, configured = (
        simulated(OFTEN, duration=2 * HOUR, durations=3 * MINUTE, faults=faults, calm=calm, policy=SLOWER)
        for calm in (HOUR, timedelta(0))
    )
    assert stretched.planned("often") == configured.planned("often")
    assert stretched.skips() == configured.skips()
    pairs = list(zip(stretched.runs(), configured.runs(), strict=True))
    assert [one.lost for one, _ in pairs] == [other.lost for _, other in pairs]
    for one, other in pairs:
        assert one.began is not None
        assert other.began is not None
        assert abs(one.began - other.began) <= RECOVERY


def test_a_worker_that_stood_still_executes_beside_the_one_that_took_over() -> None:
    report = simulated(
        EXPORT, faults=(pause(during("export", after=MINUTE), lasting=5 * MINUTE),), durations=20 * MINUTE
    )
    (overlap,) = report.overlaps("export")
    assert (overlap.first.status, overlap.second.status) == (ExecutionStatus.LOST, ExecutionStatus.SUCCEEDED)
    assert overlap.first.worker != overlap.second.worker
    assert 5 * MINUTE - RECOVERY <= overlap.lasting <= 5 * MINUTE
    assert overlap.lasting == overlap.ended - overlap.began


def test_a_worker_that_is_cut_off_loses_its_run() -> None:
    report = simulated(
        EXPORT, faults=(partition(during("export", after=MINUTE), lasting=5 * MINUTE),), durations=20 * MINUTE
    )
    assert len(report.lost()) == 1
    assert report.overlaps("export")


def test_a_worker_that_stops_gracefully_releases_its_run() -> None:
    report = simulated(EXPORT, faults=(stop(during("export", after=MINUTE)),), durations=20 * MINUTE)
    first, second = report.executions("export")
    assert (first.status, second.status) == (ExecutionStatus.RELEASED, ExecutionStatus.SUCCEEDED)
    assert first.duration == MINUTE + timedelta(seconds=20)  # the default shutdown_timeout
    assert second.began - first.began <= MINUTE + timedelta(seconds=22)


def test_a_rolling_deploy_loses_nothing() -> None:
    report = simulated(OFTEN, duration=2 * HOUR, faults=rolling_deploy(HOUR, workers=3))
    assert len(report.injected_faults) == 3
    assert not report.lost()
    assert len(report.runs()) == len(report.planned("often"))
    assert report.lateness() < SECOND


def test_an_outage_is_caught_up_with_by_the_policy_of_the_task() -> None:
    everything = task("everything", "0 * * * *", overlap=Overlap.ALLOW, catch_up=CatchUp(mode=CatchUpMode.ALL))
    report = simulated(
        everything, task("latest", "0 * * * *"), faults=(outage(4.5 * HOUR, lasting=3 * HOUR),), duration=12 * HOUR
    )
    assert not report.skips("everything")
    assert [skip.slot.hour for skip in report.skips("latest", reason=SkipReason.CATCH_UP)] == [5, 6]
    assert not report.skips("latest", reason=SkipReason.OVERLAP)
    assert report.lateness("latest") == timedelta(minutes=30)
    assert timedelta(minutes=30) < report.lateness("everything") <= timedelta(hours=2, minutes=30, seconds=3)
    (fault,) = report.injected_faults
    assert (fault.at, fault.until) == (START + 4.5 * HOUR, START + 7.5 * HOUR)
    assert fault.workers == ("w0", "w1", "w2")


def test_nothing_is_dispatched_while_the_store_is_down() -> None:
    report = simulated(OFTEN, faults=(store_down(START + HOUR + MINUTE, lasting=12 * MINUTE),), duration=2 * HOUR)
    (late,) = report.late("often", by=10 * SECOND)
    assert late.slot == START + HOUR + 10 * MINUTE
    assert late.began is not None
    assert timedelta(0) <= late.began - (START + HOUR + 13 * MINUTE) < TAKEOVER
    assert [skip.slot for skip in report.skips("often")] == [START + HOUR + 5 * MINUTE]


def test_the_report_lists_undecided_slots() -> None:
    report = simulated(OFTEN, faults=(kill(HOUR + MINUTE, worker="all"),), duration=90 * MINUTE)
    assert [slot for _, slot in report.undecided()] == [START + HOUR + number * 5 * MINUTE for number in range(1, 6)]
    assert len(report.planned("often")) == 18


@pytest.mark.parametrize("fault", [kill, stop, lambda at: store_down(at, lasting=MINUTE)])
def test_a_fault_during_a_run_that_has_ended_does_not_happen(fault: Callable[[During], Fault]) -> None:
    late = fault(during("export", nth=2, after=6 * MINUTE))
    report = simulated(EXPORT, duration=3 * DAY, durations=5 * MINUTE, faults=(late,))
    assert report.unused_faults == (late,)
    assert not report.injected_faults
    assert f"{late.kind.value} during run 2 of export, 0:06:00 after it began" in report.summary()


def test_a_fault_during_a_run_hits_the_worker_that_executes_it_at_that_moment() -> None:
    faults = (kill(during("export", after=MINUTE)), kill(during("export", after=10 * MINUTE)))
    report = simulated(EXPORT, durations=20 * MINUTE, faults=faults)
    assert [fault.workers for fault in report.injected_faults] == [(one.worker,) for one in report.lost("export")]
    assert len(report.lost("export")) == 2


def test_a_short_partition_does_not_end_a_longer_one() -> None:
    faults = (partition(HOUR, lasting=3 * HOUR), partition(2 * HOUR, lasting=MINUTE))
    report = simulated(OFTEN, workers=1, duration=6 * HOUR, faults=faults)
    cut_off = START + HOUR, START + 4 * HOUR
    assert not [one for one in report.executions() if cut_off[0] + SECOND < one.began < cut_off[1]]


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_first_slot_of_a_task_that_runs_on_start_is_the_start(dynamic: bool) -> None:
    async def work() -> None: ...

    registry = Declarations()
    both = task("both", "0 * * * *", run_on_start=True, dynamic=dynamic)
    if dynamic:
        registry.register(FunctionKey("group", "both"), work)
    else:
        registry.declare(both, work)
    first = during("both", nth=1, after=MINUTE)
    report = simulate_registry(
        registry,
        open_backend=MemoryStore().open,
        dynamic=[both] if dynamic else [],
        start=START + 30 * MINUTE,
        duration=2 * HOUR,
        durations=2 * MINUTE,
        faults=[kill(first)],
    )
    assert report.planned("both") == (START + 30 * MINUTE, START + HOUR, START + 2 * HOUR)
    assert [one.slot for one in report.lost()] == [START + 30 * MINUTE]
    assert report.lateness() == timedelta(0)


def test_no_slot_lies_before_the_start() -> None:
    registry = Declarations()
    registry.declare(OFTEN, nothing)
    for later, first in ((timedelta(0), START), (timedelta(microseconds=1), START + 5 * MINUTE)):
        report = simulate_registry(registry, open_backend=MemoryStore().open, start=START + later, duration=59 * MINUTE)
        assert report.planned("often")[0] == first
        assert [run.slot for run in report.runs("often")] == list(report.planned("often"))


def test_a_run_that_never_began_is_late_until_the_end() -> None:
    hog = TaskDefinition(key=TaskKey("group", "hog"), schedule=Schedule.at(START), function="hog")
    report = simulated(
        hog,
        task("backup", "1 * * * *", overlap=Overlap.ALLOW),
        durations={"hog": 9 * DAY},
        workers=1,
        policy=NodePolicy(worker=WorkerPolicy(concurrency=1)),
    )
    assert report.lateness("backup") == DAY - MINUTE
    assert len(report.late("backup")) == len(report.unfinished("backup")) == 24
    assert report.lateness("hog") == timedelta(0)
    assert [run.lateness for run in report.runs("backup")] == [None] * 24
    for words in ("Runs that never began: 24", "group/backup 2026-01-05 00:01:00 never began", "23 h 59 min"):
        assert words in report.summary()
    assert "Runs that began and had no outcome at the end: 1\n  group/hog 2026-01-05 00:00:00 attempt 1 not" in (
        report.summary()
    )


def test_an_undecided_slot_is_late_until_the_end() -> None:
    report = simulated(OFTEN, faults=(kill(HOUR + MINUTE, worker="all"),), duration=90 * MINUTE)
    assert report.lateness("often") == 25 * MINUTE
    assert [run.slot for run in report.late(by=10 * MINUTE)] == [
        START + HOUR + 5 * MINUTE,
        START + HOUR + 10 * MINUTE,
        START + HOUR + 15 * MINUTE,
    ]
    assert not {run.slot for run in report.late()} & {run.slot for run in report.runs()}


ONE_PLACE = NodePolicy(worker=WorkerPolicy(concurrency=1), shutdown_timeout=MINUTE)
LONG_EXPORT = START + 2 * HOUR + 5 * MINUTE


@pytest.mark.parametrize(
    ("faults", "over", "unused"),
    [
        # Its worker stops after the task has had its minute. Only then `restart_after` begins.
        ((stop(LONG_EXPORT, restart_after=10),), [LONG_EXPORT + MINUTE + 11 * SECOND], 0),
        ((kill(LONG_EXPORT, restart_after=10),), [LONG_EXPORT + 10 * SECOND], 0),
        ((stop(LONG_EXPORT), stop(LONG_EXPORT + SECOND, restart_after=10)), [None], 1),
        ((pause(LONG_EXPORT, lasting=600), pause(LONG_EXPORT + MINUTE, lasting=60)), [LONG_EXPORT + 10 * MINUTE], 1),
        (
            (pause(LONG_EXPORT, lasting=600), kill(LONG_EXPORT + MINUTE, restart_after=10)),
            [LONG_EXPORT + MINUTE, LONG_EXPORT + MINUTE + 10 * SECOND],
            0,
        ),
        (
            (partition(LONG_EXPORT, lasting=600), partition(LONG_EXPORT + MINUTE, lasting=60)),
            [LONG_EXPORT + 10 * MINUTE],
            1,
        ),
        ((store_down(LONG_EXPORT, lasting=60), store_down(LONG_EXPORT, lasting=60)), [LONG_EXPORT + MINUTE], 1),
    ],
)
def test_the_report_tells_when_each_fault_was_over_and_which_had_no_effect(
    faults: tuple[Fault, ...], over: list[datetime | None], unused: int
) -> None:
    report = simulated(EXPORT, workers=1, duration=3 * HOUR, durations=40 * MINUTE, faults=faults, policy=ONE_PLACE)
    assert len(report.unused_faults) == unused
    for happened, expected in zip(report.injected_faults, over, strict=True):
        assert (happened.until is None) == (expected is None)
        if happened.until is not None and expected is not None:
            assert abs(happened.until - expected) <= 2 * SECOND, happened


def test_lengths_of_faults_may_be_seconds() -> None:
    assert kill(60, restart_after=5) == kill(MINUTE, restart_after=5 * SECOND)
    assert kill(during("export", after=60)) == kill(during("export", after=MINUTE))
    assert rolling_deploy(60, workers=2, every=5, away=1)[1] == stop(65, worker=1, restart_after=1)


@pytest.mark.parametrize("day", [datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)])
def test_a_start_in_a_zone_that_changes_its_clock_is_its_instant(day: datetime) -> None:
    """A clock of that zone goes back, or leaves out an hour, in the middle of the simulation."""
    rome = day.astimezone(ZoneInfo("Europe/Rome"))

    def of(start: datetime) -> Report:
        registry = Declarations()
        registry.declare(OFTEN, nothing)
        faults = (kill(14 * HOUR, restart_after=MINUTE), *rolling_deploy(start, workers=3, every=6 * HOUR))
        return simulate_registry(registry, open_backend=MemoryStore().open, start=start, duration=DAY, faults=faults)

    assert of(rome) == of(day)
    assert len(of(rome).runs()) == 288
    assert {run.slot.tzinfo for run in of(rome).runs()} == {UTC}


def test_long_heartbeats_do_not_make_a_simulation_slow() -> None:
    slow = NodePolicy(
        leadership=LeadershipPolicy(heartbeat=10 * MINUTE),
        worker=WorkerPolicy(heartbeat=2 * HOUR),
        reconciliation_interval=DAY,
    )
    slow_report, usual = (simulated(EXPORT, duration=DAY, policy=policy) for policy in (slow, NodePolicy()))
    assert slow_report.runs() == usual.runs()
    assert slow_report.settings.steps < 2 * usual.settings.steps


def test_the_report_lists_faults_that_did_not_happen() -> None:
    faults = (
        kill(2 * DAY),
        kill(HOUR + MINUTE, worker=2),
        kill(during("export", nth=5)),
        kill(START - DAY),
        kill(HOUR, worker=2),
    )
    report = simulated(EXPORT, OFTEN, faults=faults)
    assert set(report.unused_faults) == set(faults[:4])
    assert [fault.workers for fault in report.injected_faults] == [("w2",)]


@pytest.mark.parametrize("seed", range(6))
def test_every_slot_is_accounted_for_once_in_every_order_and_with_latency(seed: int) -> None:
    registry = Declarations()
    for one in (EXPORT, OFTEN, SPARE):
        registry.declare(one, nothing)
    report = simulate_registry(
        registry,
        open_backend=MemoryStore().open,
        start=START,
        duration=6 * HOUR,
        durations={"export": 30 * MINUTE, "spare": 4 * MINUTE},
        faults=(
            kill(during("export", after=seed * MINUTE), restart_after=MINUTE),
            kill(4 * HOUR + seed * SECOND, worker="leader"),
            partition(5 * HOUR, worker=seed % 3, lasting=MINUTE),
        ),
        seed=seed,
        latency=Latency(base=0.001, spread=0.02),
    )
    for task_result in report.tasks:
        whole = [START + timedelta(0)]
        while (
            following := task_result.task.schedule.next_after(whole[-1])
        ) is not None and following < START + 6 * HOUR:
            whole.append(following)
        first = 0 if task_result.planned[0] == START else 1
        assert list(task_result.planned) == whole[first:]
        assert not {run.slot for run in task_result.runs} & {skip.slot for skip in task_result.skipped}
    assert len(report.lost("export")) == 1
    assert not report.overlaps("export")
    assert not report.errors


@pytest.mark.parametrize("limit", ["start_deadline", "expires"])
def test_a_run_that_waits_for_a_place_past_its_last_instant_expires_and_is_no_late_run(limit: str) -> None:
    urgent = replace(task("urgent", "* 0 * * *", Overlap.ALLOW), **{limit: 2 * MINUTE})  # type: ignore[arg-type]  # one of two names
    report = simulated(
        task("long", "0 0 * * *"),
        urgent,
        workers=1,
        policy=NodePolicy(worker=WorkerPolicy(concurrency=1)),
        durations={"long": 10 * MINUTE, "*": SECOND},
        duration=HOUR,
    )
    assert report.expired("long") == ()
    expired = report.expired()
    assert len(expired) >= 7
    assert {run.status for run in expired} == {ExecutionStatus.EXPIRED}
    assert [run.executions for run in expired] == [()] * len(expired)
    assert report.unfinished() == ()
    assert report.lateness("urgent") <= 2 * MINUTE
    assert f"Runs that expired: {len(expired)}" in report.summary()
    assert str(expired[0]).endswith(" expired")


# -- functions ---------------------------------------------------------------------------------------------------------


def test_a_duration_may_fail_the_attempt_which_is_retried() -> None:
    def sometimes(slot: datetime) -> timedelta:
        if slot.hour == 3:
            raise ConnectionError("away")
        return SECOND

    retry = RetryPolicy(initial=10 * SECOND, maximum=20 * SECOND, max_retries=2)
    report = simulated(task("flaky", "0 * * * *", retry=retry), durations=sometimes)
    (run,) = [run for run in report.runs() if run.status is not ExecutionStatus.SUCCEEDED]
    assert run.slot == START + 3 * HOUR
    assert run.status is ExecutionStatus.FAILED
    assert [one.status for one in run.executions] == [
        ExecutionStatus.RETRIED,
        ExecutionStatus.RETRIED,
        ExecutionStatus.FAILED,
    ]
    assert [one.began - run.slot for one in run.executions] == [0 * SECOND, 10 * SECOND, 30 * SECOND]
    assert [one.error for one in report.failures()] == ["ConnectionError: away"] * 3


def test_the_summary_says_why_an_attempt_failed() -> None:
    def fails(_slot: datetime) -> timedelta:
        raise ConnectionError("away\nfor good")

    retry = RetryPolicy(max_retries=0)
    assert (
        "(failed for good: ConnectionError: away for good)"
        in simulated(task("flaky", "0 1 * * *", retry=retry), durations=fails).summary()
    )


@pytest.mark.parametrize("length", [90, 90.0, lambda _slot: 90])
def test_a_number_is_a_length_in_seconds(length: Duration) -> None:
    for lengths in (length, {"export": length}, {"*": length}):
        (execution,) = simulated(EXPORT, durations=lengths).executions()
        assert execution.duration == 90 * SECOND


@pytest.mark.parametrize("answer", [None, "1", True, -SECOND, float("nan"), float("inf")])
def test_a_function_that_returns_no_duration_ends_the_simulation(answer: Any) -> None:
    with pytest.raises(DefinitionError, match=r"durations\['group/export'\]="):
        simulated(EXPORT, durations={"*": lambda _slot: answer})


class Abort(BaseException):
    """Like the failure of a test framework."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Abort])
def test_an_error_that_is_no_exception_in_a_function_of_the_slot_ends_the_simulation(kind: type[BaseException]) -> None:
    def raises(_slot: datetime) -> timedelta:
        raise kind

    with pytest.raises(kind):
        simulated(EXPORT, durations=raises)


def test_a_real_function_may_be_interrupted_from_the_keyboard_and_may_exit() -> None:
    def real(kind: type[BaseException]) -> Report:
        async def raises() -> None:
            raise kind

        registry = Declarations()
        registry.declare(task("export", "0 2 * * *", retry=RetryPolicy(max_retries=0)), raises)
        return simulate_registry(registry, open_backend=MemoryStore().open, start=START, duration=DAY, durations=REAL)

    with pytest.raises(KeyboardInterrupt):
        real(KeyboardInterrupt)
    assert len(real(SystemExit).failures()) == 1  # a worker survives it


def test_a_timeout_is_a_failure() -> None:
    report = simulated(
        task("slow", "0 12 * * *", timeout=MINUTE, retry=RetryPolicy(max_retries=0)), durations=2 * MINUTE
    )
    (execution,) = report.failures("slow")
    assert (execution.status, execution.duration) == (ExecutionStatus.FAILED, MINUTE)
    assert "timed out" in str(execution.error)


def test_real_functions_run_in_virtual_time() -> None:
    registry, seen = Declarations(), list[object]()

    async def waits(hours: int, context: RunContext) -> None:
        await asyncio.sleep(hours * 3600)
        seen.append((context.slot, hours))

    def at_once() -> None:
        seen.append("at once")

    registry.declare(task("waits", "0 1 * * *", kwargs='{"hours":2}'), waits)
    registry.declare(task("sync", "0 6 * * *"), at_once)
    registry.register(FunctionKey("group", "at_once"), at_once)
    dynamic = task("dynamic", "0 7 * * *", dynamic=True)
    dynamic = TaskDefinition(key=dynamic.key, schedule=dynamic.schedule, function="at_once", dynamic=True)
    report = simulate_registry(
        registry, open_backend=MemoryStore().open, dynamic=[dynamic], start=START, duration=DAY, durations=REAL
    )
    assert seen == [(START + HOUR, 2), "at once", "at once"]
    assert [one.duration for one in report.executions()] == [timedelta(0), timedelta(0), 2 * HOUR]


def test_a_real_function_cannot_leave_the_simulation() -> None:
    async def calls_home() -> None:
        await asyncio.open_connection("localhost", 1)

    registry = Declarations()
    registry.declare(EXPORT, calls_home)
    with pytest.raises(SimLeak):
        simulate_registry(
            registry, open_backend=MemoryStore().open, start=START, duration=DAY, durations={"export": REAL}
        )


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: simulated(EXPORT, durations={"exports": SECOND}), "no such task; there are group/export"),
        (lambda: simulated(EXPORT, durations=-SECOND), "must not be negative"),
        (lambda: simulated(EXPORT, durations={"export": -1}), r"durations\['export'\]=.*must not be negative"),
        (lambda: simulated(EXPORT, durations={"export": None}), r"durations\['export'\]=None: must be a timedelta"),  # type: ignore[dict-item]
        (lambda: simulated(EXPORT, durations={"export": lambda: SECOND}), "the slot as its one argument"),  # type: ignore[dict-item, misc]
        (lambda: simulated(EXPORT, durations={"export": nothing}), "must not be asynchronous"),  # type: ignore[dict-item]
        (lambda: simulated(EXPORT, workers=0), "must be 1 to 100"),
        (lambda: simulated(EXPORT, duration=timedelta(0)), "more than 0"),
        (lambda: simulated(EXPORT, faults=(kill(during("backup")),)), "no such task"),
        (lambda: kill(-SECOND), "at=.* must not be negative"),
        (lambda: kill("x"), "at='x'.* seconds since the start"),  # type: ignore[arg-type]
        (lambda: kill(SECOND, worker=True), "must be a number, 'leader' or 'all'"),
        (lambda: kill(SECOND, restart_after="x"), "restart_after='x'"),  # type: ignore[arg-type]
        (lambda: pause(SECOND, lasting=None), "lasting=None"),  # type: ignore[arg-type]
        (lambda: during("export", after="x"), "after='x'"),  # type: ignore[arg-type]
        (lambda: during("export", nth=1.5), "nth=1.5"),  # type: ignore[arg-type]
        (lambda: simulated(EXPORT, durations={"export": 1, "group/export": 2}), "given twice"),
        (lambda: kill(datetime(2026, 1, 5)), "time zone"),  # noqa: DTZ001 - that is the point
        (lambda: kill(SECOND, worker=-1), "counted from 0"),
        (lambda: kill(SECOND, worker="w0"), "must be a number, 'leader' or 'all'"),  # type: ignore[arg-type]
        (lambda: simulated(EXPORT, faults=rolling_deploy(HOUR, workers=4)), "from 0 to 2 here"),
        (lambda: pause(SECOND, lasting=-SECOND), "negative"),
        (lambda: during("export", nth=0), "nth=0.* from 1 on"),
        (lambda: simulated(EXPORT, duration=timedelta(days=3_000_000)), "duration"),
    ],
)
def test_invalid_arguments_are_refused(ask: Callable[[], object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        ask()


def test_a_name_of_two_tasks_needs_its_group() -> None:
    other = TaskDefinition(key=TaskKey("other", "export"), schedule=EXPORT.schedule, function="export")
    with pytest.raises(DefinitionError, match="several: group/export, other/export"):
        simulated(EXPORT, other, durations={"export": SECOND})
    report = simulated(EXPORT, other, durations={"other/export": 3 * SECOND})
    assert [one.duration for one in report.executions(TaskKey("other", "export"))] == [3 * SECOND]
    assert [one.duration for one in report.executions("group/export")] == [SECOND]


def test_a_simulation_needs_only_the_core_and_a_store() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('hypothesis', 'pytest', 'fastapi', 'redis')))\n"
        "import task_manager_core.testing.simulation"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
