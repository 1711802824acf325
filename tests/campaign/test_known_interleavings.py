"""Defects that the simulation has found in the product or in a checker. Each plan used to break an invariant.

Each stands with its defect: the plan breaks the invariant with the defect, and breaks nothing without it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from task_manager_core.application import attempt, loop
from task_manager_core.application.definitions import Definitions
from task_manager_core.application.worker import Worker
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import NextSlot
from task_manager_core.domain.run import Claim, Expired, Settlement
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.campaign import apply
from task_manager_core.testing.campaign.campaign import run_plan
from task_manager_core.testing.campaign.checkers import Violation
from task_manager_core.testing.campaign.checkers.attempts import OneAttempt, OneOutcome
from task_manager_core.testing.campaign.faults import Injection, InjectionKind, Point
from task_manager_core.testing.campaign.model import ClusterModel, ModelExecution, StoreModel
from task_manager_core.testing.campaign.plan import Plan, TaskPlan
from task_manager_core.testing.cluster.failures import SimBudget
from task_manager_core.testing.cluster.link import Side
from task_manager_memory import MemoryStore
from task_manager_memory.catalogue import MemoryCatalogue
from tests.campaign.mutants import MUTANTS, Mutant

FOUND_ON, SEEDS = (3, 11), 300
"""The Python on which the plans were found, and how many seeds another one may need."""

STEPS = 50_000
"""Several times what each of these plans takes."""

SPINNING = "steps"
"""No invariant: the simulation does not end."""


def _no_shortest_wait(_original: object) -> object:
    return 0.0


def _equal_pauses(_original: object) -> object:
    async def _release_unstarted(self: Worker, claims: list[Claim]) -> None:
        await self._release(claims, timedelta(seconds=3), "unknown function")

    return _release_unstarted


def _starts_never_forgotten(_original: object) -> object:
    def begin(self: OneAttempt, execution: ModelExecution, model: ClusterModel) -> None:
        again = (execution.run, execution.token, execution.node) in model.executions
        self.require(not again, f"{execution.run} was started twice")

    return begin


def _attempts_by_run(_original: object) -> object:
    def key_of(claim: Claim) -> tuple[str, int]:
        return claim.run.id.value, 0

    return key_of


def _changes_for_unknown_versions(_original: object) -> object:
    def _touched(self: MemoryCatalogue, since: int) -> set[TaskKey] | None:
        touched = {key for version, key in self._state.changes if version > since}
        return touched if 0 < since < self._state.version else None

    return _touched


def _threads_have_no_timeout(original: Any) -> object:
    def _judge_outcome(self: OneOutcome, settlement: Settlement, model: ClusterModel) -> None:
        original(self, replace(settlement, duration=timedelta(0)), model)

    return _judge_outcome


def _removals_keep_their_slots(_original: object) -> object:
    def _removed(key: TaskKey, store: StoreModel) -> None:
        task = store.tasks.pop(key)
        for run in (*task.live.values(), *task.held):
            store.ended[run.run.id] = "removed"

    return _removed


def _executions_never_forgotten(original: Any) -> object:
    def _judge_outcome(self: OneOutcome, settlement: Settlement, model: ClusterModel) -> None:
        original(self, settlement, model)
        begun = (settlement.claim.run.id, settlement.claim.token, model.node) in model.executions
        self.require(not begun or not isinstance(settlement.outcome, Expired), "what was executed has expired")

    return _judge_outcome


def _slots_outlive_their_schedule(_original: object) -> object:
    def _next_slot_of(self: Definitions, task: TaskDefinition) -> NextSlot | None:
        return self._next_slots[task.key][1] if task.key in self._next_slots else None

    return _next_slot_of


[EXPIRED_CLAIM_STARTED] = [mutant for mutant in MUTANTS if mutant.defect == "expired claim started again"]

FOUND: dict[str, Mutant] = {
    "a slow clock does not keep a loop spinning": Mutant(
        defect="a loop waits ever shorter before an instant, and a slow clock never reaches it",
        owner=loop,
        name="SHORTEST_REST",
        replacement=_no_shortest_wait,
        breaks=SPINNING,
        plan=Plan(
            tasks=(TaskPlan(every=10.0, duration=3.0, run_on_start=True),),
            faults=(Injection(kind=InjectionKind.DRIFT, at=0.2, amount=-0.08),),
        ),
    ),
    # With equal pauses two workers that do not know the run claimed it in turn, and the third one never got it.
    "workers that do not know a function do not take turns for ever": Mutant(
        excluding=False,
        defect="every worker that does not know a run keeps it equally long",
        owner=Worker,
        name="_release_unstarted",
        replacement=_equal_pauses,
        breaks="L",
        plan=Plan(
            tasks=(
                TaskPlan(
                    every=2.0, overlap="buffer_one", priority="high", duration=1.0, failures=2, backoff=0.5, only=0
                ),
                TaskPlan(every=6.0, overlap="skip", priority="high", duration=5.0, max_retries=1, run_on_start=True),
                TaskPlan(every=6.0, cron=True, catch_up="all", priority="high", duration=1.0, backoff=3.0, only=1),
            ),
            faults=(Injection(kind=InjectionKind.PAUSE, at=Point("claim", 2, Side.BEFORE), machine=1, length=8.0),),
            seed=11,
            tiny=True,
        ),
    ),
    # Its claim was lost, and so was a reply to the worker's next request: it was given again before it was reaped.
    "an attempt that was interrupted is not started again": EXPIRED_CLAIM_STARTED,
    # Found in a checker. The store does not know that the attempt was executed: it can only be executed again.
    "an attempt of a store that was set back is started once more": Mutant(
        defect="the checker remembers starts that the store has lost",
        owner=OneAttempt,
        name="begin",
        replacement=_starts_never_forgotten,
        breaks="I5",
        plan=Plan(
            tasks=(TaskPlan(), TaskPlan(), TaskPlan(run_on_start=True), TaskPlan(run_on_start=True)),
            faults=(
                Injection(kind=InjectionKind.SLOW, at=1.1, length=2.0, amount=0.1),
                Injection(kind=InjectionKind.REWIND, at=Point("settle", 1, Side.BEFORE), length=2.0),
            ),
        ),
    ),
    # While its first attempt executes: the second one took its place in the worker, and its end was an error.
    "a run is given again by a store that was set back": Mutant(
        excluding=False,
        defect="a worker tells its attempts apart by their run alone",
        owner=attempt,
        name="key_of",
        replacement=_attempts_by_run,
        breaks="code",
        plan=Plan(
            tasks=(
                TaskPlan(every=6.0, slot_jitter=1.0, run_on_start=True),
                TaskPlan(every=2.0, cron=True, overlap="skip", duration=5.0, slot_jitter=1.0, dynamic=True),
                TaskPlan(every=2.0, cron=True, slot_jitter=1.0, run_on_start=True, sync=True, only=1),
                TaskPlan(every=10.0, cron=True, duration=0.0, run_on_start=True),
            ),
            faults=(
                Injection(kind=InjectionKind.SLOW, at=10.3, length=2.0, amount=0.1),
                Injection(kind=InjectionKind.ERROR, at=17.4),
                Injection(kind=InjectionKind.DEAF, at=6.3, machine=2, length=1.0),
                Injection(kind=InjectionKind.ENABLE, at=0.5),
                Injection(kind=InjectionKind.ERROR, at=0.0),
                Injection(kind=InjectionKind.PAUSE, at=3.1, length=8.0),
                Injection(kind=InjectionKind.ENABLE, at=0.6),
                Injection(kind=InjectionKind.PAUSE, at=21.8, length=4.0),
                Injection(kind=InjectionKind.REWIND, at=Point("commit", 7, Side.AFTER), machine=2, length=2.0),
            ),
            seed=43,
        ),
    ),
    # The store lost a change, and was written to before a reader asked. Readers asked from the lost version on.
    **{
        f"a change that the store lost does not end the task, written to {delay} ms later": Mutant(
            defect="a reader at a version that a store which was set back never gave out gets the changes alone",
            owner=MemoryCatalogue,
            name="_touched",
            replacement=_changes_for_unknown_versions,
            breaks="I11",
            plan=Plan(
                tasks=(TaskPlan(), TaskPlan(every=2.0, dynamic=True), TaskPlan(every=2.0, dynamic=True)),
                faults=(
                    Injection(kind=InjectionKind.REMOVE, at=2.5, task=2),
                    Injection(kind=InjectionKind.CHANGE, at=5.3, task=1),
                    Injection(kind=InjectionKind.REWIND, at=8.0, length=4.0),
                    Injection(kind=InjectionKind.ADD, at=7.985 + delay / 1000, task=2, machine=1),
                ),
                duration=12.0,
            ),
        )
        for delay in (10, 13)
    },
    # Found in a checker. A thread is not interrupted, and is late also where its process stood still before it began.
    "a thread that returns after its timeout has failed": Mutant(
        defect="the checker calls no attempt late whose function returned",
        owner=OneOutcome,
        name="_judge_outcome",
        replacement=_threads_have_no_timeout,
        breaks="I7",
        plan=Plan(
            tasks=(TaskPlan(), TaskPlan(sync=True, timeout=2.0)),
            faults=tuple(
                Injection(kind=InjectionKind.BLOCK, at=3.0, machine=machine, length=4.0) for machine in range(3)
            ),
            duration=8.0,
        ),
    ),
    # Found in a checker. The store does not know that the attempt was executed, and gives its claim again: too late.
    "a claim that is given again by a store that was set back expires": Mutant(
        defect="the checker remembers executions that the store has lost",
        owner=OneOutcome,
        name="_judge_outcome",
        replacement=_executions_never_forgotten,
        breaks="I7",
        plan=Plan(
            tasks=(TaskPlan(every=8.0, deadline=1.0),),
            faults=(
                Injection(kind=InjectionKind.REWIND, at=8.7, length=0.5),
                Injection(kind=InjectionKind.ERROR, at=Point("claim", 10, Side.BEFORE)),
            ),
            duration=12.0,
        ),
    ),
    # Found in a checker. The decisions about the slots of a task are forgotten with the task.
    "a task that is added again has slots again that were decided before the clock was set back": Mutant(
        defect="the checker remembers the slots of a task that was removed",
        owner=apply,
        name="_removed",
        replacement=_removals_keep_their_slots,
        breaks="I1",
        plan=Plan(
            tasks=(TaskPlan(dynamic=True),),
            faults=(
                Injection(kind=InjectionKind.SET_BACK, at=Point("commit", 2, Side.BEFORE), amount=30.0),
                Injection(kind=InjectionKind.REMOVE, at=17.6),
                Injection(kind=InjectionKind.ADD, at=21.4),
            ),
        ),
    ),
    "a task that the store lost does not go on with a slot of its older schedule": Mutant(
        defect="the slots that a leader gave a task outlive its schedule",
        owner=Definitions,
        name="_next_slot_of",
        replacement=_slots_outlive_their_schedule,
        breaks="I2",
        plan=Plan(
            tasks=(TaskPlan(every=6.0, cron=True, dynamic=True),),
            seed=1,
            faults=(Injection(kind=InjectionKind.CHANGE, at=7.3), Injection(kind=InjectionKind.WIPE, at=11.1)),
            duration=12.0,
        ),
    ),
}

every_plan = pytest.mark.parametrize("found", FOUND.values(), ids=list(FOUND))


@every_plan
def test_what_was_found_stays_mended(found: Mutant) -> None:
    assert run_plan(found.plan, MemoryStore, max_steps=STEPS).steps < STEPS / 2


@every_plan
def test_its_defect_brings_it_back(found: Mutant) -> None:
    with found.switched_on(), pytest.raises((Violation, SimBudget)) as caught:
        _run(found.plan)
    assert (caught.value.invariant if isinstance(caught.value, Violation) else SPINNING) == found.breaks


def _run(plan: Plan) -> None:
    """Another Python may run the callbacks of a plan in another order, so that another seed is needed."""
    for seed in (plan.seed, *range(SEEDS if sys.version_info[:2] != FOUND_ON else 0)):
        run_plan(replace(plan, seed=seed), MemoryStore, keep_lines=0, max_steps=STEPS)
