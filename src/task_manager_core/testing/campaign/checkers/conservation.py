"""I8 and I12: nothing that lives gets lost, in the store as it shows itself."""

from __future__ import annotations

from collections.abc import Iterable

from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.observation import LiveRun, Snapshot
from task_manager_core.domain.run import Run, RunState
from task_manager_core.ports import Enqueued
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, RunModel, StoreModel
from task_manager_core.testing.cluster.effects import ClaimsGiven, Decided, Effect, Requested, RequestRefused


class Conservation(Checker):
    """Every live run stands in exactly one place, the place that the operations so far put it in."""

    invariant = "I8"
    law = "Every live run is in exactly one place: held, queued, running or waiting."
    because = "Each move of a run is one step that takes it from one place and puts it into the other."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case ClaimsGiven(worker=worker, known=known, claims=claims, limit=limit):
                known_runs = {(claim.run.id, claim.token) for claim in known}
                unknown = [
                    standing.claim
                    for standing in ledger.store.standings()
                    if standing.claim is not None
                    and standing.claim.worker == worker
                    and (standing.run.id, standing.claim.token) not in known_runs
                ]
                forgotten = [claim.run.task for claim in unknown if claim not in claims]
                full = len(claims) >= limit
                self.require(not forgotten or full, f"{worker} was not told of its claims on {forgotten}")
            case Requested(run=run, answer=Enqueued.UNKNOWN_TASK):
                known_task = run.task in ledger.store.accounts
                self.require(not known_task, f"a run of {run.task} was refused as unknown")
            case _:
                pass

    def compare(self, snapshot: Snapshot, ledger: ClusterModel) -> None:
        queued = 0
        for view in snapshot.tasks:
            account = ledger.store.accounts.get(view.key)
            if account is None:
                continue
            if not view.live and not account.live and not account.held:
                continue
            found = {run.run: run for run in view.live}
            if len(found) != len(view.live):
                self.violated(f"{view.key}: a run stands in two places")
            expected = {**account.live, **{standing.run.id: standing for standing in account.held}}
            if found.keys() != expected.keys():
                self.violated(f"{view.key}: the store has the runs {_names(found)}, not {_names(expected)}")
            for run, standing in expected.items():
                self._same(view.key, found[run], standing)
            queued += sum(standing.state is RunState.QUEUED for standing in account.live.values())
        self.require(snapshot.queued == queued, f"{snapshot.queued} runs in the queue, not {queued}")

    def _same(self, key: TaskKey, shown: LiveRun, standing: RunModel) -> None:
        place = (shown.state, shown.attempt, shown.failures, shown.losses, shown.cancelling)
        expected = (standing.state, standing.attempt, standing.failures, standing.losses, standing.cancelling)
        if place != expected:
            self.violated(f"{key}: {shown.run} stands {place}, not {expected}")
        worker = None if standing.claim is None else standing.claim.worker
        if shown.worker != worker:
            self.violated(f"{key}: {shown.run} is with {shown.worker}, not with {worker}")


class NothingExpires(Checker):
    """Definitions, next slots and pauses stay until somebody changes them; two names never meet."""

    invariant = "I12"
    law = "Nothing that lives expires or is trimmed, and two names never collide, nor two requests under one id."
    because = (
        "No record that a rule reads has a time to live; names are encoded part by part before they are joined; what a "
        "request asks is remembered with its run, and forgotten with its task."
    )

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        runs: tuple[Run, ...] = ()
        match fact:
            case Decided(decision=advance):
                runs = (*advance.dispatch, *([advance.hold] if advance.hold else []))
            case Requested(run=run, answer=answer, asked=asked):
                runs = (run,)
                self._answered(run, answer, asked, ledger.store)
            case RequestRefused(runs=refused, asked=asked, others=others):
                expected = frozenset(run.id for run in refused if ledger.store.asked(run) not in {None, asked})
                self.require(others == expected, f"{_names(others)} were asked otherwise, not {_names(expected)}")
            case _:
                pass
        for run in runs:
            meaning = (run.task, run.slot)
            known = ledger.names.setdefault(run.id, meaning)
            self.require(known == meaning, f"{run.id} names {known[0]} {known[1]} and {run.task} {run.slot}")

    def _answered(self, run: Run, answer: Enqueued, asked: str, books: StoreModel) -> None:
        if answer is Enqueued.UNKNOWN_TASK:
            return
        before = books.asked(run)
        self.require(before in {None, asked}, f"{run.id} was asked {before!r}, and was {answer.value} for {asked!r}")
        known = before is not None or books.standing(run.task, run.id) is not None
        self.require(known == (answer is Enqueued.DUPLICATE), f"{run.id} was {answer.value}, remembered: {known}")

    def compare(self, snapshot: Snapshot, ledger: ClusterModel) -> None:
        accounts = ledger.store.accounts
        found = [view.key for view in snapshot.tasks]
        if len(found) != len(accounts) or any(key not in accounts for key in found):
            self.violated(f"the store has {_keys(found)}, not {_keys(accounts)}")
        for view in snapshot.tasks:
            account = accounts[view.key]
            shown, expected = (
                (view.version, view.next_slot, view.retired),
                (account.version, account.plan, account.retired),
            )
            if shown != expected:
                self.violated(f"{view.key}: version, plan, retired are {shown}, not {expected}")


def _keys(keys: Iterable[TaskKey]) -> str:
    return ", ".join(str(key) for key in sorted(keys)) or "no tasks"


def _names(runs: Iterable[RunId]) -> str:
    return "{" + ", ".join(sorted(str(run) for run in runs)) + "}"
