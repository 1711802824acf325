"""From a plan to a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from task_manager_core.application import reconciler, scheduler, worker
from task_manager_core.testing.campaign.checkers import Violation, every_checker
from task_manager_core.testing.campaign.coverage import COVERAGE_GOALS
from task_manager_core.testing.campaign.faults import Injection, InjectionKind
from task_manager_core.testing.campaign.injector import Injector
from task_manager_core.testing.campaign.liveness import Liveness
from task_manager_core.testing.campaign.plan import POLICY, Plan
from task_manager_core.testing.campaign.workload import declaring
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.loop import DEFAULT_BUDGET
from task_manager_core.testing.cluster.run import run_simulation
from task_manager_core.testing.cluster.stores import SimStore

EVERYTHING = (*COVERAGE_GOALS, *(f"fault: {kind.value}" for kind in InjectionKind), "fault: tiny")
"""What a campaign has to have seen."""

FOREVER = 1e9
"""Seconds that outlast every simulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """What a simulated plan came to, when no invariant was broken."""

    trace_hash: str
    seen: Counter[str]
    steps: int
    time: float
    timeline: tuple[str, ...]


def run_plan(
    plan: Plan, make_store: Callable[[], SimStore], *, keep_lines: int = 60, max_steps: int = DEFAULT_BUDGET
) -> PlanResult:
    """Run a plan. Raises `Violation` with its timeline and a line that replays it; `SimBudget` after `max_steps`."""
    injector = Injector(plan.faults, plan.tasks)

    async def main() -> SimCluster:
        store = make_store()
        world = SimCluster(
            open_backend=store.open,
            declare=declaring(plan.tasks, injector),
            policy=POLICY,
            checkers=every_checker(),
            store=store,
            keep_lines=keep_lines,
        )
        world.points = injector.points(world)
        async with world:
            await _live(world, plan, injector)
        return world

    try:
        with _tiny_steps() if plan.tiny else _usual_steps():
            result = run_simulation(main, plan.decider(), keep_lines=0, max_steps=max_steps)
        if result.unhandled:
            raise Violation("code", f"nobody wanted this error: {result.unhandled[0]}")
    except Violation as violation:
        violation.add_note("\n".join([*plan.lines(), replay_line(plan)]))
        raise
    world = result.value
    if plan.tiny:
        world.coverage.note("fault: tiny")
    return PlanResult(
        trace_hash=result.trace_hash,
        seen=world.coverage.seen,
        steps=result.steps,
        time=result.time,
        timeline=world.timeline.lines(),
    )


def replay_line(plan: Plan) -> str:
    """What to type to see it again."""
    return f"python -m task_manager_core.testing.campaign.replay '{plan.text()}'"


async def _live(world: SimCluster, plan: Plan, injector: Injector) -> None:
    for machine in range(plan.machines):
        world.boot(f"w{machine}")
    born = [
        Injection(kind=InjectionKind.ADD, at=1.5, task=index, machine=index % plan.machines)
        for index, task in enumerate(plan.tasks)
        if task.dynamic
    ]
    Injector(born, plan.tasks).start(world)
    injector.start(world)
    await world.sleep(plan.duration)
    injector.end()
    core = _heal(world, plan)
    await Liveness(world, core).watch()


def _heal(world: SimCluster, plan: Plan) -> list[str]:
    """All machines but the broken ones work again; these stay cut off, every other of them also standing still."""
    core: list[str] = []
    world.store_faults.down_until = 0.0
    for number in range(plan.machines):
        machine = f"w{number}"
        life = world.process(machine)
        if number in plan.broken and len(plan.broken) < plan.machines:
            world.link_faults[machine].requests_lost_until = world.link_faults[machine].replies_lost_until = FOREVER
            if number % 2:
                world.pause(machine, FOREVER)
            continue
        core.append(machine)
        world.link_faults[machine].clear()
        if life is not None and life.stopping:
            world.kill(machine)
            life = None
        if life is None:
            world.boot(machine)
        else:
            world.loop.resume(life.name)
    world.tell("plan", f"healed: {', '.join(core)}")
    return core


@contextmanager
def _usual_steps() -> Generator[None]:
    yield


@contextmanager
def _tiny_steps() -> Generator[None]:
    """Every limit of a step is 1: what is hidden by batches shows."""
    names = (
        (scheduler, "TASKS_PER_COMMIT"),
        (scheduler, "SLOTS_PER_COMMIT"),
        (worker, "SETTLEMENTS_PER_STEP"),
        (reconciler, "CLAIMS_PER_STEP"),
    )
    usual = [(module, name, getattr(module, name)) for module, name in names]
    for module, name in names:
        setattr(module, name, 1)
    try:
        yield
    finally:
        for module, name, value in usual:
            setattr(module, name, value)
