"""The runs that a worker may claim."""

from __future__ import annotations

from dataclasses import replace

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.scope import EVERYTHING, Scope
from tests.application.cluster import a_task


def test_a_scope_admits_queues_and_excludes_tasks() -> None:
    run = replace(a_task(), queue="heavy").run_of_request("one", 1)
    assert EVERYTHING.admits(run)
    assert Scope(frozenset({"heavy"})).admits(run)
    assert not Scope(frozenset({"default"})).admits(run)
    assert not Scope(None, frozenset({run.task})).admits(run)
    assert Scope(None, frozenset({TaskKey("group", "another")})).admits(run)
