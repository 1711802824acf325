"""I5, I7, I9 and I13: attempts, outcomes, retries and last instants of a run."""

from __future__ import annotations

from datetime import datetime, timedelta

from task_manager_core.domain.events import Event, RunStarted
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.domain.policy import RetryPolicy
from task_manager_core.domain.run import (
    Cancelled,
    Claim,
    Exhausted,
    Expired,
    Retried,
    Run,
    RunState,
    Settlement,
    Succeeded,
)
from task_manager_core.ports import Enqueued
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import (
    LONG_AGO,
    ClusterModel,
    ModelExecution,
    RunModel,
    TaskModel,
)
from task_manager_core.testing.cluster.clock import local_clock
from task_manager_core.testing.cluster.effects import (
    Claimed,
    Decided,
    Effect,
    Extended,
    ExtensionRefused,
    Reaped,
    Released,
    Requested,
    Settled,
    SettlementRefused,
)


class OneAttempt(Checker):
    """A run has at most one live attempt. The next begins after the last one ended or its claim expired."""

    invariant = "I5"
    law = (
        "A run has at most one live attempt, which is started once and has a token of its own; the next begins after "
        "the last ended or its claim expired, never by age."
    )
    because = "Each claim gets a new token and is compared by it; only heartbeats count, and an expired claim is over."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Claimed(claim=claim):
                self._claimed(claim, model)
            case Extended(claim=claim, ttl=ttl):
                run = self._held(claim, "extended", model)
                self.require(model.at - run.heartbeat < ttl, f"{_shown(claim)} expired and was extended")
            case ExtensionRefused(claim=claim, ttl=ttl):
                held = model.store.held_by(claim)
                self.require(
                    held is None or model.at - held.heartbeat >= ttl,
                    f"{_shown(claim)} is live and was reported as lost",
                )
            case Reaped(claim=claim, ttl=ttl):
                run = self._held(claim, "reaped", model)
                self.require(model.at - run.heartbeat >= ttl, f"{_shown(claim)} is live and was reaped")
            case Released(claim=claim):
                self._held(claim, "released", model)
            case _:
                pass

    def begin(self, execution: ModelExecution, model: ClusterModel) -> None:
        again = (execution.run, execution.token, execution.node) in model.started
        self.require(not again, f"attempt {execution.attempt} of {execution.task} {execution.run} was started twice")

    def _held(self, claim: Claim, verb: str, model: ClusterModel) -> RunModel:
        run = model.store.held_by(claim)
        if run is None:
            self.violated(f"{_shown(claim)} was {verb} and does not hold the run")
        return run

    def _claimed(self, claim: Claim, model: ClusterModel) -> None:
        run = model.store.run_of(claim.run.task, claim.run.id)
        if run is None:
            self.violated(f"{_shown(claim)} was given, and there is no such live run")
        if run.holds(claim):
            return
        self.require(run.claimable(model.at), f"{_shown(claim)} was given while the run is {run.state.value}")
        expected = (run.attempt, run.failures, run.losses)
        given = (claim.attempt, claim.failures, claim.losses)
        self.require(given == expected, f"{_shown(claim)} was given as {given}, not as {expected}")
        greatest = model.tokens.get(claim.run.id, 0)
        self.require(claim.token > greatest, f"{_shown(claim)} follows token {greatest}")
        model.tokens[claim.run.id] = claim.token
        model.started.discard((claim.run.id, claim.token, claim.worker.value))


