"""The findings of the reconciler, from one snapshot (`domain.observation`)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.observation import LiveRun, Presence, Snapshot, TaskView
from task_manager_core.domain.planning import NextSlot
from task_manager_core.domain.reconciliation import Orphaned, Overdue, Stray, diagnose, undeclared
from task_manager_core.domain.run import RunState
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition

KEY = TaskKey("g", "n")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = timedelta(seconds=5)
RUN = RunId("r")


def a_task(*, dynamic: bool = False) -> TaskDefinition:
    return TaskDefinition(key=KEY, schedule=Schedule.every(timedelta(minutes=1)), function="f", dynamic=dynamic)


def node(name: str, *declared: TaskKey) -> Presence:
    return Presence(node=NodeId(name), service="s", started_at=NOW, tasks=frozenset(declared), functions=frozenset())


def view(*live: LiveRun, retired: bool = False, late: timedelta | None = None) -> TaskView:
    next_slot = None if late is None else NextSlot(slot=NOW - late, due_at=NOW - late)
    return TaskView(key=KEY, version=1, next_slot=next_slot, retired=retired, live=live)


def running(worker: NodeId | None, state: RunState = RunState.RUNNING) -> LiveRun:
    return LiveRun(run=RUN, slot=NOW, state=state, attempt=1, failures=0, worker=worker)


def findings(seen: TaskView, *nodes: Presence, task: TaskDefinition | None = None) -> tuple[object, ...]:
    snapshot = Snapshot(now=NOW, term=None, tasks=(seen,), nodes=nodes)
    return diagnose(snapshot, {} if task is None else {KEY: task}, PATIENCE)


def test_a_static_task_that_no_living_node_declares_is_a_stray() -> None:
    assert findings(view(), node("a"), task=a_task()) == (Stray(key=KEY),)


@pytest.mark.parametrize(
    ("seen", "nodes", "task"),
    [
        (view(), (node("a"), node("b", KEY)), a_task()),
        (view(), (), a_task(dynamic=True)),
        (view(retired=True), (), a_task()),
        (view(), (), None),
    ],
    ids=["declared by one of them", "dynamic", "retired already", "not learnt yet"],
)
def test_a_task_that_is_declared_dynamic_retired_or_unknown_is_no_stray(
    seen: TaskView, nodes: tuple[Presence, ...], task: TaskDefinition | None
) -> None:
    assert findings(seen, *nodes, task=task) == ()


def test_while_a_living_node_cannot_be_understood_nothing_is_a_stray_and_its_claims_are_no_orphans() -> None:
    newer = NodeId("newer")
    snapshot = Snapshot(
        now=NOW, term=None, tasks=(view(running(newer)),), nodes=(node("a"),), unreadable=frozenset({newer})
    )
    assert diagnose(snapshot, {KEY: a_task()}, PATIENCE) == ()


def test_a_slot_is_overdue_once_it_is_later_than_patience() -> None:
    late = PATIENCE + timedelta(milliseconds=1)
    assert findings(view(late=late)) == (Overdue(key=KEY, slot=NOW - late, late=late),)
    assert findings(view(late=PATIENCE)) == ()
    assert findings(view(late=late, retired=True)) == ()


def test_a_running_attempt_of_a_worker_that_is_gone_is_an_orphan() -> None:
    gone = NodeId("gone")
    assert findings(view(running(gone)), node("a")) == (Orphaned(key=KEY, run=RUN, worker=gone),)
    assert findings(view(running(NodeId("a"))), node("a")) == ()
    assert findings(view(running(None))) == ()
    assert findings(view(running(gone, RunState.WAITING))) == ()


def test_undeclared_is_what_no_living_node_declares() -> None:
    assert undeclared([KEY], []) == {KEY}
    assert undeclared([KEY], [node("a")]) == {KEY}
    assert undeclared([KEY], [node("a"), node("b", KEY)]) == frozenset()
    assert undeclared([], [node("a", KEY)]) == frozenset()
