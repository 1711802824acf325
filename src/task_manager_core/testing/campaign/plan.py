"""A plan: the tasks, the faults and the decisions of a simulation, in one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from typing import TypeGuard

from task_manager_core.domain.duties import ALL_ROLES, DEFAULT_QUEUE, Duties, Role
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import (
    BlockPolicy,
    CatchUp,
    CatchUpMode,
    LeadershipPolicy,
    NodePolicy,
    Overlap,
    Priority,
    RetryPolicy,
    WorkerPolicy,
)
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.campaign.faults import HARMLESS, Injection, InjectionKind, Point, number
from task_manager_core.testing.cluster.clock import START
from task_manager_core.testing.cluster.decider import Decider

POLICY = NodePolicy(
    leadership=LeadershipPolicy(heartbeat=timedelta(seconds=1), retry_interval=timedelta(seconds=2)),
    worker=WorkerPolicy(
        concurrency=2,
        heartbeat=timedelta(seconds=1),
        wait=timedelta(seconds=1),
        unknown_function_pause=timedelta(
            seconds=1.37
        ),  # no multiple of the wait: the workers must take turns in another order
    ),
    blocking=BlockPolicy(warning=timedelta(seconds=1), limit=timedelta(seconds=4.5)),
    poll_interval=timedelta(seconds=0.5),
    refresh_interval=timedelta(seconds=1),
    reconciliation_interval=timedelta(seconds=3),
    keep_ended_tasks=timedelta(seconds=2),
    shutdown_timeout=timedelta(seconds=3),
)
"""About a third of the production times: faults of a few seconds are longer than leases and claims."""

SHARED = "work"
"""The functions of all static tasks have this name, like functions that are defined in a loop."""

# Joined with an underscore, the first two would be the same name.
_NAMES = (("a_b", "c"), ("a", "b_c"), ("g", "two"), ("g", "three"), ("g", "four"), ("g", "five"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """One task. Times are seconds. The first `failures` attempts of each run fail, the first `crashes` end their
    process. `only` is the one machine that declares it.

    `once` is the second of the only run of a one-off task, which must be dynamic. A function with `returns` returns a
    value, with `cursor` it reads the cursor and sets it, with `progress` it reports how far it is, and a task with
    `callbacks` has them. All these values are the fencing token of the attempt.
    """

    every: float = 4.0
    cron: bool = False
    overlap: str = "allow"
    instances: int | None = None
    catch_up: str = "latest"
    priority: str = "low"
    duration: float = 0.5
    failures: int = 0
    crashes: int = 0
    max_retries: int | None = None
    max_lost_attempts: int | None = 5
    backoff: float = 1.0
    jitter: float = 0.0
    slot_jitter: float = 0.0
    timeout: float | None = None
    deadline: float | None = None
    expires: float | None = None
    run_on_start: bool = False
    sync: bool = False
    dynamic: bool = False
    only: int | None = None
    queue: str = DEFAULT_QUEUE
    once: float | None = None
    returns: bool = False
    cursor: bool = False
    progress: bool = False
    callbacks: bool = False

    def schedule(self, later: int = 0) -> Schedule:
        every = self.every + later
        if self.once is not None:
            return Schedule.at(START + timedelta(seconds=self.once + later))
        if self.cron:
            return Schedule.cron(f"*/{int(every)} * * * * *", jitter=timedelta(seconds=self.slot_jitter))
        return Schedule.every(timedelta(seconds=every), jitter=timedelta(seconds=self.slot_jitter))

    def task(self, index: int, later: int = 0) -> TaskDefinition:
        """The definition of the task at this place of the plan; `later` seconds are added to its interval."""
        return TaskDefinition(
            key=key_of(index),
            schedule=self.schedule(later),
            function=f"work{index}" if self.dynamic else SHARED,
            priority=Priority(self.priority),
            overlap=Overlap(self.overlap),
            max_instances=self.instances,
            catch_up=CatchUp(
                mode=CatchUpMode(self.catch_up), window=timedelta(seconds=30), limit=5, grace=timedelta(seconds=2)
            ),
            retry=RetryPolicy(
                initial=timedelta(seconds=self.backoff),
                maximum=timedelta(seconds=self.backoff * 4),
                jitter=self.jitter,
                max_retries=self.max_retries,
                max_lost_attempts=self.max_lost_attempts,
            ),
            timeout=None if self.timeout is None else timedelta(seconds=self.timeout),
            start_deadline=None if self.deadline is None else timedelta(seconds=self.deadline),
            expires=None if self.expires is None else timedelta(seconds=self.expires),
            run_on_start=self.run_on_start,
            dynamic=self.dynamic,
            queue=self.queue,
        )


def key_of(index: int) -> TaskKey:
    return TaskKey(*_NAMES[index])


MOST_TASKS = len(_NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A simulation. Faults happen in the first `duration` seconds. Then all machines but the `broken` ones are healed.

    The decider follows `seed`, or `deviations` from a calm run. With `tiny` every batch has one element.
    """

    machines: int = 3
    tasks: tuple[TaskPlan, ...] = (TaskPlan(),)
    faults: tuple[Injection, ...] = ()
    seed: int | None = None
    deviations: tuple[tuple[int, int], ...] = ()
    duration: float = 25.0
    broken: tuple[int, ...] = ()
    tiny: bool = False
    duties: tuple[str, ...] = ()
    """Those of the first machines; the others have all: "", "schedule", "execute", "none", or with queues
    "execute@mail,default"."""

    def duties_of(self, machine: str) -> Duties:
        """The duties of "w0", "w1" and so on."""
        number = int(machine.removeprefix("w"))
        roles, _, queues = (self.duties[number] if number < len(self.duties) else "").partition("@")
        return Duties(
            roles=ALL_ROLES if not roles else frozenset(role for role in Role if role.value == roles),
            queues=frozenset(queues.split(",")) if queues else None,
        )

    def decider(self) -> Decider:
        if self.seed is not None:
            return Decider(self.seed)
        return Decider(deviations=dict(self.deviations)) if self.deviations else Decider()

    def text(self) -> str:
        """One line from which `Plan.parse` makes the same plan."""
        data: dict[str, object] = _changed(self)
        data["tasks"] = [_changed(task) for task in self.tasks]
        data["faults"] = [fault.data() for fault in self.faults]
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Plan:
        data: object = json.loads(text)
        if not _is_object(data):
            raise ValueError("a plan is a JSON object")
        values: dict[str, object] = dict(data)
        values["tasks"] = tuple(_task(one) for one in _objects(data.get("tasks", [])))
        values["faults"] = tuple(Injection.of(one) for one in _objects(data.get("faults", [])))
        for name in ("deviations", "broken", "duties"):
            if name in values:
                values[name] = _tuple(values[name])
        return cls(**values)  # type: ignore[arg-type]  # the names and types are those of `text`

    @property
    def is_harmless(self) -> bool:
        """Does no fault and no task delay a message, a process or the store? At a code point an operation waits until
        the request of a person is answered, and the request may wait for that operation."""
        harmless = all(fault.kind in HARMLESS and not isinstance(fault.at, Point) for fault in self.faults)
        return harmless and not any(task.crashes for task in self.tasks)

    @property
    def only_blocks(self) -> bool:
        """Does nothing delay a message or a process but functions that block their event loops?"""
        return all(fault.kind in HARMLESS or fault.kind is InjectionKind.BLOCK for fault in self.faults)

    def lines(self) -> list[str]:
        """The plan as lines to read."""
        lines = [f"{self.machines} machines, faults for {self.duration:g} s, {self.decider()!r}" + ", tiny" * self.tiny]
        lines += [f"  task {index} {key_of(index)}: {_changed(task)}" for index, task in enumerate(self.tasks)]
        lines += [f"  {fault}" for fault in self.faults]
        lines += [f"  never healed: {', '.join(f'w{machine}' for machine in self.broken)}"] * bool(self.broken)
        return lines


def _changed(value: Plan | TaskPlan) -> dict[str, object]:
    """The fields that do not have their default."""
    return {
        one.name: getattr(value, one.name)
        for one in fields(value)
        if one.default is MISSING or getattr(value, one.name) != one.default
    }


def _task(data: Mapping[str, object]) -> TaskPlan:
    return TaskPlan(**data)  # type: ignore[arg-type]  # the names and types are those of `text`


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list)


def _objects(value: object) -> list[Mapping[str, object]]:
    if not _is_list(value):
        raise ValueError(f"not a list: {value!r}")
    return [one for one in value if _is_object(one)]


def _tuple(value: object) -> tuple[object, ...]:
    if not _is_list(value):
        raise ValueError(f"not a list: {value!r}")
    return tuple(tuple(map(int, map(number, one))) if _is_list(one) else one for one in value)
