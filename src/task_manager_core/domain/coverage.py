"""Coverage: which work no living process does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from task_manager_core.domain.identity import FunctionKey, TaskKey
from task_manager_core.domain.observation import Presence, Snapshot
from task_manager_core.domain.task import TaskDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncovered:
    """The work that no living process does.

    Attributes:
        schedule: No process has the role to schedule.
        queues: The queues that no process serves, each with the tasks that name it.
        unknown: The tasks whose function no process knows that serves their queue.
    """

    schedule: bool = False
    queues: dict[str, tuple[TaskKey, ...]] = field(default_factory=dict[str, tuple[TaskKey, ...]])
    unknown: tuple[TaskKey, ...] = ()


def find_uncovered(tasks: Iterable[TaskDefinition], snapshot: Snapshot) -> Uncovered:
    """Find what no living process does about these tasks. While the presence of a living process cannot be read,
    nothing is found: that process may do it."""
    if snapshot.unreadable:
        return Uncovered()
    known: dict[str, _Known | None] = {}
    queues: dict[str, list[TaskKey]] = {}
    unknown: list[TaskKey] = []
    scheduled = False
    for task in tasks:
        scheduled = scheduled or bool(task.schedule.rules)
        if task.queue not in known:
            known[task.queue] = _known_in(task.queue, snapshot.nodes)
        known_there = known[task.queue]
        if known_there is None:
            queues.setdefault(task.queue, []).append(task.key)
        elif not known_there.has(task):
            unknown.append(task.key)
    return Uncovered(
        schedule=scheduled and not any(node.duties.schedules for node in snapshot.nodes),
        queues={queue: tuple(sorted(keys)) for queue, keys in sorted(queues.items())},
        unknown=tuple(sorted(unknown)),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What the processes that serve one queue know together."""

    tasks: frozenset[TaskKey]
    functions: frozenset[FunctionKey]

    def has(self, task: TaskDefinition) -> bool:
        return FunctionKey(task.key.group, task.function) in self.functions if task.dynamic else task.key in self.tasks


def _known_in(queue: str, nodes: Iterable[Presence]) -> _Known | None:
    """None if no node serves the queue."""
    serving = [node for node in nodes if node.duties.serves(queue)]
    if not serving:
        return None
    no_tasks: frozenset[TaskKey] = frozenset()
    no_functions: frozenset[FunctionKey] = frozenset()
    return _Known(
        no_tasks.union(*(node.tasks for node in serving)), no_functions.union(*(node.functions for node in serving))
    )
