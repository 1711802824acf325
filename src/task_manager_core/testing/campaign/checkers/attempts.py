"""I5, I7, I9 and I13: attempts, outcomes, retries and start deadlines of a run."""

from __future__ import annotations

from datetime import datetime, timedelta

from task_manager_core.domain.events import Event, RunStarted
from task_manager_core.domain.observation import Snapshot
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.domain.policy import RetryPolicy
from task_manager_core.domain.run import Cancelled, Claim, Exhausted, Expired, Retried, RunState, Settlement, Succeeded
from task_manager_core.testing.campaign.checkers.checker import Checker
from task_manager_core.testing.campaign.model import ClusterModel, ModelExecution, RunModel, TaskModel
from task_manager_core.testing.cluster.clock import local_clock
from task_manager_core.testing.cluster.effects import (
    Claimed,
    Decided,
    Effect,
    Extended,
    ExtensionRefused,
    Reaped,
    Released,
    Settled,
    SettlementRefused,
)


class OneAttempt(Checker):
    """At most one live attempt per run; the next only after the last ended or its claim expired."""

    invariant = "I5"
    law = (
        "A run has at most one live attempt, which is started once and has a token of its own; the next begins after "
        "the last ended or its claim expired, never by age."
    )
    because = "Each claim gets a new token and is compared by it; only heartbeats count, and an expired claim is over."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case Claimed(claim=claim):
                self._claimed(claim, ledger)
            case Extended(claim=claim, ttl=ttl):
                standing = self._held(claim, "extended", ledger)
                self.require(ledger.at - standing.beat < ttl, f"{_shown(claim)} expired and was extended")
            case ExtensionRefused(claim=claim, ttl=ttl):
                held = ledger.store.held_by(claim)
                self.require(held is None or ledger.at - held.beat >= ttl, f"{_shown(claim)} lives and was called lost")
            case Reaped(claim=claim, ttl=ttl):
                standing = self._held(claim, "reaped", ledger)
                self.require(ledger.at - standing.beat >= ttl, f"{_shown(claim)} lives and was reaped")
            case Released(claim=claim):
                self._held(claim, "released", ledger)
            case _:
                pass

    def begun(self, execution: ModelExecution, ledger: ClusterModel) -> None:
        again = (execution.run, execution.token, execution.node) in ledger.begun
        self.require(not again, f"attempt {execution.attempt} of {execution.task} {execution.run} was started twice")

    def _held(self, claim: Claim, verb: str, ledger: ClusterModel) -> RunModel:
        standing = ledger.store.held_by(claim)
        if standing is None:
            self.violated(f"{_shown(claim)} was {verb} and does not hold the run")
        return standing

    def _claimed(self, claim: Claim, ledger: ClusterModel) -> None:
        standing = ledger.store.standing(claim.run.task, claim.run.id)
        if standing is None:
            self.violated(f"{_shown(claim)} was given, and no such run lives")
        if standing.holds(claim):
            return
        self.require(
            standing.claimable(ledger.at), f"{_shown(claim)} was given while the run is {standing.state.value}"
        )
        expected = (standing.attempt, standing.failures, standing.losses)
        given = (claim.attempt, claim.failures, claim.losses)
        self.require(given == expected, f"{_shown(claim)} was given as {given}, not as {expected}")
        greatest = ledger.claimed.get(claim.run.id, 0)
        self.require(claim.token > greatest, f"{_shown(claim)} follows token {greatest}")
        ledger.claimed[claim.run.id] = claim.token
        ledger.begun.discard((claim.run.id, claim.token, claim.worker.value))


class OneOutcome(Checker):
    """At most one terminal outcome per run, and it is what happened."""

    invariant = "I7"
    law = (
        "A run has at most one outcome, which never changes, and it is that of the attempt that held the claim; a "
        "function that waits beyond its timeout does not succeed."
    )
    because = (
        "A settlement is accepted only from the claim that holds the run, and ends it in the same step; a function is "
        "interrupted at its timeout, a thread judged by it."
    )

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case Settled(settlement=settlement):
                claim = settlement.claim
                ended = ledger.store.ended.get(claim.run.id)
                self.require(ended is None, f"{_shown(claim)} was settled though the run is {ended}")
                self.require(ledger.store.held_by(claim), f"{_shown(claim)} was settled without holding the run")
                self._truthful(settlement, ledger)
            case SettlementRefused(settlement=settlement):
                held = ledger.store.held_by(settlement.claim)
                self.require(held is None, f"{_shown(settlement.claim)} holds its run and could not settle it")
            case _:
                pass

    def _truthful(self, settlement: Settlement, ledger: ClusterModel) -> None:
        claim = settlement.claim
        execution = ledger.executions.get((claim.run.id, claim.token, ledger.node))
        became = "never called" if execution is None else (execution.ended or "is at work")
        timeout = claim.run.timeout
        late = became == "returned" and timeout is not None and settlement.duration > timeout  # as a thread may
        match settlement.outcome:
            case Succeeded():
                self.require(became == "returned", f"{_shown(claim)} succeeded, but its function {became}")
                took = timedelta() if execution is None else execution.took
                in_time = timeout is None or took <= timeout * _RATES + _SLACK
                self.require(in_time, f"{_shown(claim)} succeeded after {took}, and its timeout is {timeout}")
            case Retried():
                failed = late or became in {"raised", "cancelled"}
                self.require(failed, f"{_shown(claim)} failed, but its function {became}")
            case Exhausted():
                self.require(late or became != "returned", f"{_shown(claim)} failed, but its function {became}")
            case Cancelled():
                standing = ledger.store.held_by(claim)
                self.require(standing and standing.cancelling, f"{_shown(claim)} was cancelled by nobody")
            case Expired():
                begun = (claim.run.id, claim.token, ledger.node) in ledger.begun
                self.require(not begun, f"{_shown(claim)} expired, but its function {became}")


