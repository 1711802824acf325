"""I6: runs of an exclusive task."""

from __future__ import annotations

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.run import RunState
from task_manager_core.ports import Enqueued
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, ModelExecution
from task_manager_core.testing.cluster.effects import Claimed, Decided, Effect, Requested


class NoOverlap(Checker):
    """Runs of an exclusive task overlap only after a claim expired, and then the older one can no longer write."""

    invariant = "I6"
    law = "Without allow_parallel two runs overlap only after a claim expired, and then the older can write no more."
    because = "Live and held runs are counted inside the step that queues a run, not before it."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case Decided(decision=advance) if advance.key in ledger.store.accounts:
                fire = advance.dispatch
                if fire and fire[0].exclusive:
                    self.require(len(fire) == 1, f"{advance.key}: {len(fire)} runs in one decision")
                    self._alone(advance.key, ledger)
                if advance.hold is not None:
                    held = ledger.store.accounts[advance.key].held
                    self.require(not held, f"{advance.key}: a second slot is held")
            case Requested(run=run, answer=Enqueued.QUEUED) if run.exclusive:
                self._alone(run.task, ledger)
            case Claimed(claim=claim) if claim.run.exclusive and claim.run.task in ledger.store.accounts:
                account = ledger.store.accounts[claim.run.task]
                running = [
                    standing.run.id
                    for standing in account.live.values()
                    if standing.state is RunState.RUNNING and standing.run.id != claim.run.id and standing.run.exclusive
                ]
                self.require(not running, f"{claim.run.task}: {claim.run.id} was claimed beside {running}")
            case _:
                pass

    def _alone(self, key: TaskKey, ledger: ClusterModel) -> None:
        account = ledger.store.accounts.get(key)
        if account is None:
            return
        others = [standing.run.id.value for standing in (*account.live.values(), *account.held)]
        self.require(not others, f"{key}: a run was queued beside {', '.join(others)}")

    def begun(self, execution: ModelExecution, ledger: ClusterModel) -> None:
        """Also in reality: two executions of the task overlap only if the claim of one of them is over."""
        if not execution.exclusive or not _claimed(execution, ledger):
            return
        for other in ledger.executing(execution.task):
            same = (other.run, other.token) == (execution.run, execution.token)
            if not same and other.exclusive and _claimed(other, ledger):
                self.violated(f"{execution.task} executes on {execution.node} and on {other.node}")


def _claimed(execution: ModelExecution, ledger: ClusterModel) -> bool:
    """Is the claim under which this executes alive?"""
    account = ledger.store.accounts.get(execution.task)
    standing = None if account is None else account.live.get(execution.run)
    if standing is None or standing.claim is None or standing.claim.token != execution.token:
        return False
    return ledger.at - standing.beat < ledger.claim_ttl
