"""The frozen policies can be read as current ones. mypy judges the assignments, the tests what is read."""

from __future__ import annotations

from task_manager_core.domain.current_policy import CurrentLeadershipPolicy, CurrentNodePolicy, CurrentWorkerPolicy
from task_manager_core.domain.policy import BatchPolicy, LeadershipPolicy, NodePolicy, WorkerPolicy


def test_a_service_reads_a_frozen_policy_as_a_current_one() -> None:
    node: CurrentNodePolicy = NodePolicy()
    leadership: CurrentLeadershipPolicy = node.leadership
    worker: CurrentWorkerPolicy = node.worker
    assert (leadership, worker, node.batches) == (LeadershipPolicy(), WorkerPolicy(), BatchPolicy())
