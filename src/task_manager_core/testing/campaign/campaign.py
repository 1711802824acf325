"""Runs a plan and tells the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from task_manager_core.domain.policy import BatchPolicy
from task_manager_core.testing.campaign.checkers import Violation, every_checker
from task_manager_core.testing.campaign.coverage import COVERAGE_GOALS
from task_manager_core.testing.campaign.faults import Injection, InjectionKind
from task_manager_core.testing.campaign.injector import Injector
from task_manager_core.testing.campaign.liveness import Liveness
from task_manager_core.testing.campaign.monitor import Monitor
from task_manager_core.testing.campaign.plan import POLICY, Plan
from task_manager_core.testing.campaign.workload import PlannedCallbacks, declaring
from task_manager_core.testing.cluster.cluster import SimCluster
from task_manager_core.testing.cluster.loop import DEFAULT_BUDGET
from task_manager_core.testing.cluster.process import ENVIRONMENT
from task_manager_core.testing.cluster.run import run_simulation
from task_manager_core.testing.cluster.stores import SimStore

EVERYTHING = (*COVERAGE_GOALS, *(f"fault: {kind.value}" for kind in InjectionKind), "fault: tiny")
"""What must happen in a long campaign."""

ONE_BY_ONE = BatchPolicy(tasks_per_commit=1, slots_per_commit=1, settlements=1, reaped_claims=1)
"""Shows defects that larger batches hide."""

FOREVER = 1e9
"""Seconds, longer than every simulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """The result of a plan that broke no invariant. `seen` counts what happened, by its name."""

    trace_hash: str
    seen: Counter[str]
    steps: int
    time: float
    timeline: tuple[str, ...]


def run_plan(
    plan: Plan, make_store: Callable[[], SimStore], *, keep_lines: int = 60, max_steps: int = DEFAULT_BUDGET
) -> PlanResult:
    """Run a plan. Raises `Violation` with its timeline and a line that replays it; `SimBudget` after `max_steps`."""
    monitor = Monitor(every_checker(), keep_lines=keep_lines)
    monitor.model.is_calm = plan.only_blocks
    injector = Injector(plan.faults, plan.tasks, monitor)

    async def main() -> None:
        store = make_store()
        cluster = SimCluster(
            open_backend=store.open,
            declare=declaring(plan.tasks, injector, monitor),
            policy=replace(POLICY, batches=ONE_BY_ONE) if plan.tiny else POLICY,
            watcher=monitor,
            make_observer=PlannedCallbacks(plan.tasks, monitor).make_runner,
            store=store,
            duties=plan.duties_of,
        )
        cluster.points = injector.points(cluster)
        async with cluster:
            await _run(cluster, plan, injector, monitor)

    try:
        result = run_simulation(main, plan.decider(), keep_lines=0, max_steps=max_steps)
        if result.unhandled:
            raise Violation("code", f"unhandled error: {result.unhandled[0]}")
    except Violation as violation:
        violation.add_note("\n".join([*plan.lines(), replay_line(plan)]))
        raise
    if plan.tiny:
        monitor.coverage.count("fault: tiny")
    return PlanResult(
        trace_hash=result.trace_hash,
        seen=monitor.coverage.seen,
        steps=result.steps,
        time=result.time,
        timeline=monitor.timeline.lines(),
    )


def replay_line(plan: Plan) -> str:
    """The command that runs the plan again."""
    return f"python -m task_manager_core.testing.campaign.replay '{plan.text()}'"


async def _run(cluster: SimCluster, plan: Plan, injector: Injector, monitor: Monitor) -> None:
    for machine in range(plan.machines):
        cluster.boot(f"w{machine}")
    additions = [
        Injection(kind=InjectionKind.ADD, at=1.5, task=index, machine=index % plan.machines)
        for index, task in enumerate(plan.tasks)
        if task.dynamic
    ]
    Injector(additions, plan.tasks, monitor).start(cluster)
    injector.start(cluster)
    liveness = Liveness(cluster, monitor, [f"w{machine}" for machine in range(plan.machines)])
    watching = cluster.loop.spawn(ENVIRONMENT, liveness.watch_harmless()) if plan.is_harmless else None
    await cluster.sleep(plan.duration)
    if watching is not None:
        watching.cancel()
    injector.end()
    core = _heal(cluster, plan)
    monitor.note("plan", f"healed: {', '.join(core)}")
    await Liveness(cluster, monitor, core).watch()


def _heal(cluster: SimCluster, plan: Plan) -> list[str]:
    """Heal all machines but the broken ones. Those stay cut off; the ones with an odd number also stand still."""
    core: list[str] = []
    cluster.store_faults.down_until = 0.0
    for number in range(plan.machines):
        machine = f"w{number}"
        process = cluster.process(machine)
        if number in plan.broken and len(plan.broken) < plan.machines:
            cluster.link_faults[machine].requests_lost_until = cluster.link_faults[machine].replies_lost_until = FOREVER
            if number % 2:
                cluster.pause(machine, FOREVER)
            continue
        core.append(machine)
        cluster.link_faults[machine].clear()
        if process is not None and process.stopping:
            cluster.kill(machine)
            process = None
        if process is None:
            cluster.boot(machine)
        else:
            cluster.resume(machine)
    return core
