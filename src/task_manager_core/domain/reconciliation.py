"""Reconciliation: it finds states that need a correction although every step was atomic.

Processes die, deployments change, an operator stops the leader. `diagnose` only names the findings. The reconciler acts
on them: it reaps an orphaned claim, retires a stray task and reports an overdue task, which the scheduler handles
anyway.

A check of all tasks costs time for each task. While no process is gone, a cheaper check is enough: the declarations of
the living nodes show the strays (`undeclared`), the agenda shows the overdue tasks, and only a worker that is gone
leaves orphans.
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
    """A slot that is due for a long time and has no decision yet."""

    key: TaskKey
    slot: datetime
    late: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphaned:
    """A running attempt whose worker does not live any more. Its claim will expire; this finding comes before."""

    key: TaskKey
    run: RunId
    worker: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A static task that no living process declares."""

    key: TaskKey


Finding = Overdue | Orphaned | Stray


def undeclared(scheduled: Collection[TaskKey], living: Iterable[Presence]) -> frozenset[TaskKey]:
    """Those of `scheduled`, the static tasks that are not retired, that no living node declares."""
    return frozenset(scheduled).difference(*(node.tasks for node in living))


def diagnose(snapshot: Snapshot, tasks: Mapping[TaskKey, TaskDefinition], tolerance: timedelta) -> tuple[Finding, ...]:
    """Find what is wrong in a snapshot. A slot is overdue if it is late by more than `tolerance`.

    While the presence of a living node cannot be read, no task is a stray: that node may declare it.
    """
    living = {node.node for node in snapshot.nodes} | snapshot.unreadable
    findings: list[Finding] = []
    for view in snapshot.tasks:
        task = tasks.get(view.key)
        declared = snapshot.unreadable or any(view.key in node.tasks for node in snapshot.nodes)
        if task is not None and not task.dynamic and not view.retired and not declared:
            findings.append(Stray(key=view.key))
        if view.next_slot is not None and not view.retired and snapshot.now - view.next_slot.due_at > tolerance:
            findings.append(Overdue(key=view.key, slot=view.next_slot.slot, late=snapshot.now - view.next_slot.due_at))
        findings.extend(
            Orphaned(key=view.key, run=run.run, worker=run.worker)
            for run in view.live
            if run.state is RunState.RUNNING and run.worker is not None and run.worker not in living
        )
    return tuple(findings)