class BackoffHeld(Checker):
    """A retry comes after its backoff, as often as its policy allows, and does not wait for the next slot."""

    invariant = "I9"
    law = (
        "A retry waits for its backoff whatever the schedule; its delay and the numbers of failures and of losses stay "
        "within their bounds."
    )
    because = "The delay is a pure function of (run, failures), and the store keeps the instant with the run."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case Settled(settlement=Settlement(claim=claim, outcome=Retried(delay=delay))):
                self._delay(claim, delay)
            case Settled(settlement=Settlement(claim=claim, outcome=Exhausted())):
                self._given_up(claim, ledger)
            case Decided(decision=advance) if advance.dispatch and advance.key in ledger.store.accounts:
                waiting = [
                    standing
                    for standing in ledger.store.accounts[advance.key].live.values()
                    if standing.retrying and not standing.returns(ledger.at)
                ]
                self.require(not waiting, f"{advance.key} was dispatched while a retry waits")
            case _:
                pass

    def begun(self, execution: ModelExecution, ledger: ClusterModel) -> None:
        standing = ledger.store.standing(execution.task, execution.run)
        if standing is not None and standing.claim is not None and standing.claim.token == execution.token:
            most, losses = standing.run.retry.max_lost_attempts, standing.losses
            self.require(
                most is None or losses <= most, f"{execution.task} {execution.run} was started after {losses} losses"
            )

    def _given_up(self, claim: Claim, ledger: ClusterModel) -> None:
        """By too many failures, and then it was called, or by too many losses, and then it was not."""
        most, failures = claim.run.retry.max_retries, claim.failures + 1
        allowed, losses = claim.run.retry.max_lost_attempts, claim.losses
        if (claim.run.id, claim.token, ledger.node) not in ledger.executions:
            self.require(
                allowed is not None and losses > allowed, f"{_shown(claim)} was given up after {losses} losses"
            )
            return
        given_up = most is not None and failures > most
        self.require(given_up or _retries_chosen(claim), f"{_shown(claim)} was given up after {failures} failures")

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

    def compare(self, snapshot: Snapshot, ledger: ClusterModel) -> None:
        for view in snapshot.tasks:
            account = ledger.store.accounts.get(view.key)
            for run in view.live if account is not None else ():
                standing = account.live.get(run.run) if account is not None else None
                if (
                    standing is not None
                    and standing.state is RunState.WAITING is run.state
                    and standing.due_at is not None
                ):
                    due_at = standing.due_at + (ledger.clock - ledger.at)
                    exact = run.due_at is not None and abs(run.due_at - due_at) <= _SLACK
                    self.require(exact, f"{view.key} retries at {run.due_at}, not at {due_at}")


class StartDeadline(Checker):
    """No run starts for the first time after its start deadline, and none expires before."""

    invariant = "I13"
    law = (
        "A run that no worker has claimed by its start deadline is never executed and ends as expired; one that was "
        "claimed in time never expires. The clock is that of the worker."
    )
    because = "The dispatched run carries the instant, and the worker compares it before it starts a first attempt."

    def judge(self, fact: Effect, ledger: ClusterModel) -> None:
        match fact:
            case Decided(decision=advance) if advance.key in ledger.store.accounts:
                self._dispatched(advance, ledger.store.accounts[advance.key])
            case Settled(settlement=Settlement(claim=claim, outcome=Expired(), started_at=at)):
                late = claim.attempt == 1 and claim.run.start_by is not None and at > claim.run.start_by
                self.require(late, f"{_shown(claim)} expired at {at}, and may start until {claim.run.start_by}")
            case _:
                pass

    def noticed(self, event: Event, ledger: ClusterModel) -> None:
        del ledger
        if isinstance(event, RunStarted) and event.claim.attempt == 1:
            claim, at = event.claim, local_clock.get().now()
            late = claim.run.start_by is not None and at > claim.run.start_by
            self.require(not late, f"{_shown(claim)} was started at {at}, after {claim.run.start_by}")

    def _dispatched(self, advance: SlotDecision, account: TaskModel) -> None:
        """The instant is the definition's distance from when the slot could be dispatched: after those before it."""
        dispatched = {run.slot: run for run in (*advance.dispatch, *([advance.hold] if advance.hold else []))}
        slot: datetime | None = advance.slot
        opens_at = account.due_at(slot)
        while slot is not None and dispatched:
            opens_at = max(opens_at, account.due_at(slot))
            run, deadline = dispatched.pop(slot, None), account.task.start_deadline
            if run is not None:
                right = None if deadline is None else opens_at + deadline
                self.require(run.start_by == right, f"{advance.key} {slot} may start until {run.start_by}, not {right}")
            slot = account.task.schedule.next_after(slot)


_SLACK = timedelta(milliseconds=1)

_RATES = 1.1
"""How far the rates of two clocks may differ."""


def _retries_chosen(claim: Claim) -> bool:
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
