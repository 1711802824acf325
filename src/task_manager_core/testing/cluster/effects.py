"""What an operation of a store amounted to, in elementary steps. A fact knows what it changes in the books.

Checkers judge a fact before it is entered. Operations on many runs become many facts, in order, because the second may
be right only because of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import HeldByOther, Term
from task_manager_core.domain.planning import Agenda, SlotDecision
from task_manager_core.domain.run import TRANSITION_OF_OUTCOME, Claim, Retried, Run, RunState, RunTransition, Settlement
from task_manager_core.ports import Cancelling, Changes, DefinitionWrite, Enqueued
from task_manager_core.testing.campaign.model import RunModel, StoreModel, TaskModel, slots_of


@dataclass(frozen=True, slots=True)
class Nothing:
    """An answer that changes nothing in the books."""

    def enter(self, books: StoreModel) -> None: ...


# -- leadership -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    term: Term
    ttl: timedelta

    def enter(self, books: StoreModel) -> None:
        if books.reigning() != self.term:
            books.reign(self.term, books.at + self.ttl)


@dataclass(frozen=True, slots=True)
class BidRefused(Nothing):
    candidate: NodeId
    held: HeldByOther


@dataclass(frozen=True, slots=True)
class Renewed:
    term: Term
    ttl: timedelta

    def enter(self, books: StoreModel) -> None:
        books.reign(self.term, books.at + self.ttl)


@dataclass(frozen=True, slots=True)
class RenewalRefused(Nothing):
    term: Term


@dataclass(frozen=True, slots=True)
class Resigned:
    term: Term

    def enter(self, books: StoreModel) -> None:
        books.reign(self.term, books.at)


@dataclass(frozen=True, slots=True)
class Sent(Nothing):
    """A fenced write leaves its node."""

    term: Term
    operation: str


@dataclass(frozen=True, slots=True)
class WriteAccepted(Nothing):
    """A fenced write was not answered with Fenced, whatever it changed."""

    term: Term
    operation: str


@dataclass(frozen=True, slots=True)
class WriteRefused(Nothing):
    """A fenced write was answered with Fenced."""

    term: Term
    operation: str


# -- the schedule -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgendaRead(Nothing):
    agenda: Agenda
    limit: int


@dataclass(frozen=True, slots=True)
class Decided:
    term: Term
    decision: SlotDecision

    def enter(self, books: StoreModel) -> None:
        advance, account = self.decision, books.accounts[self.decision.key]
        for run in advance.dispatch:
            account.live[run.id] = RunModel(run=run, state=RunState.QUEUED)
            if run.slot is not None:
                account.verdicts[run.slot] = "dispatched"
        if advance.hold is not None:
            account.held.append(RunModel(run=advance.hold, state=RunState.HELD))
            if advance.hold.slot is not None:
                account.verdicts[advance.hold.slot] = "dispatched"
        account.verdicts.update(slots_of(account, advance.skipped))
        account.plan = advance.next_slot


@dataclass(frozen=True, slots=True)
class Overtaken(Nothing):
    term: Term
    advance: SlotDecision


@dataclass(frozen=True, slots=True)
class Paused:
    key: TaskKey

    def enter(self, books: StoreModel) -> None:
        books.accounts[self.key].paused = True


@dataclass(frozen=True, slots=True)
class Resumed:
    key: TaskKey

    def enter(self, books: StoreModel) -> None:
        account = books.accounts[self.key]
        if account.paused:
            account.paused, account.resumed_at = False, books.clock


# -- the catalogue ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    write: DefinitionWrite
    version: int

    def enter(self, books: StoreModel) -> None:
        task, account = self.write.definition, books.accounts.get(self.write.definition.key)
        if account is not None and account.version == self.version:
            return
        books.version = max(books.version, self.version)
        if account is None:
            account = TaskModel(task=task, version=self.version, plan=self.write.next_slot)
            books.accounts[task.key] = account
            account.verdicts.update(slots_of(account, self.write.skipped))
            return
        account.verdicts.update(slots_of(account, self.write.skipped))
        account.task, account.version, account.retired = task, self.version, False
        if self.write.replan:
            account.plan = self.write.next_slot


@dataclass(frozen=True, slots=True)
class WriteConflicted(Nothing):
    definition: DefinitionWrite
    found: int


@dataclass(frozen=True, slots=True)
class Removed:
    key: TaskKey

    def enter(self, books: StoreModel) -> None:
        account = books.accounts.pop(self.key)
        for run in (*account.live.values(), *account.held):
            books.ended[run.run.id] = "removed"
        # What was decided is forgotten. A task of the same name has slots again that the clock was set back behind.
        for slot in account.verdicts:
            if slot > books.clock:
                books.ended.pop(RunId.of_slot(self.key, slot), None)


@dataclass(frozen=True, slots=True)
class Retired:
    term: Term
    key: TaskKey

    def enter(self, books: StoreModel) -> None:
        books.accounts[self.key].retired = True


@dataclass(frozen=True, slots=True)
class Loaded(Nothing):
    since: int
    changes: Changes | None


# -- runs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Requested:
    run: Run
    answer: Enqueued
    asked: str

    def enter(self, books: StoreModel) -> None:
        if self.answer in {Enqueued.QUEUED, Enqueued.HELD}:
            books.accounts[self.run.task].requests[self.run.id] = self.asked
        if self.answer is Enqueued.QUEUED:
            books.accounts[self.run.task].live[self.run.id] = RunModel(run=self.run, state=RunState.QUEUED)
        elif self.answer is Enqueued.HELD:
            books.accounts[self.run.task].held.append(RunModel(run=self.run, state=RunState.HELD))


@dataclass(frozen=True, slots=True)
class RequestRefused(Nothing):
    """Of `others` among the runs something else is said to have been asked."""

    runs: tuple[Run, ...]
    asked: str
    others: frozenset[RunId]


@dataclass(frozen=True, slots=True)
class Claimed:
    claim: Claim

    def enter(self, books: StoreModel) -> None:
        standing = books.standing(self.claim.run.task, self.claim.run.id)
        if standing is None or standing.holds(self.claim):
            return
        if standing.returns(books.at):
            books.turn(standing, RunTransition.DUE)
        books.turn(standing, RunTransition.CLAIMED)
        standing.claim, standing.beat = self.claim, books.at


@dataclass(frozen=True, slots=True)
class ClaimsGiven(Nothing):
    """The whole answer to a claim of a worker that said what it knows."""

    worker: NodeId
    known: tuple[Claim, ...]
    claims: tuple[Claim, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Extended:
    claim: Claim
    ttl: timedelta
    cancelling: bool

    def enter(self, books: StoreModel) -> None:
        if (standing := books.held_by(self.claim)) is not None:
            standing.beat = books.at


@dataclass(frozen=True, slots=True)
class ExtensionRefused(Nothing):
    claim: Claim
    ttl: timedelta


@dataclass(frozen=True, slots=True)
class Settled:
    settlement: Settlement

    def enter(self, books: StoreModel) -> None:
        standing, outcome = books.held_by(self.settlement.claim), self.settlement.outcome
        if standing is None:
            return
        if isinstance(outcome, Retried) and standing.cancelling:
            books.turn(standing, RunTransition.CANCELLED)
        elif isinstance(outcome, Retried):
            standing.attempt, standing.failures = standing.attempt + 1, standing.failures + 1
            books.turn(standing, RunTransition.RETRIED, books.at + outcome.delay)
        else:
            books.turn(standing, TRANSITION_OF_OUTCOME[type(outcome)])


@dataclass(frozen=True, slots=True)
class SettlementRefused(Nothing):
    settlement: Settlement


@dataclass(frozen=True, slots=True)
class Released:
    claim: Claim
    delay: timedelta
    started: bool

    def enter(self, books: StoreModel) -> None:
        if (standing := books.held_by(self.claim)) is None:
            return
        if standing.cancelling:
            books.turn(standing, RunTransition.CANCELLED)
            return
        standing.attempt += self.started
        if self.delay > timedelta(0):
            books.turn(standing, RunTransition.POSTPONED, books.at + self.delay)
        else:
            books.turn(standing, RunTransition.RELEASED)


@dataclass(frozen=True, slots=True)
class ReleaseRefused(Nothing):
    claim: Claim


@dataclass(frozen=True, slots=True)
class Reaped:
    term: Term
    claim: Claim
    ttl: timedelta

    def enter(self, books: StoreModel) -> None:
        if (standing := books.held_by(self.claim)) is None:
            return
        if standing.cancelling:
            books.turn(standing, RunTransition.CANCELLED)
            return
        standing.attempt, standing.losses = standing.attempt + 1, standing.losses + 1
        books.turn(standing, RunTransition.LOST)


@dataclass(frozen=True, slots=True)
class CancelAnswered:
    key: TaskKey
    run: RunId
    answer: Cancelling

    def enter(self, books: StoreModel) -> None:
        if (standing := books.standing(self.key, self.run)) is None:
            return
        if self.answer is Cancelling.REQUESTED:
            standing.cancelling = True
        elif self.answer is Cancelling.CANCELLED:
            books.turn(standing, RunTransition.CANCELLED)


@dataclass(frozen=True, slots=True)
class Promoted:
    key: TaskKey
    spared: frozenset[RunId]

    def enter(self, books: StoreModel) -> None:
        account = books.accounts.get(self.key)
        for standing in () if account is None else account.live.values():
            if standing.state is RunState.WAITING and standing.run.id not in self.spared:
                books.turn(standing, RunTransition.DUE)


Effect: TypeAlias = (
    Granted
    | BidRefused
    | Renewed
    | RenewalRefused
    | Resigned
    | Sent
    | WriteAccepted
    | WriteRefused
    | AgendaRead
    | Decided
    | Overtaken
    | Paused
    | Resumed
    | Written
    | WriteConflicted
    | Removed
    | Retired
    | Loaded
    | Requested
    | RequestRefused
    | Claimed
    | ClaimsGiven
    | Extended
    | ExtensionRefused
    | Settled
    | SettlementRefused
    | Released
    | ReleaseRefused
    | Reaped
    | CancelAnswered
    | Promoted
)
