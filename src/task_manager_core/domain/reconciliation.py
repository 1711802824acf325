"""What has gone wrong although every step was atomic: processes die, deployments change, somebody stops the leader.

`diagnose` only names findings. What is done about each is the reconciler's: an orphaned claim is reaped, a stray task
is retired, an overdue one is reported (the scheduler is already behind it).

Looking at every task costs as much as there are tasks. Few are worth a look while no process has gone: strays follow
from what the living declare (`undeclared`), overdue tasks from the agenda, and only a worker that has gone leaves
orphans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.observation import Presence, Snapshot
from task_manager_core.domain.run import RunState
from task_manager_core.domain.task import TaskDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A slot that should have been decided about long ago."""

    key: TaskKey
    slot: datetime
    late: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphaned:
    """A running attempt whose worker is not among the living. Its claim ends by itself; this names it early."""

    key: TaskKey
    run: RunId
    worker: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A static task that no living process declares."""

    key: TaskKey


Finding = Overdue | Orphaned | Stray


def undeclared(scheduled: Collection[TaskKey], living: Iterable[Presence]) -> frozenset[TaskKey]:
    """The tasks that no living node declares. `scheduled`: static ones that are not retired."""
    return frozenset(scheduled).difference(*(node.tasks for node in living))


def diagnose(snapshot: Snapshot, tasks: Mapping[TaskKey, TaskDefinition], tolerance: timedelta) -> tuple[Finding, ...]:
    """Name what is wrong. `patience`: how late a slot may be before it is worth a word.

    While a living node cannot be understood, no task is a stray: that node may declare it.
    """
    living = {node.node for node in snapshot.nodes} | snapshot.unreadable
    findings: list[Finding] = []
    for view in snapshot.tasks:
        task = tasks.get(view.key)
        unknown = snapshot.unreadable or any(view.key in node.tasks for node in snapshot.nodes)
        if task is not None and not task.dynamic and not view.retired and not unknown:
            findings.append(Stray(key=view.key))
        if view.next_slot is not None and not view.retired and snapshot.now - view.next_slot.due_at > tolerance:
            findings.append(Overdue(key=view.key, slot=view.next_slot.slot, late=snapshot.now - view.next_slot.due_at))
        findings.extend(
            Orphaned(key=view.key, run=run.run, worker=run.worker)
            for run in view.live
            if run.state is RunState.RUNNING and run.worker is not None and run.worker not in living
        )
    return tuple(findings)
