"""I1 and I2: the decisions about slots."""

from __future__ import annotations

from datetime import datetime

from task_manager_core.domain.identity import RunId
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, TaskModel, slots_of
from task_manager_core.testing.cluster.effects import AgendaRead, Decided, Effect, Written


class OneDecisionPerSlot(Checker):
    """A slot is dispatched at most once, and never both dispatched and skipped. The run of a slot has one id."""

    invariant = "I1"
    law = "A slot is dispatched at most once, and never both dispatched and skipped."
    because = "`commit` compares the next slot and advances it in the step that queues the run."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        if isinstance(effect, Decided) and effect.decision.key in model.store.tasks:
            self._decided(effect.decision, model.store.tasks[effect.decision.key], model)

    def _decided(self, decision: SlotDecision, task: TaskModel, model: ClusterModel) -> None:
        seen: dict[datetime, str] = dict(task.decided)
        for run in (*decision.dispatch, *([decision.hold] if decision.hold else [])):
            assert run.slot is not None
            self.require(run.slot not in seen, f"{decision.key} {run.slot} was {seen.get(run.slot)}, now dispatched")
            self.require(run.id == RunId.of_slot(run.task, run.slot), f"the run of {run.task} {run.slot} is {run.id}")
            self.require(run.id not in model.store.ended, f"the run of {run.task} {run.slot} has ended already")
            seen[run.slot] = "dispatched"
        for slot, reason in slots_of(task, decision.skipped).items():
            self.require(slot not in seen, f"{decision.key} {slot} was {seen.get(slot)}, now skipped as {reason}")
            seen[slot] = reason


class NoSilentGap(Checker):
    """Every slot before the next one was decided, and the next one follows in the schedule."""

    invariant = "I2"
    law = "No slot vanishes silently: below the next slot each is dispatched, or skipped with a reason."
    because = (
        "The next slot is computed from the previous slot, never from now; one decision accounts for all it passes."
    )

    def __init__(self) -> None:
        self._read_at: dict[str, datetime] = {}
        """By node: the clock of the store when the node read the agenda. It may be set back before the decision."""

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case AgendaRead(agenda=agenda):
                self._read_at[model.node] = agenda.now
            case Decided(decision=decision) if decision.key in model.store.tasks:
                self._decided(decision, model.store.tasks[decision.key], model)
            case Written(write=write) if write.replan:
                task = model.store.tasks.get(write.definition.key)
                if task is not None and task.version != effect.version:
                    self._replanned(effect, task, model.clock)
                if task is None or task.version != effect.version:
                    self._first(effect)
            case _:
                pass

    def _decided(self, decision: SlotDecision, task: TaskModel, model: ClusterModel) -> None:
        schedule, key = task.definition.schedule, decision.key
        planned = None if task.next_slot is None else task.next_slot.slot
        self.require(decision.slot == planned, f"{key}: decided from {decision.slot} while {planned} is next")
        decided = slots_of(task, decision.skipped)
        decided.update({run.slot: "dispatched" for run in decision.dispatch if run.slot is not None})
        if decision.hold is not None and decision.hold.slot is not None:
            decided[decision.hold.slot] = "held"
        slot: datetime | None = decision.slot
        end = None if decision.next_slot is None else decision.next_slot.slot
        count, now = 0, max(model.clock, self._read_at.get(model.node, model.clock))
        while slot is not None and (end is None or slot < end):
            self.require(slot in decided, f"{key}: nothing was decided about {slot}, and {end} is next")
            self.require(task.due_at(slot) <= now, f"{key}: {slot} was decided before it was due")
            count += 1
            slot = schedule.next_after(slot)
        self.require(slot == end, f"{key}: the slot after {decision.slot} is {slot}, not {end}")
        self.require(count == len(decided) == decision.slots, f"{key}: {decision.slots} decisions for {count} slots")

    def _first(self, effect: Written) -> None:
        definition, first = effect.write.definition, effect.write.next_slot
        if first is not None and not definition.run_on_start:
            is_slot = definition.schedule.next_after(first.slot - _INSTANT) == first.slot
            self.require(is_slot, f"{definition.key}: {first.slot} is no slot")

    def _replanned(self, effect: Written, task: TaskModel, at: datetime) -> None:
        """The new schedule begins after the last decided slot. If the clock was set back, that is in the future."""
        definition, first = effect.write.definition, effect.write.next_slot
        skipped = slots_of(task, effect.write.skipped)
        slot = None if task.next_slot is None or task.retired else task.next_slot.slot
        while slot is not None and slot in skipped:
            slot = task.definition.schedule.next_after(slot)
        begins = at if slot is None else min(at, task.definition.schedule.due_at(definition.key, slot))
        begins = max((begins, *task.decided))
        if first is not None:
            latest = definition.schedule.next_after(begins)
            self.require(
                latest is None or first.slot <= latest,
                f"{definition.key}: {slot} of the old schedule was undecided when the new one began with {first.slot}",
            )


_INSTANT = datetime.resolution
