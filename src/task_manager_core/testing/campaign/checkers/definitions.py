"""I10 and I11: pauses, removals, and which definition counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.domain.run import Claim, Succeeded
from task_manager_core.ports import Changes
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, TaskModel
from task_manager_core.testing.cluster.effects import (
    Claimed,
    Decided,
    Effect,
    Loaded,
    Settled,
    WriteConflicted,
    Written,
)


class NothingWhileOff(Checker):
    """Nothing is dispatched while disabled or deleted, and a pause never lapses."""

    invariant = "I10"
    law = "Nothing is dispatched while a task is disabled or deleted; a pause ends only when somebody ends it."
    because = "`commit` looks at the pause in its own step; a pause is a flag without a time to live."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case Decided(decision=advance):
                account = ledger.store.accounts.get(advance.key)
                if account is None:
                    self.violated(f"{advance.key} is deleted and was scheduled")
                self._dispatched(advance, account)
            case Claimed(claim=claim):
                known = claim.run.task in ledger.store.accounts
                self.require(known, f"{claim.run.task} is deleted and a run of it was claimed")
            case Written(write=definition):
                account = ledger.store.accounts.get(definition.definition.key)
                fresh = account is None or (account.version != fact.version and definition.replan)
                plan = definition.next_slot
                early = plan is not None and fresh and plan.due_at < ledger.clock - _LONGEST_WRITE
                self.require(not early, f"{definition.definition.key} was written with {plan} next")
            case _:
                pass

    def _dispatched(self, advance: SlotDecision, account: TaskModel) -> None:
        runs = (*advance.dispatch, *([advance.hold] if advance.hold else []))
        self.require(not account.retired, f"{advance.key} is retired and was scheduled")
        self.require(not (runs and account.paused), f"{advance.key} is disabled and was dispatched")
        for run in runs:
            replayed = account.resumed_at is not None and account.due_at(run.slot) <= account.resumed_at
            self.require(not replayed, f"{advance.key}: {run.slot} fell into a pause and was dispatched")

    def compare(self, snapshot: Snapshot, ledger: ClusterModel) -> None:
        for view in snapshot.tasks:
            account = ledger.store.accounts.get(view.key)
            if account is not None and view.paused != account.paused:
                self.violated(f"{view.key}: disabled is {view.paused}, not {account.paused}")


_LONGEST_WRITE = timedelta(seconds=20)
"""How long a writer may stand still between reading the store's time and writing its plan."""


class CurrentDefinition(Checker):
    """The current definition is used, every reader learns it, and unknown work stays queued."""

    invariant = "I11"
    law = "The current definition is used; work that a node does not know stays queued for one that does."
    because = "A decision names the version it was made for; a worker hands back what it cannot call."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case Decided(decision=advance) if advance.key in ledger.store.accounts:
                self._used(advance, ledger.store.accounts[advance.key])
            case Settled(settlement=settlement) if isinstance(settlement.outcome, Succeeded):
                claim = settlement.claim
                self.require(_knows(claim, ledger), f"{claim.worker} does not know {claim.run.task} and settled it")
            case Written(write=definition, version=version):
                account = ledger.store.accounts.get(definition.definition.key)
                if account is not None and account.version == version:
                    return
                stood = 0 if account is None else account.version
                self.require(
                    definition.expected == stood, f"{definition.definition.key}: {stood} was overwritten unseen"
                )
                greatest = ledger.greatest_version
                self.require(version > greatest, f"version {version} was given after {greatest}")
                ledger.greatest_version = version
            case WriteConflicted(definition=definition, found=found):
                account = ledger.store.accounts.get(definition.definition.key)
                self.require(found == (0 if account is None else account.version), f"{found} does not stand")
            case Loaded():
                self._learnt(fact, ledger)
            case _:
                pass

    def _used(self, advance: SlotDecision, account: TaskModel) -> None:
        versions = (advance.version, account.version)
        self.require(versions[0] == versions[1], f"{advance.key}: {versions[0]} was used while {versions[1]} stands")
        for run in (*advance.dispatch, *([advance.hold] if advance.hold else [])):
            assert run.slot is not None
            right = account.task.run_of_slot(run.slot, account.version)
            right = replace(right, start_by=run.start_by)  # It follows from the slots before it, too: I13 judges it.
            self.require(run == right, f"{advance.key}: {run} does not follow its definition")

    def _learnt(self, fact: Loaded, ledger: ClusterModel) -> None:
        accounts = ledger.store.accounts
        if fact.changes is None:
            news = [key for key, account in accounts.items() if account.version > fact.since]
            self.require(not news, f"a reader at {fact.since} was told nothing of {news}")
            return
        self._comes_to_what_stands(fact.since, fact.changes, ledger)
        learnt = {stored.definition.key: stored for stored in fact.changes.changed}
        for key, account in accounts.items():
            stored = learnt.get(key)
            if stored is None:
                self.require(account.version <= fact.since, f"a reader at {fact.since} was not told of {key}")
            else:
                same = (stored.definition, stored.version) == (account.task, account.version)
                self.require(same, f"a reader learnt another {key} than the one that stands")

    def _comes_to_what_stands(self, since: int, changes: Changes, ledger: ClusterModel) -> None:
        """Every reader at a version knew the same, and what it learns makes of that what stands."""
        stands = {key: (account.version, account.retired) for key, account in ledger.store.accounts.items()}
        told: dict[TaskKey, tuple[int, bool]] = {}
        if not changes.complete:
            self.require(since in ledger.stood_at, f"a reader at {since}, which no reader learnt, was told changes")
            told |= {key: known for key, known in ledger.stood_at[since].items() if key not in changes.removed}
        told |= {key: (told[key][0], True) for key in changes.retired if key in told}
        told |= {one.definition.key: (one.version, one.definition.key in changes.retired) for one in changes.changed}
        self.require(told.keys() == stands.keys(), "a reader learnt other tasks than there are")
        self.require(told == stands, "a reader learnt other versions, or other retired tasks, than there are")
        self.require(changes.total == len(stands), f"a reader was told of {changes.total} tasks")
        ledger.stood_at[changes.version] = stands


def _knows(claim: Claim, ledger: ClusterModel) -> bool:
    known = ledger.known.get(claim.worker)
    return known is None or known.covers(claim.run)
