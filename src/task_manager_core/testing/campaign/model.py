"""What the operations so far add up to: an independent account, kept from answers alone and never read from the store.

A checker that asked the store would believe a store that lost something and everything about it. `Books` is one
incarnation of the store and can be copied, so that a store set back to an older state gets its older books back;
`Ledger` holds them together with what no failover undoes: the tokens ever given out, and what really executed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import LeadershipState, Term
from task_manager_core.domain.planning import NextSlot, Skipped
from task_manager_core.domain.run import TERMINAL, TRANSITIONS, Claim, Run, RunState, RunTransition
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.cluster.violation import Violation

LONGEST_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class RunModel:
    """A live run as it must stand. `claim` is set while it runs."""

    run: Run
    state: RunState
    attempt: int = 1
    failures: int = 0
    losses: int = 0
    claim: Claim | None = None
    beat: datetime = LONGEST_AGO
    due_at: datetime | None = None
    retrying: bool = False
    cancelling: bool = False

    def holds(self, claim: Claim) -> bool:
        """Is this the claim that holds the run?"""
        held = self.claim
        return held is not None and (held.token, held.worker) == (claim.token, claim.worker)

    def claimable(self, at: datetime) -> bool:
        return self.state is RunState.QUEUED or self.returns(at)

    def returns(self, at: datetime) -> bool:
        """Does it wait for an instant that has come?"""
        return self.state is RunState.WAITING and self.due_at is not None and self.due_at <= at

    def turn(self, turn: RunTransition, due_at: datetime | None = None) -> None:
        """Go where the table of `domain.run` says. `due_at` is the end of a wait."""
        following = TRANSITIONS.get((self.state, turn))
        if following is None:
            raise Violation("I8", f"{self.run.task} {self.run.id} is {self.state.value} and was {turn.value}")
        self.state, self.claim, self.due_at, self.retrying = following, None, due_at, turn is RunTransition.RETRIED


@dataclass(slots=True, kw_only=True)
class TaskModel:
    """A task as it must stand. `verdicts` has what was decided about each slot: a word for a dispatch, or a reason;
    `requests` what was asked of each remembered run."""

    task: TaskDefinition
    version: int
    plan: NextSlot | None
    paused: bool = False
    resumed_at: datetime | None = None
    retired: bool = False
    live: dict[RunId, RunModel] = field(default_factory=dict[RunId, RunModel])
    held: list[RunModel] = field(default_factory=list[RunModel])
    verdicts: dict[datetime, str] = field(default_factory=dict[datetime, str])
    requests: dict[RunId, str] = field(default_factory=dict[RunId, str])

    def due_at(self, slot: datetime | None) -> datetime:
        """From when a slot could be dispatched: as it was planned, or as the schedule says."""
        assert slot is not None
        if self.plan is not None and self.plan.slot == slot:
            return self.plan.due_at
        return self.task.schedule.due_at(self.task.key, slot)

    def copy(self) -> TaskModel:
        return replace(
            self,
            live={run: replace(standing) for run, standing in self.live.items()},
            held=[replace(standing) for standing in self.held],
            verdicts=dict(self.verdicts),
            requests=dict(self.requests),
        )


def slots_of(account: TaskModel, skipped: Collection[Skipped]) -> dict[datetime, str]:
    """The slots that skips name, walked along the schedule."""
    found: dict[datetime, str] = {}
    for skip in skipped:
        slot: datetime | None = skip.first
        for _ in range(skip.count):
            if slot is None or slot > skip.last:
                break
            found[slot] = skip.reason.value
            slot = account.task.schedule.next_after(slot)
    return found


@dataclass(slots=True)
class StoreModel:
    """One incarnation of the store. `at` is the time by which lengths are measured, `clock` what the store's clock
    says, which can be set back; `leases` has the end of every lease."""

    at: datetime = LONGEST_AGO
    clock: datetime = LONGEST_AGO
    version: int = 0
    term: Term | None = None
    lease_ends: datetime = LONGEST_AGO
    accounts: dict[TaskKey, TaskModel] = field(default_factory=dict[TaskKey, TaskModel])
    ended: dict[RunId, str] = field(default_factory=dict[RunId, str])
    leases: dict[Term, datetime] = field(default_factory=dict[Term, datetime])

    def copy(self) -> StoreModel:
        accounts = {key: account.copy() for key, account in self.accounts.items()}
        return replace(self, accounts=accounts, ended=dict(self.ended), leases={})

    def reign(self, term: Term, ends: datetime) -> None:
        self.term, self.lease_ends = term, ends
        self.leases[term] = ends

    def reigning(self) -> Term | None:
        """The live term."""
        return self.term if self.term is not None and self.at < self.lease_ends else None

    def standing(self, key: TaskKey, run: RunId) -> RunModel | None:
        account = self.accounts.get(key)
        if account is None:
            return None
        found = account.live.get(run)
        return found or next((standing for standing in account.held if standing.run.id == run), None)

    def held_by(self, claim: Claim) -> RunModel | None:
        """The run that this claim still holds."""
        standing = self.standing(claim.run.task, claim.run.id)
        return standing if standing is not None and standing.holds(claim) else None

    def asked(self, run: Run) -> str | None:
        """What was asked of a run that its task remembers."""
        account = self.accounts.get(run.task)
        return None if account is None else account.requests.get(run.id)

    def standings(self) -> Iterator[RunModel]:
        """Every live run, held ones too."""
        for account in self.accounts.values():
            yield from account.live.values()
            yield from account.held

    def turn(self, standing: RunModel, turn: RunTransition, due_at: datetime | None = None) -> None:
        """Move a run. When it has ended, the next held one goes."""
        standing.turn(turn, due_at)
        if standing.state in TERMINAL:
            self._end(standing)

    def _end(self, standing: RunModel) -> None:
        run = standing.run
        self.ended[run.id] = standing.state.value
        account = self.accounts.get(run.task)
        if account is None:
            return
        if standing in account.held:
            account.held.remove(standing)
        account.live.pop(run.id, None)
        if account.held and not account.live:
            freed = account.held.pop(0)
            freed.turn(RunTransition.FREED)
            account.live[freed.run.id] = freed


@dataclass(slots=True, kw_only=True)
class ModelExecution:
    """A function of the user at work, or what became of it: `ended` is None, "returned", "raised" or "cancelled", and
    `took` how long it waited for time until it returned."""

    node: str
    task: TaskKey
    run: RunId
    attempt: int
    token: int
    exclusive: bool
    ended: str | None = None
    took: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredByNode:
    """What a life can execute: the runs of the static tasks that it declares, and of dynamic ones by their function."""

    tasks: frozenset[TaskKey]
    functions: frozenset[FunctionKey]

    def covers(self, run: Run) -> bool:
        return FunctionKey(run.task.group, run.function) in self.functions if run.dynamic else run.task in self.tasks


@dataclass(slots=True, kw_only=True)
class ClusterModel:
    """The books of the present incarnation and the facts that outlive it. `claim_ttl` is every worker's,
    `node` the life whose operation is being judged. `begun` has the attempts that were started since their claim was
    given: a store that was set back forgets what came of them. `claimed` has the greatest token ever given for a run.
    `stood_at` has, for each version that a reader has learnt, the version of every task and whether it was retired.
    """

    claim_ttl: timedelta
    node: str = ""
    store: StoreModel = field(default_factory=StoreModel)
    greatest_token: int = 0
    greatest_version: int = 0
    stood_at: dict[int, dict[TaskKey, tuple[int, bool]]] = field(
        default_factory=dict[int, dict[TaskKey, tuple[int, bool]]]
    )
    claimed: dict[RunId, int] = field(default_factory=dict[RunId, int])
    names: dict[RunId, tuple[TaskKey, datetime | None]] = field(
        default_factory=dict[RunId, tuple[TaskKey, datetime | None]]
    )
    stages: dict[NodeId, LeadershipState] = field(default_factory=dict[NodeId, LeadershipState])
    known: dict[NodeId, DeclaredByNode] = field(default_factory=dict[NodeId, DeclaredByNode])
    executions: dict[tuple[RunId, int, str], ModelExecution] = field(
        default_factory=dict[tuple[RunId, int, str], ModelExecution]
    )
    begun: set[tuple[RunId, int, str]] = field(default_factory=set[tuple[RunId, int, str]])

    @property
    def at(self) -> datetime:
        """The time by which lengths are measured."""
        return self.store.at

    @property
    def clock(self) -> datetime:
        """What the store's clock says: the time of slots."""
        return self.store.clock

    def begin_again(self, books: StoreModel | None = None) -> None:
        """The store was wiped, or set back to the state that these books describe."""
        self.store = StoreModel() if books is None else books.copy()
        self.begun.clear()

    def executing(self, key: TaskKey) -> list[ModelExecution]:
        return [one for one in self.executions.values() if one.task == key and one.ended is None]
