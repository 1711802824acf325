"""I18, I19 and I20: callbacks, one-off tasks, and requests with a delay."""

from __future__ import annotations

from task_manager_core.domain.events import Event, RunSettled
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, Conclusion, ModelExecution
from task_manager_core.testing.cluster.effects import Effect, EndedRemoved


class CallbackAfterSettlement(Checker):
    """A process calls a callback, and tells its observers of an outcome, only after the store has accepted it."""

    invariant = "I18"
    law = "A callback is called only after an accepted settlement, at most once for each while the worker lives."
    because = (
        "A worker tells of an outcome after the answer of the store; if an answer was lost, it looks for its own line "
        "in the history."
    )

    def notice(self, event: Event, model: ClusterModel) -> None:
        if isinstance(event, RunSettled):
            conclusion = Conclusion.of(event.settlement)
            self._judge(conclusion, model.told[conclusion], "told", model)
            model.told[conclusion] += 1

    def call(self, conclusion: Conclusion, model: ClusterModel) -> None:
        self._judge(conclusion, model.called[conclusion], "called back", model)

    def _judge(self, conclusion: Conclusion, before: int, verb: str, model: ClusterModel) -> None:
        accepted = model.accepted[conclusion]
        outcome, about = conclusion.outcome.__name__, f"{conclusion.run} token {conclusion.token}"
        self.require(
            before < accepted,
            f"{conclusion.node} has {verb} {before + 1} times that {about} has {outcome}; accepted: {accepted}",
        )


class OneOffRemoved(Checker):
    """A one-off task goes when it is over, and not before. That it goes at all is judged after the healing."""

    invariant = "I19"
    law = (
        "A one-off task that has ended is removed, and never before its last run has ended; in a healed cluster it is "
        "gone a grace and two reconciliations later."
    )
    because = "The leader asks for the removal in every pass, and the store compares: no next slot, and no live run."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        if isinstance(effect, EndedRemoved):
            task = model.store.tasks.get(effect.key)
            self.require(task is not None and task.is_over, f"{effect.key} was removed as ended, and is not over")


class DelayKept(Checker):
    """A run that a person has asked for with a delay begins after it."""

    invariant = "I20"
    law = "A run that was asked for with a delay never starts before its instant."
    because = "The run waits in the store, which measures the delay by a clock that cannot be set."

    def begin(self, execution: ModelExecution, model: ClusterModel) -> None:
        earliest = model.earliest.get(execution.run)
        early = earliest is not None and model.at < earliest
        self.require(not early, f"{execution.task} {execution.run} was started at {model.at}, before {earliest}")
