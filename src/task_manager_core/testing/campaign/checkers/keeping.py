"""I15, I16 and I17: what an attempt leaves in the store, and what the store shows of it."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.memory import LastSuccess, TaskMemory
from task_manager_core.domain.run import STATUS_OF_OUTCOME, Settlement, Succeeded
from task_manager_core.testing.campaign.checkers.checker import Checker, Records
from task_manager_core.testing.campaign.model import ClusterModel, Conclusion, ModelExecution
from task_manager_core.testing.cluster.effects import (
    Effect,
    MemoryRead,
    Reported,
    ReportRefused,
    Settled,
    SettlementRefused,
)


class KeptBySettlement(Checker):
    """A result and a cursor are written by the accepted settlement of a success, and by nothing else."""

    invariant = "I15"
    law = (
        "A result or a cursor is kept only by the settlement that was accepted, of an attempt that succeeded; a worker "
        "whose claim was lost writes none."
    )
    because = "The store compares the claim, and writes the line, the result and the memory of the task in one step."

    def __init__(self) -> None:
        self._accepted: list[Settlement] = []
        self._refused: list[Settlement] = []
        """The settlements of the present operation."""

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Settled(settlement=settlement):
                self._accepted.append(settlement)
                self._judge_contents(settlement, model)
            case SettlementRefused(settlement=settlement):
                if Conclusion.of(settlement) not in model.accepted:  # An earlier request has left its line.
                    self._refused.append(settlement)
            case _:
                pass

    def _judge_contents(self, settlement: Settlement, model: ClusterModel) -> None:
        claim, result, remembered = settlement.claim, settlement.result, settlement.remembered
        about = f"{claim.run.task} {claim.run.id} token {claim.token}"
        if not isinstance(settlement.outcome, Succeeded):
            self.require(result is None and remembered is None, f"{about} did not succeed and leaves something behind")
            return
        execution = model.executions.get((claim.run.id, claim.token, model.node))
        if execution is None:
            return
        kept = None if result is None else result.json
        self.require(execution.result in {None, kept}, f"{about} returned {execution.result}, and {kept} was kept")
        cursor = None if remembered is None else remembered.cursor
        self.require(execution.cursor in {None, cursor}, f"{about} set the cursor {execution.cursor}, not {cursor}")

    def inspect(self, records: Records, model: ClusterModel) -> None:
        accepted, refused = self._accepted, self._refused
        self._accepted, self._refused = [], []
        for settlement in accepted:
            key, run, token = settlement.claim.run.task, settlement.claim.run.id, settlement.claim.token
            kept = [one.result for one in records.lines[key] if (one.run, one.token) == (run, token)]
            self.require(kept[:1] == [settlement.result], f"{key} {run}: {kept} was kept, not {settlement.result}")
        for settlement in refused:
            key, run, token = settlement.claim.run.task, settlement.claim.run.id, settlement.claim.token
            status = STATUS_OF_OUTCOME[type(settlement.outcome)]
            left = [one for one in records.lines[key] if (one.run, one.token, one.status) == (run, token, status)]
            self.require(not left, f"{key} {run}: the lost claim with token {token} has written {left}")
        for key, task in model.store.tasks.items():
            found = records.memories[key]
            self.require(_same(found, task.memory), f"{key} remembers {found}, not {task.memory}")


class LastCursorRead(Checker):
    """An attempt reads the cursor that the last accepted settlement has left."""

    invariant = "I16"
    law = "A cursor that an attempt reads is that of the last accepted settlement."
    because = "Each reading asks the store, and a worker keeps no copy."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        if isinstance(effect, MemoryRead):
            task = model.store.tasks.get(effect.key)
            expected = TaskMemory() if task is None else task.memory
            self.require(_same(effect.memory, expected), f"{effect.key} answered {effect.memory}, not {expected}")

    def read(self, execution: ModelExecution, cursor: str | None, model: ClusterModel) -> None:
        answers = model.answers.get((execution.node, execution.task), [])[execution.answers_before :]
        self.require(cursor in answers, f"{execution.task} read the cursor {cursor}, and the store answered {answers}")


class ProgressOfItsAttempt(Checker):
    """The store shows the progress of the attempt that holds the run."""

    invariant = "I17"
    law = "Progress of an attempt that lost its claim is never shown as that of the present one."
    because = "The store compares the claim of each report, and forgets the last one in the step that ends the claim."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Reported(claim=claim):
                held = model.store.held_by(claim)
                self.require(held, f"{claim.run.task} {claim.run.id}: the lost token {claim.token} reported")
            case ReportRefused(claim=claim):
                held = model.store.held_by(claim)
                self.require(not held, f"{claim.run.task} {claim.run.id}: the report of its claim was refused")
            case _:
                pass

    def inspect(self, records: Records, model: ClusterModel) -> None:
        for run in model.store.runs():
            shown = records.progress[run.run.id]
            old = shown is None and model.at - run.reported_at >= model.claim_ttl
            about = f"{run.run.task} {run.run.id} is {run.state.value}"
            self.require(old or shown == run.progress, f"{about} and shows {shown}, not {run.progress}")


_MILLISECOND = timedelta(milliseconds=1)


def _same(one: TaskMemory, other: TaskMemory) -> bool:
    """Stores keep instants in milliseconds."""
    return one.cursor == other.cursor and _same_success(one.success, other.success)


def _same_success(one: LastSuccess | None, other: LastSuccess | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.slot == other.slot and abs(one.at - other.at) <= _MILLISECOND
