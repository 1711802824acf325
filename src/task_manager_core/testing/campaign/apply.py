"""Applies the effects of an operation to the model. One function for each kind of effect that changes something."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import RunId, TaskKey
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.run import TRANSITION_OF_OUTCOME, Retried, RunState, RunTransition, Succeeded
from task_manager_core.ports import Cancelling, Enqueued
from task_manager_core.testing.campaign.model import RunModel, StoreModel, TaskModel, slots_of
from task_manager_core.testing.cluster.effects import (
    AgendaRead,
    CancelAnswered,
    Claimed,
    Decided,
    Deposed,
    Effect,
    EndedRemoved,
    Extended,
    Granted,
    Paused,
    Promoted,
    Reaped,
    Released,
    Removed,
    Renewed,
    Reported,
    Requested,
    Resigned,
    Resumed,
    Retired,
    Settled,
    WriteAccepted,
    Written,
)


def apply(effect: Effect, store: StoreModel) -> None:  # noqa: C901, PLR0912 - one line for each kind of effect
    """Change the model as the store has changed. An effect that is not named here changes nothing."""
    match effect:
        case Granted(term=term, ttl=ttl) | Deposed(term=term, ttl=ttl):
            if store.live_term() != term:
                store.grant(term, store.at + ttl)
                store.progressed_at = store.at
        case Renewed(term=term, ttl=ttl):
            store.grant(term, store.at + ttl)
        case Resigned(term=term):
            store.grant(term, store.at)
        case AgendaRead(term=term):
            if term is not None and term == store.live_term() and store.is_due():
                store.advance()
        case WriteAccepted(operation="commit"):
            store.advance()
        case Decided():
            _decided(effect, store)
        case Paused(key=key):
            store.tasks[key].paused = True
        case Resumed(key=key):
            _resumed(store.tasks[key], store)
        case Written():
            _written(effect, store)
        case Removed(key=key) | EndedRemoved(key=key):
            _removed(key, store)
        case Retired(key=key):
            store.tasks[key].retired = True
        case Requested():
            _requested(effect, store)
        case Claimed():
            _claimed(effect, store)
        case Extended(claim=claim):
            if (held := store.held_by(claim)) is not None:
                held.heartbeat = store.at
        case Reported(claim=claim, progress=progress):
            if (held := store.held_by(claim)) is not None:
                held.progress, held.reported_at = progress, store.at
        case Settled():
            _settled(effect, store)
        case Released():
            _released(effect, store)
        case Reaped():
            _reaped(effect, store)
        case CancelAnswered():
            _cancel_answered(effect, store)
        case Promoted():
            _promoted(effect, store)
        case _:
            pass


def _decided(effect: Decided, store: StoreModel) -> None:
    decision, task = effect.decision, store.tasks[effect.decision.key]
    for run in decision.dispatch:
        task.live[run.id] = RunModel(run=run, state=RunState.QUEUED)
        if run.slot is not None:
            task.decided[run.slot] = "dispatched"
    if decision.hold is not None:
        task.held.append(RunModel(run=decision.hold, state=RunState.HELD))
        if decision.hold.slot is not None:
            task.decided[decision.hold.slot] = "dispatched"
    task.decided.update(slots_of(task, decision.skipped))
    task.next_slot = decision.next_slot


def _resumed(task: TaskModel, store: StoreModel) -> None:
    if task.paused:
        task.paused, task.resumed_at = False, store.clock


def _written(effect: Written, store: StoreModel) -> None:
    write, task = effect.write, store.tasks.get(effect.write.definition.key)
    if task is not None and task.version == effect.version:
        return
    store.version = max(store.version, effect.version)
    if task is None:
        task = TaskModel(definition=write.definition, version=effect.version, next_slot=write.next_slot)
        store.tasks[write.definition.key] = task
        task.decided.update(slots_of(task, write.skipped))
        return
    task.decided.update(slots_of(task, write.skipped))
    task.definition, task.version, task.retired = write.definition, effect.version, False
    if write.replan:
        task.next_slot = write.next_slot


def _removed(key: TaskKey, store: StoreModel) -> None:
    """Forget what was decided. If the clock was set back, a new task of the same name may have the same slots again."""
    task = store.tasks.pop(key)
    for run in (*task.live.values(), *task.held):
        store.ended[run.run.id] = "removed"
    for slot in task.decided:
        if slot > store.clock:
            store.ended.pop(RunId.of_slot(key, slot), None)


def _requested(effect: Requested, store: StoreModel) -> None:
    if effect.answer not in {Enqueued.QUEUED, Enqueued.HELD, Enqueued.WAITING}:
        return
    run, task = effect.run, store.tasks[effect.run.task]
    task.requests[run.id] = effect.asked
    if effect.answer is Enqueued.QUEUED:
        task.live[run.id] = RunModel(run=run, state=RunState.QUEUED)
    elif effect.answer is Enqueued.WAITING:
        due_at = store.at + effect.delay
        task.live[run.id] = RunModel(run=run, state=RunState.WAITING, due_at=due_at, delayed=True)
    else:
        task.held.append(RunModel(run=run, state=RunState.HELD))


def _claimed(effect: Claimed, store: StoreModel) -> None:
    run = store.run_of(effect.claim.run.task, effect.claim.run.id)
    if run is None or run.holds(effect.claim):
        return
    if run.is_due(store.at):
        store.move(run, RunTransition.DUE)
    store.move(run, RunTransition.CLAIMED)
    run.claim, run.heartbeat = effect.claim, store.at


def _settled(effect: Settled, store: StoreModel) -> None:
    settlement = effect.settlement
    run, outcome = store.held_by(settlement.claim), settlement.outcome
    if run is None:
        return
    if isinstance(outcome, Succeeded) and settlement.remembered is not None:
        task, remembered = store.tasks[run.run.task], settlement.remembered
        cursor = task.memory.cursor if remembered.cursor is None else remembered.cursor
        task.memory = TaskMemory(success=remembered.success, cursor=cursor)
    if isinstance(outcome, Retried) and run.cancelling:
        store.move(run, RunTransition.CANCELLED)
    elif isinstance(outcome, Retried):
        run.attempt, run.failures = run.attempt + 1, run.failures + 1
        store.move(run, RunTransition.RETRIED, store.at + outcome.delay)
    else:
        store.move(run, TRANSITION_OF_OUTCOME[type(outcome)])


def _released(effect: Released, store: StoreModel) -> None:
    if (run := store.held_by(effect.claim)) is None:
        return
    if run.cancelling:
        store.move(run, RunTransition.CANCELLED)
        return
    run.attempt += effect.started
    if effect.delay > timedelta(0):
        store.move(run, RunTransition.POSTPONED, store.at + effect.delay)
    else:
        store.move(run, RunTransition.RELEASED)


def _reaped(effect: Reaped, store: StoreModel) -> None:
    if (run := store.held_by(effect.claim)) is None:
        return
    if run.cancelling:
        store.move(run, RunTransition.CANCELLED)
        return
    run.attempt, run.losses = run.attempt + 1, run.losses + 1
    store.move(run, RunTransition.LOST)


def _cancel_answered(effect: CancelAnswered, store: StoreModel) -> None:
    if (run := store.run_of(effect.key, effect.run)) is None:
        return
    if effect.answer is Cancelling.REQUESTED:
        run.cancelling = True
    elif effect.answer is Cancelling.CANCELLED:
        store.move(run, RunTransition.CANCELLED)


def _promoted(effect: Promoted, store: StoreModel) -> None:
    task = store.tasks.get(effect.key)
    for run in () if task is None else task.live.values():
        if run.state is RunState.WAITING and not run.delayed and run.run.id not in effect.spared:
            store.move(run, RunTransition.DUE)
