"""I6: runs of an exclusive task."""

from __future__ import annotations

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.run import RunState
from task_manager_core.ports import Enqueued
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, ModelExecution
from task_manager_core.testing.cluster.effects import Claimed, Decided, Effect, Requested


class NoOverlap(Checker):
    """Runs of an exclusive task overlap only after a claim expired. Then the older run can no longer write."""

    invariant = "I6"
    law = "Without allow_parallel two runs overlap only after a claim expired, and then the older can write no more."
    because = "Live and held runs are counted inside the step that queues a run, not before it."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Decided(decision=decision) if decision.key in model.store.tasks:
                dispatched = decision.dispatch
                if dispatched and dispatched[0].exclusive:
                    self.require(len(dispatched) == 1, f"{decision.key}: {len(dispatched)} runs in one decision")
                    self._alone(decision.key, model)
                if decision.hold is not None:
                    held = model.store.tasks[decision.key].held
                    self.require(not held, f"{decision.key}: a second slot is held")
            case Requested(run=run, answer=Enqueued.QUEUED) if run.exclusive:
                self._alone(run.task, model)
            case Claimed(claim=claim) if claim.run.exclusive and claim.run.task in model.store.tasks:
                task = model.store.tasks[claim.run.task]
                running = [
                    run.run.id
                    for run in task.live.values()
                    if run.state is RunState.RUNNING and run.run.id != claim.run.id and run.run.exclusive
                ]
                self.require(not running, f"{claim.run.task}: {claim.run.id} was claimed beside {running}")
            case _:
                pass

    def _alone(self, key: TaskKey, model: ClusterModel) -> None:
        task = model.store.tasks.get(key)
        if task is None:
            return
        others = [run.run.id.value for run in (*task.live.values(), *task.held)]
        self.require(not others, f"{key}: a run was queued beside {', '.join(others)}")

    def begin(self, execution: ModelExecution, model: ClusterModel) -> None:
        """Executions of the task overlap only if the claim of one of them has expired."""
        if not execution.exclusive or not _claimed(execution, model):
            return
        for other in model.executing(execution.task):
            same = (other.run, other.token) == (execution.run, execution.token)
            if not same and other.exclusive and _claimed(other, model):
                self.violated(f"{execution.task} executes on {execution.node} and on {other.node}")


def _claimed(execution: ModelExecution, model: ClusterModel) -> bool:
    """Is the claim of this execution alive?"""
    task = model.store.tasks.get(execution.task)
    run = None if task is None else task.live.get(execution.run)
    if run is None or run.claim is None or run.claim.token != execution.token:
        return False
    return model.at - run.heartbeat < model.claim_ttl
