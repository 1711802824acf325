"""The world: production nodes live in it, and its own promises hold."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.events import RunSettled, RunStarted, TermWon
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing import Recorder
from task_manager_core.testing.campaign.campaign import replay_line, run_plan
from task_manager_core.testing.campaign.checkers import every_checker
from task_manager_core.testing.campaign.faults import MEANING, Injection, InjectionKind
from task_manager_core.testing.campaign.plan import POLICY, Plan, TaskPlan
from task_manager_core.testing.cluster.clock import START, SimClock
from task_manager_core.testing.cluster.cluster import Declare, SimCluster
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.run import run_simulation
from task_manager_memory import MemoryStore

ROOT = Path(__file__).parent.parent.parent
TASK = TaskDefinition(key=TaskKey("g", "t"), schedule=Schedule.every(timedelta(seconds=10)), function="t")


def declaring(seconds: float) -> Declare:
    def declare(world: SimCluster, machine: str, registry: Declarations) -> None:
        async def work(context: RunContext) -> None:
            execution = world.begin(machine, context, exclusive=False)
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                execution.ended = "cancelled"
                raise
            execution.ended = "returned"

        registry.declare(TASK, work)

    return declare


def cluster(script: Callable[[SimCluster], Awaitable[None]], machines: int = 3, *, seconds: float = 2.0) -> Recorder:
    recorder = Recorder()

    async def main() -> None:
        store = MemoryStore()
        async with SimCluster(
            open_backend=store.open,
            declare=declaring(seconds),
            policy=POLICY,
            checkers=every_checker(),
            observer=recorder,
            store=store,
        ) as world:
            for number in range(machines):
                world.boot(f"w{number}")
            await script(world)

    result = run_simulation(main, Decider())
    assert result.unhandled == ()
    return recorder


def test_production_nodes_run_a_schedule_in_virtual_time() -> None:
    async def script(world: SimCluster) -> None:
        await world.sleep(95.0)

    events = cluster(script)
    assert len(events.of(TermWon)) == 1
    assert len(events.of(RunStarted)) == len(events.of(RunSettled)) == 9
    slots = [event.claim.run.slot for event in events.of(RunStarted)]
    assert slots == [START + timedelta(seconds=10 * number) for number in range(1, 10)]


def test_a_process_that_stops_waits_for_what_executes_as_long_as_its_policy_says() -> None:
    timeout = POLICY.shutdown_timeout.total_seconds()
    waited: list[float] = []

    async def script(world: SimCluster) -> None:
        await world.sleep(10.5)
        asked_at = world.time
        world.stop("w0")
        while world.process("w0") is not None:
            await world.sleep(0.05)
        waited.append(world.time - asked_at)

    cluster(script, machines=1, seconds=60.0)
    assert timeout <= waited[0] < 1.5 * timeout


def test_a_killed_leader_is_followed_by_another() -> None:
    async def script(world: SimCluster) -> None:
        await world.sleep(5.0)
        leader = next(life for life in world.alive() if life.node.leads)
        world.kill(leader.machine, restart_after=1.0)
        await world.sleep(20.0)
        assert leader.name not in {life.name for life in world.alive()}
        assert world.process(leader.machine) is not None

    assert len(cluster(script).of(TermWon)) == 2


def test_a_stopped_machine_leaves_and_comes_back() -> None:
    async def script(world: SimCluster) -> None:
        await world.sleep(11.0)
        world.stop("w0", restart_after=1.0)
        await world.sleep(10.0)
        life = world.process("w0")
        assert life is not None
        assert life.name == "w0#2"

    assert len(cluster(script).of(TermWon)) == 2


def test_a_machine_that_stands_still_does_nothing() -> None:
    async def script(world: SimCluster) -> None:
        await world.sleep(1.0)
        calls = world.processes["w1"].link.calls.total()
        world.pause("w1", 10.0)
        await world.sleep(9.0)
        assert world.processes["w1"].link.calls.total() == calls
        await world.sleep(3.0)
        assert world.processes["w1"].link.calls.total() > calls

    cluster(script)


def test_a_store_that_is_set_back_gets_its_older_books_back() -> None:
    async def script(world: SimCluster) -> None:
        await world.sleep(12.0)
        copy = world.copy_store()
        decided = len(world.model.store.accounts[TASK.key].verdicts)
        await world.sleep(20.0)
        world.restore_store(copy)
        assert len(world.model.store.accounts[TASK.key].verdicts) == decided
        await world.sleep(20.0)

    cluster(script)


def test_clocks_jump_and_drift_apart_from_true_time() -> None:
    time = [0.0]
    clock = SimClock(lambda: time[0])
    clock.jump(60.0)
    assert clock.now() == START + timedelta(seconds=60)
    assert clock.monotonic() == 0.0
    time[0] = 10.0
    clock.drift(1.5)
    time[0] = 20.0
    assert clock.monotonic() == 25.0
    assert clock.now() == START + timedelta(seconds=85)


def test_every_kind_of_fault_has_a_meaning() -> None:
    assert MEANING.keys() == set(InjectionKind)


@pytest.mark.parametrize("kind", InjectionKind, ids=lambda kind: kind.value)
def test_one_fault_of_each_kind_is_survived(kind: InjectionKind) -> None:
    fault = Injection(kind=kind, at=6.2, task=1, length=4.0, amount=0.05)
    plan = Plan(tasks=(TaskPlan(every=3.0), TaskPlan(every=2.0, dynamic=True)), faults=(fault,), duration=14.0)
    assert run_plan(plan, MemoryStore).seen[f"fault: {kind.value}"] >= 1


def test_one_line_replays_a_plan() -> None:
    plan = Plan(faults=(Injection(kind=InjectionKind.KILL, at=3.0, length=1.0),), seed=3, duration=6.0)
    command = [sys.executable, "-m", "task_manager_core.testing.campaign.replay", plan.text()]
    assert replay_line(plan).startswith("python -m task_manager_core.testing.campaign.replay")
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "at 3 s: kill w0" in ran.stdout
    assert "no violation" in ran.stdout
