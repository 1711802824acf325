"""Hypothesis strategies that draw a whole plan up front, and shrink it towards a calm one."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from task_manager_core.testing.simulation.channel import Side
from task_manager_core.testing.simulation.faults import PEOPLE, Fault, FaultKind, Point
from task_manager_core.testing.simulation.plan import MOST_TASKS, Plan, TaskPlan

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise ImportError("plans are drawn by Hypothesis: pip install 'hexagonal-task-manager[testing]'") from missing

T = TypeVar("T")

MACHINES = 3
DURATION = 25.0

_SECONDS = (2.0, 1.0, 4.0, 8.0)  # a lease and a claim are 3
_LENGTHS: dict[FaultKind, tuple[float, ...]] = {
    FaultKind.SLOW: _SECONDS,
    FaultKind.CUT: _SECONDS,
    FaultKind.MUTE: _SECONDS,
    FaultKind.DEAF: _SECONDS,
    FaultKind.PAUSE: (4.0, 2.0, 8.0, 1.0),
    FaultKind.BLOCK: _SECONDS,
    FaultKind.DOWN: _SECONDS,
    FaultKind.REWIND: _SECONDS,
    FaultKind.DISABLE: (2.0, 4.0, 0.0, 8.0),
    FaultKind.KILL: (2.0, 0.5, 5.0, 0.0),
    FaultKind.STOP: (2.0, 0.5, 5.0, 0.0),
}
_AMOUNTS: dict[FaultKind, tuple[float, ...]] = {
    FaultKind.SLOW: (0.1, 1.0, 4.0),
    FaultKind.JUMP: (60.0, -60.0, 3.0, -3.0),
    FaultKind.DRIFT: (0.08, -0.08),
    FaultKind.TRIGGER: (0.0, 1.0),  # 1: under an id that stands for several requests
    FaultKind.SET_BACK: (5.0, 2.0, 30.0, -5.0),
}

# How often a machine calls an operation in a plan's time: a code point beyond it never comes.
_CALLS = {
    "commit": 12,
    "renew": 12,
    "campaign": 8,
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

# What breaks fences comes more often: a process that stands still right before it writes.
_OPERATIONS = (*_CALLS, "commit", "commit", "commit", "reap", "settle")
_KINDS = (*FaultKind, FaultKind.PAUSE, FaultKind.PAUSE, FaultKind.PAUSE, FaultKind.KILL)


def tasks() -> st.SearchStrategy[TaskPlan]:
    """One task with random policies; the simplest is calm and short."""
    return st.builds(
        TaskPlan,
        every=st.sampled_from([4.0, 2.0, 3.0, 6.0, 10.0]),
        cron=st.booleans(),
        overlap=st.sampled_from(["allow", "buffer_one", "skip"]),
        catch_up=st.sampled_from(["latest", "none", "all"]),
        priority=st.sampled_from(["low", "high"]),
        duration=st.sampled_from([0.5, 0.0, 1.0, 3.0, 5.0]),
        failures=st.sampled_from([0, 0, 1, 2]),
        max_retries=st.sampled_from([None, 0, 1, 3]),
        max_lost_attempts=st.sampled_from([5, None, 0, 1]),
        backoff=st.sampled_from([1.0, 0.5, 3.0]),
        jitter=st.sampled_from([0.0, 0.5]),
        slot_jitter=st.sampled_from([0.0, 0.0, 1.0]),
        timeout=st.sampled_from([None, None, 2.0]),
        deadline=st.sampled_from([None, None, 3.0]),
        run_on_start=st.booleans(),
        sync=st.sampled_from([False, False, True]),
        dynamic=st.booleans(),
        only=st.sampled_from([None, None, None, 0, 1]),
    ).map(_ending)


def _ending(task: TaskPlan) -> TaskPlan:
    """A task that never gets done in time must not be tried for ever: the simulation waits for every run to end."""
    if task.timeout is not None and task.timeout < task.duration and task.max_retries is None:
        return replace(task, max_retries=1)
    return task


def faults() -> st.SearchStrategy[Fault]:
    """One fault, at an instant or at a code point."""
    machine = st.sampled_from([0, 0, *range(MACHINES)])  # the first to boot leads, and leaders have more to lose
    instant = st.integers(0, int(DURATION * 10) - 20).map(lambda tenth: tenth / 10)
    point = st.sampled_from(_OPERATIONS).flatmap(
        lambda operation: st.builds(Point, st.just(operation), st.integers(1, _CALLS[operation]), st.sampled_from(Side))
    )
    when = st.one_of(instant, point)
    return st.sampled_from(_KINDS).flatmap(
        lambda kind: st.builds(
            Fault,
            kind=st.just(kind),
            at=when,
            machine=machine,
            task=st.integers(0, MOST_TASKS - 1) if kind in PEOPLE else st.just(0),
            length=st.sampled_from(_LENGTHS.get(kind, (0.0,))),
            amount=st.sampled_from(_AMOUNTS.get(kind, (0.0,))),
        )
    )


def plans() -> st.SearchStrategy[Plan]:
    """A whole simulation."""
    return st.builds(
        Plan,
        machines=st.just(MACHINES),
        tasks=st.lists(tasks(), min_size=1, max_size=4).map(tuple),
        faults=st.lists(faults(), max_size=10).map(tuple),
        seed=st.none() | st.integers(0, 2**16),
        duration=st.just(DURATION),
        broken=st.sampled_from([(), (), (0,), (1,), (2,), (0, 1), (1, 2)]),
        tiny=st.sampled_from([False, False, False, True]),
    )


def calm_plans() -> st.SearchStrategy[Plan]:
    """Nothing goes wrong; only the order of events is left to chance."""
    return st.builds(
        Plan,
        machines=st.just(MACHINES),
        tasks=st.lists(tasks(), min_size=1, max_size=4).map(tuple),
        seed=st.none() | st.integers(0, 2**16),
        duration=st.just(DURATION),
        tiny=st.booleans(),
    )
