"""The simulated cluster runs production nodes, and does what it promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.events import RunSettled, RunStarted, TermWon
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.run import AttemptStatus
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing import Recorder
from task_manager_core.testing.campaign.checkers import every_checker
from task_manager_core.testing.campaign.monitor import Monitor
from task_manager_core.testing.campaign.plan import POLICY
from task_manager_core.testing.cluster.clock import START
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.run import run_simulation
from task_manager_memory import MemoryStore

ROOT = Path(__file__).parent.parent.parent
TASK = TaskDefinition(key=TaskKey("g", "t"), schedule=Schedule.every(timedelta(seconds=10)), function="t")


def simulate(
    script: Callable[[SimCluster, Monitor], Awaitable[None]],
    machines: int = 3,
    *,
    seconds: float = 2.0,
    recorder: Recorder | None = None,
) -> Recorder:
    recorder, monitor = recorder or Recorder(), Monitor(every_checker())

    def declare(_cluster: SimCluster, _machine: str, declarations: Declarations) -> None:
        async def work(context: RunContext) -> None:
            execution = monitor.begin(context, limit=None)
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                execution.ended = "cancelled"
                raise
            execution.ended = "returned"

        declarations.declare(TASK, work)

    async def main() -> None:
        store = MemoryStore()
        async with SimCluster(
            open_backend=store.open,
            declare=declare,
            policy=POLICY,
            watcher=monitor,
            observer=recorder,
            store=store,
        ) as cluster:
            for number in range(machines):
                cluster.boot(f"w{number}")
            await script(cluster, monitor)

    result = run_simulation(main, Decider())
    assert result.unhandled == ()
    return recorder


def test_production_nodes_run_a_schedule_in_virtual_time() -> None:
    async def script(cluster: SimCluster, _monitor: Monitor) -> None:
        await cluster.sleep(95.0)

    events = simulate(script)
    assert len(events.of(TermWon)) == 1
    assert len(events.of(RunStarted)) == len(events.of(RunSettled)) == 9
    slots = [event.claim.run.slot for event in events.of(RunStarted)]
    assert slots == [START + timedelta(seconds=10 * number) for number in range(1, 10)]


def test_a_process_that_stops_waits_for_what_executes_as_long_as_its_policy_says() -> None:
    timeout = POLICY.shutdown_timeout.total_seconds()
    waited: list[float] = []

    async def script(cluster: SimCluster, _monitor: Monitor) -> None:
        await cluster.sleep(10.5)
        asked_at = cluster.time
        cluster.stop("w0")
        while cluster.process("w0") is not None:
            await cluster.sleep(0.05)
        waited.append(cluster.time - asked_at)

    simulate(script, machines=1, seconds=60.0)
    assert timeout <= waited[0] < 1.5 * timeout


def test_another_node_leads_after_the_leader_was_killed() -> None:
    async def script(cluster: SimCluster, _monitor: Monitor) -> None:
        await cluster.sleep(5.0)
        leader = next(process for process in cluster.alive() if process.node.leads)
        cluster.kill(leader.machine, restart_after=1.0)
        await cluster.sleep(20.0)
        assert leader.name not in {process.name for process in cluster.alive()}
        assert cluster.process(leader.machine) is not None

    assert len(simulate(script).of(TermWon)) == 2


def test_a_stopped_machine_restarts() -> None:
    async def script(cluster: SimCluster, _monitor: Monitor) -> None:
        await cluster.sleep(11.0)
        cluster.stop("w0", restart_after=1.0)
        await cluster.sleep(10.0)
        process = cluster.process("w0")
        assert process is not None
        assert process.name == "w0#2"

    assert len(simulate(script).of(TermWon)) == 2


def test_a_machine_that_stands_still_does_nothing() -> None:
    async def script(cluster: SimCluster, _monitor: Monitor) -> None:
        await cluster.sleep(1.0)
        calls = cluster.processes["w1"].link.calls.total()
        cluster.pause("w1", 10.0)
        await cluster.sleep(9.0)
        assert cluster.processes["w1"].link.calls.total() == calls
        await cluster.sleep(3.0)
        assert cluster.processes["w1"].link.calls.total() > calls

    simulate(script)


@pytest.mark.parametrize(
    ("seconds", "statuses"),
    [
        (4.0, [AttemptStatus.SUCCEEDED]),
        (12.0, [AttemptStatus.LOST, AttemptStatus.SUCCEEDED]),
        (1000.0, [AttemptStatus.LOST, AttemptStatus.SUCCEEDED]),
    ],
)
def test_a_machine_whose_loop_is_blocked_keeps_its_claims_up_to_the_limit(
    seconds: float, statuses: list[AttemptStatus]
) -> None:
    """A claim lives for 3 s, and the limit is 4.5 s. A loop that never goes on loses its run for good."""

    async def script(cluster: SimCluster, _monitor: Monitor) -> None:
        await cluster.sleep(11.0)
        [started] = recorder.of(RunStarted)
        cluster.block(started.node.value, seconds)
        await cluster.sleep(18.0)
        lines = await cluster.backend.history.read(TASK.key, 10)
        assert [line.status for line in reversed(lines) if line.run == started.claim.run.id] == statuses
        for machine in list(cluster.processes):
            cluster.resume(machine)

    recorder = Recorder()
    simulate(script, recorder=recorder)


def test_a_blocked_machine_that_stands_still_keeps_nothing() -> None:
    async def script(cluster: SimCluster, _monitor: Monitor) -> None:
        await cluster.sleep(11.0)
        [started] = recorder.of(RunStarted)
        machine = started.node.value
        cluster.block(machine, 4.4)
        await cluster.sleep(0.1)
        calls = cluster.processes[machine].link.calls
        cluster.pause(machine, 4.0)
        before = calls.total()
        await cluster.sleep(3.9)
        assert calls.total() == before
        await cluster.sleep(4.0)
        assert not cluster.loop.is_paused(machine)
        assert calls.total() > before

    recorder = Recorder()
    simulate(script, recorder=recorder)


def test_a_blocked_machine_dies_with_its_keeper() -> None:
    async def script(cluster: SimCluster, _monitor: Monitor) -> None:
        await cluster.sleep(11.0)
        [started] = recorder.of(RunStarted)
        machine = started.node.value
        cluster.block(machine, 100.0)
        calls = cluster.processes[machine].link.calls
        cluster.kill(machine)
        before = calls.total()
        await cluster.sleep(8.0)
        assert calls.total() == before

    recorder = Recorder()
    simulate(script, recorder=recorder)


def test_a_store_that_is_set_back_gets_its_older_model_back() -> None:
    async def script(cluster: SimCluster, monitor: Monitor) -> None:
        await cluster.sleep(12.0)
        copy = cluster.copy_store()
        decided = len(monitor.model.store.tasks[TASK.key].decided)
        await cluster.sleep(20.0)
        cluster.restore_store(copy)
        assert len(monitor.model.store.tasks[TASK.key].decided) == decided
        await cluster.sleep(20.0)

    simulate(script)
