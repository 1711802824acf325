"""Events: what happened on a node.

Observers receive them: logging, statistics, metrics, the trace of the simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from task_manager_core.domain.errors import BackendCorrupt
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.leadership import LeadershipTransition, Term
from task_manager_core.domain.planning import SlotDecision
from task_manager_core.domain.reconciliation import Finding
from task_manager_core.domain.run import Claim, Settlement
from task_manager_core.domain.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class TermWon:
    """This node was granted a term: it leads. `deposed` is the term of the leader that it deposed, if it did."""

    node: NodeId
    term: Term
    deposed: Term | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TermEnded:
    """This node does not lead any more.

    `transition` says why. LOST: the store says that the term is over. EXPIRED: this node stopped trusting its term.
    RESIGNED: this node gave the term up.
    """

    node: NodeId
    term: Term
    transition: LeadershipTransition


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsDecided:
    """The store kept a decision of this node."""

    node: NodeId
    decision: SlotDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFound:
    """Slots were decided later than the grace of their tasks allows: no leader scheduled since about `since`."""

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
    """A worker started an attempt."""

    node: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettled:
    """The store recorded the outcome of an attempt.

    `error` is the exception of the function, for the traceback in the log.
    """

    node: NodeId
    settlement: Settlement
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLost:
    """The claim of a worker ended before the worker settled it. The outcome of the attempt does not count."""

    node: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReleased:
    """A worker released a run: it does not know the function, or it shuts down."""

    node: NodeId
    claim: Claim
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimReaped:
    """The leader reaped an expired claim. Its run is queued again, unless its cancellation was requested."""

    node: NodeId
    claim: Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOverran:
    """A synchronous function has passed the timeout of its task. Its thread cannot be stopped: it holds a place of the
    worker until it returns. `held` of the `places` of the worker are held in this way.
    """

    node: NodeId
    claim: Claim
    held: int
    places: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBlocked:
    """A function blocks the event loop of this process, which has stood for `stood`. Another thread reports it.

    It is reported again whenever the time has doubled. `claim` is that of the attempt which blocks the loop; None if
    other code of the process does. `line` is the line of code, `stack` the calls that led there. `abandoned`: the loop
    has stood for too long, and the process keeps its claims no more.
    """

    node: NodeId
    claim: Claim | None
    line: str
    stack: str
    stood: timedelta
    abandoned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopResumed:
    """The event loop of this process runs again. `stood` is how long it stood, `at` when it went on."""

    node: NodeId
    claim: Claim | None
    line: str
    stood: timedelta
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingMade:
    """The reconciler found a state that needs a correction or a report."""

    node: NodeId
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueChanged:
    """This node read new, changed or removed definitions, or found definitions that it cannot read."""

    node: NodeId
    changed: tuple[TaskKey, ...]
    removed: tuple[TaskKey, ...]
    unreadable: tuple[TaskKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSetAside:
    """The store holds a value that this node cannot read. The node works on without that value."""

    node: NodeId
    error: BackendCorrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSetBack:
    """The store lost its content (`wiped`), or returned to an older state.

    The node writes again what it knows: the missing definitions, and the pauses.
    """

    node: NodeId
    wiped: bool
    definitions: tuple[TaskKey, ...]
    pauses: tuple[TaskKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChanged:
    """This node has written the definition that its code declares over one with another schedule."""

    node: NodeId
    key: TaskKey
    old: Schedule
    new: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionKept:
    """Code added a dynamic task, but the store holds another definition of it. The stored definition stays."""

    node: NodeId
    key: TaskKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TickFailed:
    """A tick of a service failed. `repeats` counts the failures of this service in a row."""

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
    | RunOverran
    | LoopBlocked
    | LoopResumed
    | FindingMade
    | CatalogueChanged
    | ValueSetAside
    | StoreSetBack
    | DefinitionKept
    | ScheduleChanged
    | TickFailed
    | TickRecovered
)
