"""I1 and I2: what becomes of slots."""

from __future__ import annotations

from datetime import datetime

from task_manager_core.domain.identity import RunId
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, TaskModel, slots_of
from task_manager_core.testing.cluster.effects import AgendaRead, Decided, Effect, Written


class OneDecisionPerSlot(Checker):
    """At most one dispatch per slot, never both dispatched and skipped; the run of a slot has one name."""

    invariant = "I1"
    law = "A slot is dispatched at most once, and never both dispatched and skipped."
    because = "`commit` compares the next slot and advances it in the step that queues the run."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        if isinstance(fact, Decided) and fact.decision.key in ledger.store.accounts:
            self._decided(fact.decision, ledger.store.accounts[fact.decision.key], ledger)

    def _decided(self, advance: SlotDecision, account: TaskModel, ledger: ClusterModel) -> None:
        seen: dict[datetime, str] = dict(account.verdicts)
        for run in (*advance.dispatch, *([advance.hold] if advance.hold else [])):
            assert run.slot is not None
            self.require(run.slot not in seen, f"{advance.key} {run.slot} was {seen.get(run.slot)}, now dispatched")
            self.require(run.id == RunId.of_slot(run.task, run.slot), f"the run of {run.task} {run.slot} is {run.id}")
            self.require(run.id not in ledger.store.ended, f"the run of {run.task} {run.slot} has ended already")
            seen[run.slot] = "dispatched"
        for slot, reason in slots_of(account, advance.skipped).items():
            self.require(slot not in seen, f"{advance.key} {slot} was {seen.get(slot)}, now skipped as {reason}")
            seen[slot] = reason


class NoSilentGap(Checker):
    """Every slot below the next one has a verdict, and the next one is the schedule's next."""

    invariant = "I2"
    law = "No slot vanishes silently: below the next slot each is dispatched, or skipped with a reason."
    because = (
        "The next slot is computed from the previous slot, never from now; one decision accounts for all it passes."
    )

    def __init__(self) -> None:
        self._read_at: dict[str, datetime] = {}
        """By the node: what the store's clock said when it read the agenda. It may be set back before the decision."""

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case AgendaRead(agenda=agenda):
                self._read_at[ledger.node] = agenda.now
            case Decided(decision=advance) if advance.key in ledger.store.accounts:
                self._decided(advance, ledger.store.accounts[advance.key], ledger)
            case Written(write=definition) if definition.replan:
                account = ledger.store.accounts.get(definition.definition.key)
                if account is not None and account.version != fact.version:
                    self._replanned(fact, account, ledger.clock)
                if account is None or account.version != fact.version:
                    self._first(fact)
            case _:
                pass

    def _decided(self, advance: SlotDecision, account: TaskModel, ledger: ClusterModel) -> None:
        schedule, key = account.task.schedule, advance.key
        planned = None if account.plan is None else account.plan.slot
        self.require(advance.slot == planned, f"{key}: decided from {advance.slot} while {planned} is next")
        verdicts = slots_of(account, advance.skipped)
        verdicts.update({run.slot: "dispatched" for run in advance.dispatch if run.slot is not None})
        if advance.hold is not None and advance.hold.slot is not None:
            verdicts[advance.hold.slot] = "held"
        slot: datetime | None = advance.slot
        end = None if advance.next_slot is None else advance.next_slot.slot
        count, now = 0, max(ledger.clock, self._read_at.get(ledger.node, ledger.clock))
        while slot is not None and (end is None or slot < end):
            self.require(slot in verdicts, f"{key}: nothing was decided about {slot}, and {end} is next")
            self.require(account.due_at(slot) <= now, f"{key}: {slot} was decided before it was due")
            count += 1
            slot = schedule.next_after(slot)
        self.require(slot == end, f"{key}: the slot after {advance.slot} is {slot}, not {end}")
        self.require(count == len(verdicts) == advance.slots, f"{key}: {advance.slots} decisions for {count} slots")

    def _first(self, fact: Written) -> None:
        task, plan = fact.write.definition, fact.write.next_slot
        if plan is not None and not task.run_on_start:
            is_slot = task.schedule.next_after(plan.slot - _INSTANT) == plan.slot
            self.require(is_slot, f"{task.key}: {plan.slot} is no slot")

    def _replanned(self, fact: Written, account: TaskModel, at: datetime) -> None:
        """The new schedule begins where the old one's record ends: in the future, if the clock was set back."""
        task, plan = fact.write.definition, fact.write.next_slot
        given_up = slots_of(account, fact.write.skipped)
        slot = None if account.plan is None or account.retired else account.plan.slot
        while slot is not None and slot in given_up:
            slot = account.task.schedule.next_after(slot)
        begins = at if slot is None else min(at, account.task.schedule.due_at(task.key, slot))
        begins = max((begins, *account.verdicts))
        if plan is not None:
            latest = task.schedule.next_after(begins)
            self.require(
                latest is None or plan.slot <= latest,
                f"{task.key}: {slot} of the old schedule was undecided when the new one began with {plan.slot}",
            )


_INSTANT = datetime.resolution
