"""I8 and I12: the store loses nothing that is live, as its snapshots show."""

from __future__ import annotations

from collections.abc import Iterable

from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.observation import LiveRun, Snapshot
from task_manager_core.domain.run import Run, RunState
from task_manager_core.ports import Enqueued
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, RunModel, StoreModel
from task_manager_core.testing.cluster.effects import (
    ClaimsGiven,
    Decided,
    Effect,
    Requested,
    RequestRefused,
)


class Conservation(Checker):
    """Every live run is in exactly one place: the one that the operations so far put it in."""

    invariant = "I8"
    law = "Every live run is in exactly one place: held, queued, running or waiting."
    because = "Each move of a run is one step that takes it from one place and puts it into the other."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case ClaimsGiven(worker=worker, known=known, claims=claims, limit=limit):
                known_runs = {(claim.run.id, claim.token) for claim in known}
                unknown = [
                    run.claim
                    for run in model.store.runs()
                    if run.claim is not None
                    and run.claim.worker == worker
                    and (run.run.id, run.claim.token) not in known_runs
                ]
                missing = [claim.run.task for claim in unknown if claim not in claims]
                full = len(claims) >= limit
                self.require(not missing or full, f"{worker} was not given its claims on {missing}")
            case Requested(run=run, answer=Enqueued.UNKNOWN_TASK):
                known_task = run.task in model.store.tasks
                self.require(not known_task, f"a run of {run.task} was refused as unknown")
            case _:
                pass

    def compare(self, snapshot: Snapshot, model: ClusterModel) -> None:
        queued = 0
        for view in snapshot.tasks:
            task = model.store.tasks.get(view.key)
            if task is None:
                continue
            if not view.live and not task.live and not task.held:
                continue
            found = {shown.run: shown for shown in view.live}
            if len(found) != len(view.live):
                self.violated(f"{view.key}: a run is in two places")
            expected = {**task.live, **{run.run.id: run for run in task.held}}
            if found.keys() != expected.keys():
                self.violated(f"{view.key}: the store has the runs {_names(found)}, not {_names(expected)}")
            for run_id, run in expected.items():
                self._same(view.key, found[run_id], run)
            queued += sum(run.state is RunState.QUEUED for run in task.live.values())
        self.require(snapshot.queued == queued, f"{snapshot.queued} runs in the queue, not {queued}")

    def _same(self, key: TaskKey, shown: LiveRun, run: RunModel) -> None:
        place = (shown.state, shown.attempt, shown.failures, shown.losses, shown.cancelling)
        expected = (run.state, run.attempt, run.failures, run.losses, run.cancelling)
        if place != expected:
            self.violated(f"{key}: {shown.run} is {place}, not {expected}")
        worker = None if run.claim is None else run.claim.worker
        if shown.worker != worker:
            self.violated(f"{key}: {shown.run} is with {shown.worker}, not with {worker}")


class NothingExpires(Checker):
    """Definitions, next slots and pauses stay until an operation changes them. Two names never collide."""

    invariant = "I12"
    law = "Nothing that lives expires or is trimmed, and two names never collide, nor two requests under one id."
    because = (
        "No record that a rule reads has a time to live; names are encoded part by part before they are joined; what a "
        "request asks is remembered with its run, and forgotten with its task."
    )

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        runs: tuple[Run, ...] = ()
        match effect:
            case Decided(decision=decision):
                runs = (*decision.dispatch, *([decision.hold] if decision.hold else []))
            case Requested(run=run, answer=answer, asked=asked):
                runs = (run,)
                self._answered(run, answer, asked, model.store)
            case RequestRefused(runs=refused, asked=asked, others=others):
                expected = frozenset(run.id for run in refused if model.store.asked(run) not in {None, asked})
                self.require(others == expected, f"{_names(others)} were refused, not {_names(expected)}")
            case _:
                pass
        for run in runs:
            meaning = (run.task, run.slot)
            known = model.meanings.setdefault(run.id, meaning)
            self.require(known == meaning, f"{run.id} names {known[0]} {known[1]} and {run.task} {run.slot}")

    def _answered(self, run: Run, answer: Enqueued, asked: str, store: StoreModel) -> None:
        if answer is Enqueued.UNKNOWN_TASK:
            return
        before = store.asked(run)
        self.require(before in {None, asked}, f"{run.id} was asked {before!r}, and was {answer.value} for {asked!r}")
        known = before is not None or store.run_of(run.task, run.id) is not None
        self.require(known == (answer is Enqueued.DUPLICATE), f"{run.id} was {answer.value}, remembered: {known}")

    def compare(self, snapshot: Snapshot, model: ClusterModel) -> None:
        tasks = model.store.tasks
        found = [view.key for view in snapshot.tasks]
        if len(found) != len(tasks) or any(key not in tasks for key in found):
            self.violated(f"the store has {_keys(found)}, not {_keys(tasks)}")
        for view in snapshot.tasks:
            task = tasks[view.key]
            shown, expected = (
                (view.version, view.next_slot, view.retired),
                (task.version, task.next_slot, task.retired),
            )
            if shown != expected:
                self.violated(f"{view.key}: version, next slot, retired are {shown}, not {expected}")


def _keys(keys: Iterable[TaskKey]) -> str:
    return ", ".join(str(key) for key in sorted(keys)) or "no tasks"


def _names(runs: Iterable[RunId]) -> str:
    return "{" + ", ".join(sorted(str(run) for run in runs)) + "}"
