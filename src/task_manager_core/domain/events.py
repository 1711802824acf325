"""What happened, in the past tense. Logging, statistics, metrics and the simulation's trace are observers of these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import LeadershipTransition, Term
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.domain.reconciliation import Finding
from task_manager_core.domain.run import Claim, Settlement


@dataclass(frozen=True, slots=True, kw_only=True)
class TermWon:
    node: NodeId
    term: Term


@dataclass(frozen=True, slots=True, kw_only=True)
class TermEnded:
    """`turn` says how: LOST to another, EXPIRED in our hands, RESIGNED."""

    node: NodeId
    term: Term
    transition: LeadershipTransition


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsDecided:
    """The store accepted a decision."""

    node: NodeId
    decision: SlotDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFound:
    """Slots were decided later than their task's grace: nobody was scheduling since about `since`."""

    node: NodeId
    since: datetime
    until: datetime
    tasks: int
    dispatched: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFenced:
    """The store refused a leader's write because its term is stale."""

    node: NodeId
    term: Term
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    node: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettled:
    """The store recorded the outcome of an attempt. `error` is what the task raised, for the log's traceback."""

    node: NodeId
    settlement: Settlement
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLost:
    """The worker's claim ended before it could settle; whatever it did, its outcome does not count."""

    node: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReleased:
    """The worker gave a run back: it does not know the function, or it is shutting down."""

    node: NodeId
    claim: Claim
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimReaped:
    """The leader took a run from a claim that had ended, and put it back unless somebody wants it cancelled."""

    node: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingMade:
    node: NodeId
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueChanged:
    """This node learnt of new, changed or removed definitions, or of some that it cannot read."""

    node: NodeId
    changed: tuple[TaskKey, ...]
    removed: tuple[TaskKey, ...]
    unreadable: tuple[TaskKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSetAside:
    """The store holds something that this node cannot read. It is passed over, and hides nothing else."""

    node: NodeId
    error: BackendCorrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSetBack:
    """The store has lost everything (`wiped`), or has fallen back to an older state. The node writes again what it
    knows: the definitions that are gone, and pauses."""

    node: NodeId
    wiped: bool
    definitions: tuple[TaskKey, ...]
    pauses: tuple[TaskKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionKept:
    """Code added a dynamic task of which the store holds another definition: that one stays."""

    node: NodeId
    key: TaskKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TickFailed:
    """A pass of a service failed. `repeats` counts the failures of this service in a row."""

    node: NodeId
    service: str
    error: BaseException
    repeats: int
    retry_in: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRecovered:
    """A service works again after `repeats` failures."""

    node: NodeId
    service: str
    repeats: int


Event = (
    TermWon
    | TermEnded
    | SlotsDecided
    | GapFound
    | WriteFenced
    | RunStarted
    | RunSettled
    | ClaimLost
    | RunReleased
    | ClaimReaped
    | FindingMade
    | CatalogueChanged
    | ValueSetAside
    | StoreSetBack
    | DefinitionKept
    | TickFailed
    | TickRecovered
)
