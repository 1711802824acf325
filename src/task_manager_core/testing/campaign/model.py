"""The state that a store must be in after the operations so far, as the answers tell it. The store is never read.

A checker that asked the store would believe a store that lost something and all traces of it. `StoreModel` describes
one incarnation of the store. It can be copied: a store that is set back to an older state gets its older model back.
`ClusterModel` holds it, together with what no failover undoes: the tokens that were given out, and what was executed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from task_manager_core.domain.duties import Duties
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import LeadershipState, Term
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.planning import NextSlot, Skipped
from task_manager_core.domain.progress import Progress
from task_manager_core.domain.run import (
    TERMINAL,
    TRANSITIONS,
    Claim,
    Outcome,
    Run,
    RunState,
    RunTransition,
    Settlement,
)
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.campaign.violation import Violation

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class RunModel:
    """A live run as it must be in the store. `claim` is set while the run is running; `heartbeat` is the last one.
    `progress` is the last accepted report of that claim, at `reported_at`."""

    run: Run
    state: RunState
    attempt: int = 1
    failures: int = 0
    losses: int = 0
    claim: Claim | None = None
    heartbeat: datetime = LONG_AGO
    due_at: datetime | None = None
    retrying: bool = False
    delayed: bool = False
    cancelling: bool = False
    progress: Progress | None = None
    reported_at: datetime = LONG_AGO

    def holds(self, claim: Claim) -> bool:
        """Is this the claim that holds the run?"""
        held = self.claim
        return held is not None and (held.token, held.worker) == (claim.token, claim.worker)

    def claimable(self, at: datetime) -> bool:
        return self.state is RunState.QUEUED or self.is_due(at)

    def is_due(self, at: datetime) -> bool:
        """Is the run waiting, and is its wait over?"""
        return self.state is RunState.WAITING and self.due_at is not None and self.due_at <= at

    def move(self, transition: RunTransition, due_at: datetime | None = None) -> None:
        """Change the state as the table of `domain.run` says. `due_at` is the end of a wait."""
        following = TRANSITIONS.get((self.state, transition))
        if following is None:
            raise Violation("I8", f"{self.run.task} {self.run.id} is {self.state.value} and was {transition.value}")
        self.state, self.claim, self.due_at, self.progress = following, None, due_at, None
        self.retrying, self.delayed = transition is RunTransition.RETRIED, False


@dataclass(slots=True, kw_only=True)
class TaskModel:
    """A task as it must be in the store. `decided` has what was decided about each slot: "dispatched", or the reason of
    a skip. `requests` has the text of the request of each remembered run. `memory` is what the accepted settlements
    have left."""

    definition: TaskDefinition
    version: int
    next_slot: NextSlot | None
    paused: bool = False
    resumed_at: datetime | None = None
    retired: bool = False
    live: dict[RunId, RunModel] = field(default_factory=dict[RunId, RunModel])
    held: list[RunModel] = field(default_factory=list[RunModel])
    decided: dict[datetime, str] = field(default_factory=dict[datetime, str])
    requests: dict[RunId, str] = field(default_factory=dict[RunId, str])
    memory: TaskMemory = TaskMemory()

    @property
    def is_over(self) -> bool:
        """True if no slot is to come and no run lives."""
        return self.next_slot is None and not self.live and not self.held

    def due_at(self, slot: datetime | None) -> datetime:
        """The first instant at which a slot may be dispatched: as it was planned, or as the schedule says."""
        assert slot is not None
        if self.next_slot is not None and self.next_slot.slot == slot:
            return self.next_slot.due_at
        return self.definition.schedule.due_at(self.definition.key, slot)

    def copy(self) -> TaskModel:
        return replace(
            self,
            live={run_id: replace(run) for run_id, run in self.live.items()},
            held=[replace(run) for run in self.held],
            decided=dict(self.decided),
            requests=dict(self.requests),
        )


def slots_of(task: TaskModel, skipped: Collection[Skipped]) -> dict[datetime, str]:
    """The slots that these skips cover, each with the reason. The schedule tells which slots lie between two."""
    found: dict[datetime, str] = {}
    for skip in skipped:
        slot: datetime | None = skip.first
        for _ in range(skip.count):
            if slot is None or slot > skip.last:
                break
            found[slot] = skip.reason.value
            slot = task.definition.schedule.next_after(slot)
    return found


@dataclass(slots=True)
class StoreModel:
    """One incarnation of the store. Durations are measured by `at`. `clock` is what the clock of the store shows, which
    can be set back. `leases` has the end of every lease. `progress` counts the signs of life of the scheduler of the
    leader; the last one, or the grant, was at `progressed_at`. The clock was last set at `clock_set_at`.
    """

    at: datetime = LONG_AGO
    clock: datetime = LONG_AGO
    version: int = 0
    term: Term | None = None
    lease_ends: datetime = LONG_AGO
    tasks: dict[TaskKey, TaskModel] = field(default_factory=dict[TaskKey, TaskModel])
    ended: dict[RunId, str] = field(default_factory=dict[RunId, str])
    leases: dict[Term, datetime] = field(default_factory=dict[Term, datetime])
    progress: int = 0
    progressed_at: datetime = LONG_AGO
    clock_set_at: datetime = LONG_AGO

    def copy(self) -> StoreModel:
        tasks = {key: task.copy() for key, task in self.tasks.items()}
        return replace(self, tasks=tasks, ended=dict(self.ended), leases={})

    def grant(self, term: Term, ends: datetime) -> None:
        """This term leads, until its lease ends."""
        self.term, self.lease_ends = term, ends
        self.leases[term] = ends

    def advance(self) -> None:
        """The scheduler of the leader gives a sign of life."""
        self.progress, self.progressed_at = self.progress + 1, self.at

    def first_due(self) -> datetime | None:
        """The earliest due instant of the tasks that are not retired."""
        planned = [task.next_slot for task in self.tasks.values() if not task.retired]
        return min((next_slot.due_at for next_slot in planned if next_slot is not None), default=None)

    def is_due(self) -> bool:
        first = self.first_due()
        return first is not None and first <= self.clock

    def idle_since(self) -> datetime | None:
        """Since when the leader has done nothing about a due slot; None if no slot is due."""
        first = self.first_due()
        if first is None or first > self.clock:
            return None
        return max(self.at - (self.clock - first), self.progressed_at, self.clock_set_at)

    def live_term(self) -> Term | None:
        return self.term if self.term is not None and self.at < self.lease_ends else None

    def run_of(self, key: TaskKey, run_id: RunId) -> RunModel | None:
        """A live run of this task."""
        task = self.tasks.get(key)
        if task is None:
            return None
        found = task.live.get(run_id)
        return found or next((run for run in task.held if run.run.id == run_id), None)

    def held_by(self, claim: Claim) -> RunModel | None:
        """The run that this claim still holds."""
        run = self.run_of(claim.run.task, claim.run.id)
        return run if run is not None and run.holds(claim) else None

    def asked(self, run: Run) -> str | None:
        """The text of the request for this run, if its task remembers it."""
        task = self.tasks.get(run.task)
        return None if task is None else task.requests.get(run.id)

    def runs(self) -> Iterator[RunModel]:
        """Every live run, also the held ones."""
        for task in self.tasks.values():
            yield from task.live.values()
            yield from task.held

    def move(self, run: RunModel, transition: RunTransition, due_at: datetime | None = None) -> None:
        """Change the state of a run. When the run has ended, the next held one of its task is freed."""
        run.move(transition, due_at)
        if run.state in TERMINAL:
            self._end(run)

    def _end(self, run: RunModel) -> None:
        self.ended[run.run.id] = run.state.value
        task = self.tasks.get(run.run.task)
        if task is None:
            return
        if run in task.held:
            task.held.remove(run)
        task.live.pop(run.run.id, None)
        if task.held and len(task.live) < (task.held[0].run.live_limit or 1):
            freed = task.held.pop(0)
            freed.move(RunTransition.FREED)
            task.live[freed.run.id] = freed


@dataclass(slots=True, kw_only=True)
class ModelExecution:
    """A call of a user's function. `ended` is None while it executes; then "returned", "raised", "cancelled" or "died".
    `took` is how long it waited for time until it returned. `result` is the JSON that it returned, and `cursor` the one
    that it has set; None if that is not known. `answers_before` counts the answers about the memory of its task that
    its process had when it began to read the cursor. `limit` is that of the live runs of the task."""

    node: str
    task: TaskKey
    run: RunId
    attempt: int
    token: int
    limit: int | None
    ended: str | None = None
    took: timedelta = timedelta()
    result: str | None = None
    cursor: str | None = None
    answers_before: int = 0


@dataclass(frozen=True, slots=True)
class Conclusion:
    """An attempt on a node, and the kind of its outcome."""

    node: str
    run: RunId
    token: int
    outcome: type[Outcome]

    @classmethod
    def of(cls, settlement: Settlement) -> Conclusion:
        claim = settlement.claim
        return cls(claim.worker.value, claim.run.id, claim.token, type(settlement.outcome))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredByNode:
    """What a process can execute: runs of the static tasks that it declares, and runs of dynamic tasks by function."""

    tasks: frozenset[TaskKey]
    functions: frozenset[FunctionKey]

    def covers(self, run: Run) -> bool:
        return FunctionKey(run.task.group, run.function) in self.functions if run.dynamic else run.task in self.tasks


@dataclass(slots=True, kw_only=True)
class ClusterModel:
    """The present incarnation of the store, and what outlives it.

    - `claim_ttl`, `grace` and `block_limit` are the same for every node; `node` is the process whose operation is
      judged.
    - `blocked` has the processes whose event loop a function blocks, and since when. `is_calm`: no other fault happens.
    - `looks` has, for each node, the live term and its progress at the last look of this node.
    - `waits` has, for each node, what its last looks showed without a change, and since when it may count a grace. This
      is not set back with the store's clock.
    - `started` has the attempts that were started since their claim was given. A store that was set back forgets what
      became of them, and so does this set.
    - `tokens` has the greatest token that was ever given for a run.
    - `states_at` has, for each version that a reader has learnt, the version of every task and whether it was retired.
    - `meanings` has the task and the slot that each run id was used for.
    - `accepted` counts the accepted settlements, `told` the events about them, and `called` the callbacks. A store that
      was set back may accept a settlement twice.
    - `answers` has the cursors that the store has answered to each node, by the task.
    - `earliest` has the instant before which a run must not start, because a person has asked for a delay.
    - `own_expiries` has the runs whose requests named an expiry.
    """

    claim_ttl: timedelta
    grace: timedelta = timedelta(0)
    block_limit: timedelta = timedelta(0)
    node: str = ""
    is_calm: bool = False
    blocked: dict[str, datetime] = field(default_factory=dict[str, datetime])
    store: StoreModel = field(default_factory=StoreModel)
    looks: dict[str, tuple[Term | None, int]] = field(default_factory=dict[str, tuple[Term | None, int]])
    waits: dict[str, tuple[object, datetime]] = field(default_factory=dict[str, tuple[object, datetime]])
    greatest_token: int = 0
    greatest_version: int = 0
    states_at: dict[int, dict[TaskKey, tuple[int, bool]]] = field(
        default_factory=dict[int, dict[TaskKey, tuple[int, bool]]]
    )
    tokens: dict[RunId, int] = field(default_factory=dict[RunId, int])
    meanings: dict[RunId, tuple[TaskKey, datetime | None]] = field(
        default_factory=dict[RunId, tuple[TaskKey, datetime | None]]
    )
    leadership: dict[NodeId, LeadershipState] = field(default_factory=dict[NodeId, LeadershipState])
    declared: dict[NodeId, DeclaredByNode] = field(default_factory=dict[NodeId, DeclaredByNode])
    duties: dict[NodeId, Duties] = field(default_factory=dict[NodeId, Duties])
    executions: dict[tuple[RunId, int, str], ModelExecution] = field(
        default_factory=dict[tuple[RunId, int, str], ModelExecution]
    )
    started: set[tuple[RunId, int, str]] = field(default_factory=set[tuple[RunId, int, str]])
    accepted: Counter[Conclusion] = field(default_factory=Counter[Conclusion])
    told: Counter[Conclusion] = field(default_factory=Counter[Conclusion])
    called: Counter[Conclusion] = field(default_factory=Counter[Conclusion])
    answers: dict[tuple[str, TaskKey], list[str | None]] = field(
        default_factory=dict[tuple[str, TaskKey], list[str | None]]
    )
    earliest: dict[RunId, datetime] = field(default_factory=dict[RunId, datetime])
    own_expiries: set[RunId] = field(default_factory=set[RunId])

    @property
    def at(self) -> datetime:
        """The time by which durations are measured."""
        return self.store.at

    @property
    def clock(self) -> datetime:
        """What the clock of the store shows: the time of slots."""
        return self.store.clock

    def replace_store(self, store: StoreModel | None = None) -> None:
        """The store was set back to the state that this model describes, or was wiped."""
        self.store = StoreModel() if store is None else store.copy()
        self.started.clear()
        self.looks.clear()
        self.waits.clear()

    def executing(self, key: TaskKey) -> list[ModelExecution]:
        return [one for one in self.executions.values() if one.task == key and one.ended is None]
