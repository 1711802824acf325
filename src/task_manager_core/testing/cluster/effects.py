"""What an operation of a store amounted to, in elementary steps. Effects are data: a model applies them.

One operation on many runs has many effects. Their order counts: the second may be right only because of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import HeldByOther, LeaderSign, Term
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.planning import Agenda, SlotDecision
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import Claim, Run, Settlement
from task_manager_core.ports import Cancelling, Changes, DefinitionWrite, Enqueued

# -- leadership -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    term: Term
    ttl: timedelta


@dataclass(frozen=True, slots=True)
class BidRefused:
    candidate: NodeId
    held: HeldByOther


@dataclass(frozen=True, slots=True)
class Observed:
    sign: LeaderSign


@dataclass(frozen=True, slots=True)
class Deposed:
    """A request to depose the leader that was `seen` was granted this term."""

    term: Term
    ttl: timedelta
    seen: LeaderSign


@dataclass(frozen=True, slots=True)
class Renewed:
    term: Term
    ttl: timedelta


@dataclass(frozen=True, slots=True)
class RenewalRefused:
    term: Term


@dataclass(frozen=True, slots=True)
class Resigned:
    term: Term


@dataclass(frozen=True, slots=True)
class Sent:
    """A node sends a fenced write."""

    term: Term
    operation: str


@dataclass(frozen=True, slots=True)
class WriteAccepted:
    """The store answered a fenced write, and not with Fenced. It may have changed nothing."""

    term: Term
    operation: str


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """The store answered a fenced write with Fenced."""

    term: Term
    operation: str


# -- the schedule -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgendaRead:
    agenda: Agenda
    limit: int
    term: Term | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    term: Term
    decision: SlotDecision


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The store dropped a decision, because the task had changed meanwhile."""

    term: Term
    decision: SlotDecision


@dataclass(frozen=True, slots=True)
class Paused:
    key: TaskKey


@dataclass(frozen=True, slots=True)
class Resumed:
    key: TaskKey


# -- the catalogue ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    write: DefinitionWrite
    version: int


@dataclass(frozen=True, slots=True)
class WriteConflicted:
    write: DefinitionWrite
    found: int


@dataclass(frozen=True, slots=True)
class Removed:
    key: TaskKey


@dataclass(frozen=True, slots=True)
class EndedRemoved:
    """The leader has removed a task that is over."""

    key: TaskKey


@dataclass(frozen=True, slots=True)
class Retired:
    term: Term
    key: TaskKey


@dataclass(frozen=True, slots=True)
class Loaded:
    since: int
    changes: Changes | None


# -- runs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Requested:
    """`asked` is the text of the request: a request with the same id must ask for the same."""

    run: Run
    answer: Enqueued
    asked: str
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The store refused a request, because `others` among its runs were asked for with another text."""

    runs: tuple[Run, ...]
    asked: str
    others: frozenset[RunId]


@dataclass(frozen=True, slots=True)
class Claimed:
    claim: Claim


@dataclass(frozen=True, slots=True)
class ClaimsGiven:
    """The whole answer to a worker that named the claims it knows."""

    worker: NodeId
    known: tuple[Claim, ...]
    claims: tuple[Claim, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class Extended:
    claim: Claim
    ttl: timedelta
    cancelling: bool


@dataclass(frozen=True, slots=True)
class ExtensionRefused:
    claim: Claim
    ttl: timedelta


@dataclass(frozen=True, slots=True)
class Reported:
    """The store shows the progress of an attempt from now on."""

    claim: Claim
    progress: Progress


@dataclass(frozen=True, slots=True)
class ReportRefused:
    claim: Claim


@dataclass(frozen=True, slots=True)
class MemoryRead:
    key: TaskKey
    memory: TaskMemory


@dataclass(frozen=True, slots=True)
class Settled:
    settlement: Settlement


@dataclass(frozen=True, slots=True)
class SettlementRefused:
    settlement: Settlement


@dataclass(frozen=True, slots=True)
class Released:
    claim: Claim
    delay: timedelta
    started: bool


@dataclass(frozen=True, slots=True)
class ReleaseRefused:
    claim: Claim


@dataclass(frozen=True, slots=True)
class Reaped:
    term: Term
    claim: Claim
    ttl: timedelta


@dataclass(frozen=True, slots=True)
class CancelAnswered:
    key: TaskKey
    run: RunId
    answer: Cancelling


@dataclass(frozen=True, slots=True)
class Promoted:
    key: TaskKey
    spared: frozenset[RunId]


Effect: TypeAlias = (
    Granted
    | BidRefused
    | Observed
    | Deposed
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
    | EndedRemoved
    | Retired
    | Loaded
    | Requested
    | RequestRefused
    | Claimed
    | ClaimsGiven
    | Extended
    | ExtensionRefused
    | Reported
    | ReportRefused
    | MemoryRead
    | Settled
    | SettlementRefused
    | Released
    | ReleaseRefused
    | Reaped
    | CancelAnswered
    | Promoted
)