class OneOutcome(Checker):
    """A run has at most one terminal outcome, and the outcome is what happened."""

    invariant = "I7"
    law = (
        "A run has at most one outcome, which never changes, and it is that of the attempt that held the claim; a "
        "function that waits beyond its timeout does not succeed."
    )
    because = (
        "A settlement is accepted only from the claim that holds the run, and ends it in the same step; a function is "
        "interrupted at its timeout, a thread judged by it."
    )

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Settled(settlement=settlement):
                claim = settlement.claim
                ended = model.store.ended.get(claim.run.id)
                self.require(ended is None, f"{_shown(claim)} was settled though the run is {ended}")
                self.require(model.store.held_by(claim), f"{_shown(claim)} was settled without holding the run")
                self._judge_outcome(settlement, model)
            case SettlementRefused(settlement=settlement):
                held = model.store.held_by(settlement.claim)
                self.require(held is None, f"{_shown(settlement.claim)} holds its run and could not settle it")
            case _:
                pass

    def _judge_outcome(self, settlement: Settlement, model: ClusterModel) -> None:
        claim = settlement.claim
        execution = model.executions.get((claim.run.id, claim.token, model.node))
        happened = "never called" if execution is None else (execution.ended or "is executing")
        timeout = claim.run.timeout
        late = happened == "returned" and timeout is not None and settlement.duration > timeout  # as a thread may
        match settlement.outcome:
            case Succeeded():
                self.require(happened == "returned", f"{_shown(claim)} succeeded, but its function {happened}")
                took = timedelta() if execution is None else execution.took
                in_time = timeout is None or took <= timeout * _RATES + _SLACK
                self.require(in_time, f"{_shown(claim)} succeeded after {took}, and its timeout is {timeout}")
            case Retried():
                failed = late or happened in {"raised", "cancelled"}
                self.require(failed, f"{_shown(claim)} failed, but its function {happened}")
            case Exhausted():
                self.require(late or happened != "returned", f"{_shown(claim)} failed, but its function {happened}")
            case Cancelled():
                run = model.store.held_by(claim)
                self.require(run and run.cancelling, f"{_shown(claim)} was cancelled without a request")
            case Expired():
                begun = (claim.run.id, claim.token, model.node) in model.started
                self.require(not begun, f"{_shown(claim)} expired, but its function {happened}")


class BackoffHeld(Checker):
    """A retry begins after its backoff, as often as its policy allows, and does not wait for the next slot."""

    invariant = "I9"
    law = (
        "A retry waits for its backoff whatever the schedule; its delay and the numbers of failures and of losses stay "
        "within their bounds."
    )
    because = "The delay is a pure function of (run, failures), and the store keeps the instant with the run."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Settled(settlement=Settlement(claim=claim, outcome=Retried(delay=delay))):
                self._delay(claim, delay)
            case Settled(settlement=Settlement(claim=claim, outcome=Exhausted())):
                self._exhausted(claim, model)
            case Decided(decision=decision) if decision.dispatch and decision.key in model.store.tasks:
                waiting = [
                    run
                    for run in model.store.tasks[decision.key].live.values()
                    if run.retrying and not run.is_due(model.at)
                ]
                self.require(not waiting, f"{decision.key} was dispatched while a retry waits")
            case _:
                pass

    def begin(self, execution: ModelExecution, model: ClusterModel) -> None:
        run = model.store.run_of(execution.task, execution.run)
        if run is not None and run.claim is not None and run.claim.token == execution.token:
            most, losses = run.run.retry.max_lost_attempts, run.losses
            self.require(
                most is None or losses <= most, f"{execution.task} {execution.run} was started after {losses} losses"
            )

    def _exhausted(self, claim: Claim, model: ClusterModel) -> None:
        """Too many failures end a run after a call; too many losses end it without a call."""
        most, failures = claim.run.retry.max_retries, claim.failures + 1
        allowed, losses = claim.run.retry.max_lost_attempts, claim.losses
        if (claim.run.id, claim.token, model.node) not in model.executions:
            self.require(
                allowed is not None and losses > allowed, f"{_shown(claim)} was exhausted after {losses} losses"
            )
            return
        too_many = most is not None and failures > most
        self.require(too_many or _retries_by_class(claim), f"{_shown(claim)} was exhausted after {failures} failures")

    def _delay(self, claim: Claim, delay: timedelta) -> None:
        policy, failures = claim.run.retry, claim.failures + 1
        most = policy.max_retries
        self.require(most is None or failures <= most, f"{_shown(claim)} is tried again after {failures} failures")
        longest = _ideal(policy, failures)
        shortest = longest * (1 - policy.jitter)
        self.require(
            shortest - _SLACK <= delay <= longest + _SLACK,
            f"{_shown(claim)} waits {delay}, not {shortest} to {longest}",
        )

    def compare(self, snapshot: Snapshot, model: ClusterModel) -> None:
        for view in snapshot.tasks:
            task = model.store.tasks.get(view.key)
            for shown in view.live if task is not None else ():
                run = task.live.get(shown.run) if task is not None else None
                if run is not None and run.state is RunState.WAITING is shown.state and run.due_at is not None:
                    due_at = run.due_at + (model.clock - model.at)
                    exact = shown.due_at is not None and abs(shown.due_at - due_at) <= _SLACK
                    self.require(exact, f"{view.key} retries at {shown.due_at}, not at {due_at}")


