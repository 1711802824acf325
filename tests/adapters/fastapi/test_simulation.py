"""`simulate` runs the tasks that a manager would run, and does not change the manager."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastapi_task_manager import OperationalConfig, RunContext, TaskGroup, TaskManager
from fastapi_task_manager.simulation import REAL, during, kill, simulate
from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Clock
from task_manager_core.testing.cluster.failures import SimLeak
from task_manager_memory import MemoryStore

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)


def a_group() -> TaskGroup:
    group = TaskGroup("Nightly", allow_parallel=False, timezone="Europe/Rome")

    @group.add_task("0 2 * * *")
    def export() -> None:
        raise AssertionError("called for real")

    @group.add_task("30 2 * * *", kwargs=[{"target": "a"}, {"target": "b"}])
    async def backup(target: str, context: RunContext) -> None:
        raise AssertionError("called for real")

    @group.register_function()
    async def cleanup() -> None:
        raise AssertionError("called for real")

    group.add_dynamic_task("cleanup", "0 */6 * * *", name="sweep")
    return group


def test_a_group_is_simulated_without_calling_its_functions() -> None:
    report = simulate(a_group(), start=START, duration=2 * DAY, durations={"export": 20 * MINUTE, "*": MINUTE})
    assert {task.key.name for task in report.tasks} == {"export", "backup__1", "backup__2", "sweep"}
    assert report.planned("export") == (START + timedelta(hours=1), START + timedelta(hours=25))
    assert [execution.duration for execution in report.executions("export")] == [20 * MINUTE] * 2
    assert len(report.runs("sweep")) == 8
    assert not report.overlaps("export", "backup__1")
    assert report.overlaps("backup__1", "backup__2")


def test_a_manager_is_simulated_with_its_configuration_and_does_not_change() -> None:
    opened = []

    def opener(*, clock: Clock, retention: Retention) -> AbstractAsyncContextManager[Backend]:
        opened.append(clock)
        return MemoryStore().open(clock=clock, retention=retention)

    manager = TaskManager(config=OperationalConfig(concurrent_tasks=1), backend=opener)
    group = a_group()
    manager.add_task_group(group)
    report = simulate(manager, workers=1, start=START, duration=DAY, durations=50 * MINUTE)
    assert opened == []
    assert not manager.is_running
    assert not report.overlaps()
    assert report.lateness("backup__2") > 50 * MINUTE
    assert report.settings.capacity == 1
    # A task that is added later reaches only the manager.
    group.add_task("@hourly", name="later")(lambda: None)


def test_another_configuration_may_be_tried() -> None:
    manager = TaskManager(config=OperationalConfig(concurrent_tasks=1), backend=MemoryStore().open)
    manager.add_task_group(a_group())
    wider = OperationalConfig(concurrent_tasks=4)
    report = simulate(manager, workers=1, start=START, duration=DAY, durations=50 * MINUTE, config=wider)
    assert report.lateness() == timedelta(0)


def test_the_real_functions_are_called_if_asked_for() -> None:
    group = TaskGroup("Real")
    seen: list[object] = []

    @group.add_task("0 * * * *", kwargs={"word": "x"})
    async def says(word: str, context: RunContext) -> None:
        seen.append((word, context.slot))

    @group.add_task("0 1 * * *")
    def opens() -> None:
        import threading

        threading.Thread(target=seen.append, args=("thread",)).start()

    simulate([group], start=START, duration=timedelta(hours=3), durations={"says": REAL})
    assert seen == [("x", START + timedelta(hours=hour)) for hour in range(3)]


def test_a_real_function_that_uses_the_network_ends_the_simulation() -> None:
    group = TaskGroup("Real")

    @group.add_task("0 * * * *")
    async def connects() -> None:
        await asyncio.open_connection("localhost", 1)

    with pytest.raises(SimLeak):
        simulate([group], start=START, duration=timedelta(hours=3), durations=REAL)


def test_a_real_function_really_runs_code_that_does_not_use_the_event_loop() -> None:
    group = TaskGroup("Real")
    threads: list[object] = []

    @group.add_task("0 * * * *")
    async def works() -> None:
        import threading

        subprocess.run([sys.executable, "-c", ""], check=True, timeout=60)  # noqa: ASYNC221 - blocking is the point
        thread = threading.Thread(target=lambda: threads.append(threading.current_thread()))
        thread.start()
        thread.join()
        await asyncio.to_thread(lambda: threads.append(threading.current_thread()))
        assert threads == [thread, threading.current_thread()]

    report = simulate(group, start=START, duration=timedelta(minutes=30), durations=REAL)
    assert len(threads) == 2
    assert not report.failures()


@pytest.mark.parametrize("minutes", [0, 1, 10, 19])
def test_my_nightly_export_never_overlaps_my_backup_even_if_a_worker_dies(minutes: int) -> None:
    report = simulate(
        a_group(),
        start=START,
        duration=3 * DAY,
        durations={"export": 20 * MINUTE, "*": 5 * MINUTE},
        faults=[kill(during("export", nth=2, after=minutes * MINUTE))],
    )
    assert len(report.lost("export")) == 1
    assert bool(report.overlaps("export", "backup__1")) is (minutes > 9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"durations": {"exprot": MINUTE}}, "no such task"),
        ({"workers": 0}, "workers"),
        ({"workers": "3"}, "workers='3'"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"duration": 30}, "duration=30: must be a timedelta"),
        ({"start": "2026-01-05"}, "start="),
        ({"faults": kill(MINUTE)}, "faults=.*must be a list"),
        ({"faults": ["kill"]}, "faults='kill': is not a fault"),
        ({"faults": [kill(MINUTE, worker=99)]}, "worker=99: workers are counted from 0 to 2 here"),
        ({"config": {"concurrent_tasks": 3}}, "config="),
        ({"durations": "long"}, "durations='long'"),
        ({"start": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 - the missing time zone is the point
    ],
)
def test_an_invalid_argument_of_simulate_is_a_runtime_error(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        simulate(a_group(), **arguments)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("groups", [["a"], None, [None]])
def test_an_argument_that_is_no_group_is_a_runtime_error(groups: Any) -> None:
    with pytest.raises(RuntimeError, match="manager_or_groups="):
        simulate(groups)


async def test_inside_a_running_loop_the_error_says_what_to_write() -> None:
    with pytest.raises(RuntimeError, match=r"await asyncio\.to_thread\(simulate, \.\.\.\)"):
        simulate(a_group(), start=START, duration=DAY)
    report = await asyncio.to_thread(simulate, a_group(), start=START, duration=DAY)
    assert report.runs()


def test_two_groups_of_one_name_are_refused() -> None:
    with pytest.raises(RuntimeError, match="already exists"):
        simulate([a_group(), a_group()])


def test_an_application_does_not_import_the_testing_kit() -> None:
    code = "import sys, fastapi_task_manager as f; f.TaskManager; print([n for n in sys.modules if '.testing' in n])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert "task_manager_core.testing" not in done.stdout
    assert "fastapi_task_manager.simulation" not in done.stdout
