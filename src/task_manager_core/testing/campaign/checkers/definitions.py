"""I10 and I11: pauses, removals, and which definition counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from task_manager_core.domain.duties import ALL_DUTIES
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
    Deposed,
    Effect,
    Granted,
    Loaded,
    Settled,
    WriteConflicted,
    Written,
)


class NothingWhileOff(Checker):
    """Nothing is dispatched while disabled or deleted, and a pause never lapses."""

    invariant = "I10"
    law = "Nothing is dispatched while a task is disabled or deleted; a pause ends only when it is ended by a request."
    because = "`commit` looks at the pause in its own step; a pause is a flag without a time to live."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Decided(decision=decision):
                task = model.store.tasks.get(decision.key)
                if task is None:
                    self.violated(f"{decision.key} is deleted and was scheduled")
                self._dispatched(decision, task)
            case Claimed(claim=claim):
                known = claim.run.task in model.store.tasks
                self.require(known, f"{claim.run.task} is deleted and a run of it was claimed")
            case Written(write=write):
                task = model.store.tasks.get(write.definition.key)
                fresh = task is None or (task.version != effect.version and write.replan)
                first = write.next_slot
                early = first is not None and fresh and first.due_at < model.clock - _LONGEST_WRITE
                self.require(not early, f"{write.definition.key} was written with {first} next")
            case _:
                pass

    def _dispatched(self, decision: SlotDecision, task: TaskModel) -> None:
        runs = (*decision.dispatch, *([decision.hold] if decision.hold else []))
        self.require(not task.retired, f"{decision.key} is retired and was scheduled")
        self.require(not (runs and task.paused), f"{decision.key} is disabled and was dispatched")
        for run in runs:
            replayed = task.resumed_at is not None and task.due_at(run.slot) <= task.resumed_at
            self.require(not replayed, f"{decision.key}: {run.slot} was due in a pause and was dispatched")

    def compare(self, snapshot: Snapshot, model: ClusterModel) -> None:
        for view in snapshot.tasks:
            task = model.store.tasks.get(view.key)
            if task is not None and view.paused != task.paused:
                self.violated(f"{view.key}: disabled is {view.paused}, not {task.paused}")


_LONGEST_WRITE = timedelta(seconds=20)
"""How long a writer may stand still between reading the time of the store and writing the next slot."""


class CurrentDefinition(Checker):
    """Decisions use the current definition, every reader learns it, runs that a worker cannot execute stay queued, and
    no process does more than its duties."""

    invariant = "I11"
    law = (
        "The current definition is used; work that a node does not know stays queued for one that does; a process "
        "claims and leads only as its duties say."
    )
    because = "A decision names the version it was made for; a claim has the scope of its worker."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Decided(decision=decision) if decision.key in model.store.tasks:
                self._used(decision, model.store.tasks[decision.key])
            case Settled(settlement=settlement) if isinstance(settlement.outcome, Succeeded):
                claim = settlement.claim
                self.require(
                    _can_execute(claim, model), f"{claim.worker} cannot execute {claim.run.task} and settled it"
                )
            case Claimed(claim=claim):
                duties = model.duties.get(claim.worker, ALL_DUTIES)
                self.require(
                    duties.serves(claim.run.queue),
                    f"{claim.worker} does not serve {claim.run.queue} and claimed {claim.run.task}",
                )
            case Granted(term=term) | Deposed(term=term):
                self.require(
                    model.duties.get(term.holder, ALL_DUTIES).schedules, f"{term.holder} does not schedule and leads"
                )
            case Written(write=write, version=version):
                task = model.store.tasks.get(write.definition.key)
                if task is not None and task.version == version:
                    return
                current = 0 if task is None else task.version
                self.require(write.expected == current, f"{write.definition.key}: {current} was overwritten unseen")
                greatest = model.greatest_version
                self.require(version > greatest, f"version {version} was given after {greatest}")
                model.greatest_version = version
            case WriteConflicted(write=write, found=found):
                task = model.store.tasks.get(write.definition.key)
                self.require(found == (0 if task is None else task.version), f"{found} is not the current version")
            case Loaded():
                self._loaded(effect, model)
            case _:
                pass

    def _used(self, decision: SlotDecision, task: TaskModel) -> None:
        versions = (decision.version, task.version)
        self.require(
            versions[0] == versions[1], f"{decision.key}: {versions[0]} was used while {versions[1]} is current"
        )
        for run in (*decision.dispatch, *([decision.hold] if decision.hold else [])):
            assert run.slot is not None
            right = task.definition.run_of_slot(run.slot, task.version)
            right = replace(right, start_by=run.start_by)  # It depends on the earlier slots, too: I13 judges it.
            self.require(run == right, f"{decision.key}: {run} does not follow its definition")

    def _loaded(self, effect: Loaded, model: ClusterModel) -> None:
        tasks = model.store.tasks
        if effect.changes is None:
            news = [key for key, task in tasks.items() if task.version > effect.since]
            self.require(not news, f"a reader at {effect.since} did not learn of {news}")
            return
        self._adds_up(effect.since, effect.changes, model)
        learnt = {stored.definition.key: stored for stored in effect.changes.changed}
        for key, task in tasks.items():
            stored = learnt.get(key)
            if stored is None:
                self.require(task.version <= effect.since, f"a reader at {effect.since} did not learn of {key}")
            else:
                same = (stored.definition, stored.version) == (task.definition, task.version)
                self.require(same, f"a reader learnt another {key} than the current one")

    def _adds_up(self, since: int, changes: Changes, model: ClusterModel) -> None:
        """All readers at a version knew the same. With the changes they know what the store has."""
        current = {key: (task.version, task.retired) for key, task in model.store.tasks.items()}
        known: dict[TaskKey, tuple[int, bool]] = {}
        if not changes.complete:
            self.require(since in model.states_at, f"a reader at {since}, which no reader learnt, got changes only")
            known |= {key: state for key, state in model.states_at[since].items() if key not in changes.removed}
        known |= {key: (known[key][0], True) for key in changes.retired if key in known}
        known |= {one.definition.key: (one.version, one.definition.key in changes.retired) for one in changes.changed}
        self.require(known.keys() == current.keys(), "a reader learnt other tasks than there are")
        self.require(known == current, "a reader learnt other versions, or other retired tasks, than there are")
        self.require(changes.total == len(current), f"a reader was given {changes.total} as the number of tasks")
        model.states_at[changes.version] = current


def _can_execute(claim: Claim, model: ClusterModel) -> bool:
    known = model.declared.get(claim.worker)
    return known is None or known.covers(claim.run)
