"""Random plans. A `Chance` answers the questions: the decider, or Hypothesis, which can shrink its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from task_manager_core.testing.campaign.faults import PEOPLE, Injection, InjectionKind, Point
from task_manager_core.testing.campaign.plan import MOST_TASKS, Plan, TaskPlan
from task_manager_core.testing.cluster.decider import Decider
from task_manager_core.testing.cluster.link import Side

_T = TypeVar("_T")

MACHINES = 3
DURATION = 25.0

MOST_FAULTS = 10
SEEDS = 2**16

_SECONDS = (2.0, 1.0, 4.0, 8.0)  # a lease and a claim are 3
_LENGTHS: dict[InjectionKind, tuple[float, ...]] = {
    InjectionKind.SLOW: _SECONDS,
    InjectionKind.CUT: _SECONDS,
    InjectionKind.MUTE: _SECONDS,
    InjectionKind.DEAF: _SECONDS,
    InjectionKind.QUIET: _SECONDS,
    InjectionKind.PAUSE: (4.0, 2.0, 8.0, 1.0),
    InjectionKind.BLOCK: _SECONDS,
    InjectionKind.DOWN: _SECONDS,
    InjectionKind.REWIND: _SECONDS,
    InjectionKind.DISABLE: (2.0, 4.0, 0.0, 8.0),
    InjectionKind.KILL: (2.0, 0.5, 5.0, 0.0),
    InjectionKind.STOP: (2.0, 0.5, 5.0, 0.0),
}
_AMOUNTS: dict[InjectionKind, tuple[float, ...]] = {
    InjectionKind.SLOW: (0.1, 1.0, 4.0),
    InjectionKind.JUMP: (60.0, -60.0, 3.0, -3.0),
    InjectionKind.DRIFT: (0.08, -0.08),
    InjectionKind.TRIGGER: (0.0, 1.0),  # 1: under an id that stands for several requests
    InjectionKind.SET_BACK: (5.0, 2.0, 30.0, -5.0),
}

# How often a machine calls an operation during a plan. A later code point would never be reached.
_CALLS = {
    "commit": 12,
    "renew": 12,
    "campaign": 8,
    "observe": 20,
    "depose": 2,
    "agenda": 30,
    "claim": 30,
    "extend": 12,
    "settle": 10,
    "release": 4,
    "reap": 6,
    "put": 2,
    "load": 20,
    "enqueue": 2,
    "snapshot": 6,
    "announce": 4,
    "retire": 1,
    "resign": 1,
}

_PLAIN = tuple(kind for kind in InjectionKind if kind is not InjectionKind.LATER)
"""The faults of a random plan. Those of an extended plan are drawn after them: the numbered plans stay the same."""

# More often: a process that stands still right before it writes. This is what fences are for.
_OPERATIONS = (*_CALLS, "commit", "commit", "commit", "reap", "settle")
_KINDS = (*_PLAIN, InjectionKind.PAUSE, InjectionKind.PAUSE, InjectionKind.PAUSE, InjectionKind.KILL)


class Chance(Protocol):
    """Draws the values of a plan. The first option and the low end are the simplest answers."""

    def pick(self, options: Sequence[_T], /) -> _T: ...
    def between(self, low: int, high: int, /) -> int: ...


def random_plan(number: int) -> Plan:
    """One of the random plans: the same one for a number with every version of Python and of Hypothesis."""
    return draw_plan(Decider(number))


def extended_plan(number: int) -> Plan:
    """The random plan of this number, whose tasks do more: a second series of plans."""
    return extended(random_plan(number), Decider(SEEDS + number))


def extended(plan: Plan, chance: Chance, most_faults: int = 3) -> Plan:
    """The same plan with more: tasks that return, remember and report, callbacks, a one-off task, delayed requests."""
    tasks = [_draw_habits(chance, task) for task in plan.tasks]
    if chance.pick([False, True]):
        once, duration = chance.pick([6.0, 3.0, 9.0, 14.0]), chance.pick([0.5, 5.0, 3.0])
        tasks.append(_draw_habits(chance, TaskPlan(dynamic=True, once=once, duration=duration)))
    requests = _several(chance, _draw_request, 0, most_faults)
    pauses = _several(chance, _draw_pause, 0, most_faults) if plan.faults else ()
    return replace(plan, tasks=tuple(tasks), faults=(*plan.faults, *requests, *pauses))


def _draw_habits(chance: Chance, task: TaskPlan) -> TaskPlan:
    return replace(
        task,
        returns=chance.pick([False, True]),
        cursor=chance.pick([False, True]),
        progress=chance.pick([False, True]),
        callbacks=chance.pick([False, True]),
    )


def limited(plan: Plan, chance: Chance) -> Plan:
    """The same plan with more limits: an expiry, and a number of live runs. The numbered plans have none of them."""
    return replace(plan, tasks=tuple(_draw_limits(chance, task) for task in plan.tasks))


def _draw_limits(chance: Chance, task: TaskPlan) -> TaskPlan:
    return replace(
        task,
        expires=chance.pick([None, None, 3.0]),
        instances=chance.pick([None, 1, 2]) if task.overlap == "allow" else None,
    )


def _draw_request(chance: Chance) -> Injection:
    """A person asks for a run with a delay."""
    return Injection(
        kind=InjectionKind.LATER,
        at=_draw_instant(chance),
        machine=chance.between(0, MACHINES - 1),
        task=chance.between(0, MOST_TASKS - 1),
        length=chance.pick(_SECONDS),
        amount=chance.pick([0.0, 0.2, 2.0]),
    )


def _draw_pause(chance: Chance) -> Injection:
    """A machine loses its claims while it reads, reports or settles."""
    operation, nth = chance.pick(["settle", "report", "memory"]), chance.between(1, 8)
    return Injection(
        kind=InjectionKind.PAUSE,
        at=Point(operation, nth, chance.pick(tuple(Side))),
        machine=chance.between(0, MACHINES - 1),
        length=chance.pick((8.0, 4.0, 5.0)),
    )


def draw_plan(chance: Chance) -> Plan:
    """A whole simulation."""
    return Plan(
        machines=MACHINES,
        tasks=_several(chance, draw_task, 1, 4),
        faults=_several(chance, draw_fault, 0, MOST_FAULTS),
        seed=_draw_seed(chance),
        duration=DURATION,
        broken=chance.pick([(), (), (0,), (1,), (2,), (0, 1), (1, 2)]),
        tiny=chance.pick([False, False, False, True]),
    )


def draw_calm_plan(chance: Chance) -> Plan:
    """A plan without faults; only the order of events is left to chance."""
    return Plan(
        machines=MACHINES,
        tasks=_several(chance, draw_task, 1, 4),
        seed=_draw_seed(chance),
        duration=DURATION,
        tiny=chance.pick([False, True]),
    )


def draw_task(chance: Chance) -> TaskPlan:
    """One task with random policies; the simplest is calm and short."""
    task = TaskPlan(
        every=chance.pick([4.0, 2.0, 3.0, 6.0, 10.0]),
        cron=chance.pick([False, True]),
        overlap=chance.pick(["allow", "buffer_one", "skip"]),
        catch_up=chance.pick(["latest", "none", "all"]),
        priority=chance.pick(["low", "high"]),
        duration=chance.pick([0.5, 0.0, 1.0, 3.0, 5.0]),
        failures=chance.pick([0, 0, 1, 2]),
        max_retries=chance.pick([None, 0, 1, 3]),
        max_lost_attempts=chance.pick([5, None, 0, 1]),
        backoff=chance.pick([1.0, 0.5, 3.0]),
        jitter=chance.pick([0.0, 0.5]),
        slot_jitter=chance.pick([0.0, 0.0, 1.0]),
        timeout=chance.pick([None, None, 2.0]),
        deadline=chance.pick([None, None, 3.0]),
        run_on_start=chance.pick([False, True]),
        sync=chance.pick([False, False, True]),
        dynamic=chance.pick([False, True]),
        only=chance.pick([None, None, None, 0, 1]),
    )
    # A task that always times out must not be retried for ever: the simulation waits for every run to end.
    if task.timeout is not None and task.timeout < task.duration and task.max_retries is None:
        return replace(task, max_retries=1)
    return task


def draw_fault(chance: Chance) -> Injection:
    """One fault, at an instant or at a code point."""
    kind = chance.pick(_KINDS)
    at: float | Point = _draw_instant(chance)
    if chance.pick([False, True]):
        operation = chance.pick(_OPERATIONS)
        at = Point(operation, chance.between(1, _CALLS[operation]), chance.pick(tuple(Side)))
    return Injection(
        kind=kind,
        at=at,
        machine=chance.pick(
            [0, 0, *range(MACHINES)]
        ),  # the first machine leads, and faults of the leader show more defects
        task=chance.between(0, MOST_TASKS - 1) if kind in PEOPLE else 0,
        length=chance.pick(_LENGTHS.get(kind, (0.0,))),
        amount=chance.pick(_AMOUNTS.get(kind, (0.0,))),
    )


def _draw_instant(chance: Chance) -> float:
    return chance.between(0, int(DURATION * 10) - 20) / 10


def _draw_seed(chance: Chance) -> int | None:
    return chance.between(0, SEEDS) if chance.pick([False, True]) else None


def _several(chance: Chance, draw: Callable[[Chance], _T], least: int, most: int) -> tuple[_T, ...]:
    return tuple(draw(chance) for _ in range(chance.between(least, most)))
