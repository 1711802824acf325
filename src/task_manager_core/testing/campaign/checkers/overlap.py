"""I6: runs of a task with a limit of live runs: one if the task is exclusive."""

from __future__ import annotations

from collections.abc import Sequence

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.run import Run, RunState
from task_manager_core.ports import Enqueued
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, ModelExecution
from task_manager_core.testing.cluster.effects import Claimed, Decided, Effect, Requested


class NoOverlap(Checker):
    """More runs than the limit overlap only after a claim expired. Then the older run can no longer write."""

    invariant = "I6"
    law = (
        "Without allow_parallel two runs, and with max_instances more runs than that, overlap only after a claim "
        "expired, and then the older can write no more."
    )
    because = "Live and held runs are counted inside the step that queues a run, not before it."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Decided(decision=decision) if decision.key in model.store.tasks:
                self._placed(decision.key, decision.dispatch, model)
                if decision.hold is not None:
                    held = model.store.tasks[decision.key].held
                    self.require(not held, f"{decision.key}: a second slot is held")
            case Requested(run=run, answer=Enqueued.QUEUED | Enqueued.WAITING):
                self._placed(run.task, (run,), model)
            case Claimed(claim=claim) if claim.run.task in model.store.tasks:
                task, limit = model.store.tasks[claim.run.task], claim.run.live_limit
                running = [
                    run.run.id
                    for run in task.live.values()
                    if run.state is RunState.RUNNING and run.run.id != claim.run.id and run.run.live_limit == limit
                ]
                fits = limit is None or len(running) < limit
                self.require(fits, f"{claim.run.task}: {claim.run.id} was claimed beside {running}, of {limit}")
            case _:
                pass

    def _placed(self, key: TaskKey, runs: Sequence[Run], model: ClusterModel) -> None:
        """These runs are queued beside the runs that live already."""
        task, limit = model.store.tasks.get(key), runs[0].live_limit if runs else None
        if task is None or limit is None:
            return
        others = [run.run.id.value for run in (*task.live.values(), *task.held)]
        fits = not task.held and len(others) + len(runs) <= limit
        self.require(fits, f"{key}: {len(runs)} runs were queued beside {', '.join(others)}, and {limit} may live")

    def begin(self, execution: ModelExecution, model: ClusterModel) -> None:
        """More executions of the task than its limit overlap only if the claim of one of them has expired."""
        if execution.limit is None or not _claimed(execution, model):
            return
        others = [
            other.node
            for other in model.executing(execution.task)
            if (other.run, other.token) != (execution.run, execution.token) and _claimed(other, model)
        ]
        fits = len(others) < execution.limit
        self.require(fits, f"{execution.task} executes on {execution.node} and on {', '.join(others)}")


def _claimed(execution: ModelExecution, model: ClusterModel) -> bool:
    """Is the claim of this execution alive?"""
    task = model.store.tasks.get(execution.task)
    run = None if task is None else task.live.get(execution.run)
    if run is None or run.claim is None or run.claim.token != execution.token:
        return False
    return model.at - run.heartbeat < model.claim_ttl