class StartDeadline(Checker):
    """No run starts for the first time after its last instant, and none expires earlier."""

    invariant = "I13"
    law = (
        "A run that no worker has claimed within its start deadline and its expiry is never executed and ends as "
        "expired; one that was claimed in time never expires. The clock is that of the worker."
    )
    because = "The dispatched run carries the instant, and the worker compares it before it starts a first attempt."

    def judge(self, effect: Effect, model: ClusterModel) -> None:
        match effect:
            case Decided(decision=decision) if decision.key in model.store.tasks:
                self._dispatched(decision, model.store.tasks[decision.key])
            case Requested(run=run, answer=Enqueued.QUEUED | Enqueued.HELD | Enqueued.WAITING, delay=delay):
                self._requested(run, delay, model)
            case Settled(settlement=Settlement(claim=claim, outcome=Expired(), started_at=at)):
                late = claim.attempt == 1 and claim.run.start_by is not None and at > claim.run.start_by
                self.require(late, f"{_shown(claim)} expired at {at}, and may start until {claim.run.start_by}")
            case _:
                pass

    def notice(self, event: Event, model: ClusterModel) -> None:
        del model
        if isinstance(event, RunStarted) and event.claim.attempt == 1:
            claim, at = event.claim, local_clock.get().now()
            late = claim.run.start_by is not None and at > claim.run.start_by
            self.require(not late, f"{_shown(claim)} was started at {at}, after {claim.run.start_by}")

    def _dispatched(self, decision: SlotDecision, task: TaskModel) -> None:
        """A run may start until the shorter of its limits is over, which count from the instant at which the slot could
        be dispatched. That is after all earlier slots."""
        lengths = [one for one in (task.definition.start_deadline, task.definition.expires) if one is not None]
        length = min(lengths, default=None)
        dispatched = {run.slot: run for run in (*decision.dispatch, *([decision.hold] if decision.hold else []))}
        slot: datetime | None = decision.slot
        opens_at = task.due_at(slot)
        while slot is not None and dispatched:
            opens_at = max(opens_at, task.due_at(slot))
            run = dispatched.pop(slot, None)
            if run is not None:
                expected = None if length is None else opens_at + length
                self.require(
                    run.start_by == expected, f"{decision.key} {slot} may start until {run.start_by}, not {expected}"
                )
            slot = task.definition.schedule.next_after(slot)

    def _requested(self, run: Run, delay: timedelta, model: ClusterModel) -> None:
        """A request counts from its reading of the clock, which came shortly before. The request and the task's version
        are judged together: a change of the task changes no earlier request."""
        store, task = model.store, model.store.tasks.get(run.task)
        if task is None or task.version != run.version or run.id in model.own_expiries:
            return
        expires = task.definition.expires
        if expires is None or run.start_by is None:
            both = expires is None and run.start_by is None
            self.require(both, f"{run.task} {run.id} may start until {run.start_by}, and expires after {expires}")
        elif store.clock_set_at == LONG_AGO:
            late = run.start_by - (store.clock + delay + expires)
            self.require(late <= _SLACK, f"{run.task} {run.id} expires {late} too late")
            self.require(late >= -_LONGEST_REQUEST, f"{run.task} {run.id} expires {-late} too early")


_LONGEST_REQUEST = timedelta(seconds=30)
"""Faults delay a request for a shorter time, between its reading of the clock and its last repetition."""

_SLACK = timedelta(milliseconds=1)

_RATES = 1.1
"""How much faster one clock may run than another."""


def _retries_by_class(claim: Claim) -> bool:
    return bool(claim.run.retry.retry_on or claim.run.retry.no_retry_on)


def _ideal(policy: RetryPolicy, failures: int) -> timedelta:
    """min(initial × multiplier^(failures - 1), maximum), step by step."""
    delay = policy.initial
    for _ in range(failures - 1):
        delay *= policy.multiplier
        if delay >= policy.maximum:
            return policy.maximum
    return delay


def _shown(claim: Claim) -> str:
    what = f"{claim.run.task} {claim.run.slot or claim.run.id}"
    return f"attempt {claim.attempt} of {what} (token {claim.token}, {claim.worker})"
