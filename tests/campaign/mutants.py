"""Known defects of schedulers. Each replaces one method, and has a plan that must expose it.

A simulation that does not expose one of these would not expose a real defect either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from unittest.mock import patch

from task_manager_core.application import claim_scope, control, elector, scheduler, worker
from task_manager_core.application.attempt import Attempt
from task_manager_core.application.callbacks import CallbackRunner
from task_manager_core.application.claim_scope import ClaimScope
from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.elector import Elector
from task_manager_core.application.executor import Executor
from task_manager_core.application.function import Function
from task_manager_core.application.keeper import Keeper
from task_manager_core.application.loop import Loop
from task_manager_core.application.node import Node
from task_manager_core.application.reconciler import Reconciler
from task_manager_core.application.registrar import Registrar
from task_manager_core.application.requested_runs import RequestedRuns, RunOptions
from task_manager_core.application.worker import Worker
from task_manager_core.domain import identity, planning
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.events import RunSettled
from task_manager_core.domain.identity import FunctionKey, NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import (
    Depose,
    Fenced,
    HeldByOther,
    LeadershipTransition,
    LeaderSign,
    Suspicion,
    Term,
)
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.observation import TaskView
from task_manager_core.domain.planning import DueTask, NextSlot, SlotDecision, next_slot_after
from task_manager_core.domain.policy import RetryPolicy
from task_manager_core.domain.progress import ProgressReport
from task_manager_core.domain.run import Claim, Outcome, Retried, Run, RunState, Settlement, Succeeded
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.domain.task import TaskDefinition, VersionedDefinition
from task_manager_core.ports import REQUEST_MEMORY, Changes, DefinitionWrite, Enqueued, Extension
from task_manager_core.testing.campaign.faults import Injection, InjectionKind, Point
from task_manager_core.testing.campaign.plan import Plan, TaskPlan
from task_manager_core.testing.cluster.clock import local_clock
from task_manager_core.testing.cluster.link import Side
from task_manager_core.testing.cluster.process import ENVIRONMENT
from task_manager_core.testing.cluster.run import sim_loop
from task_manager_memory.catalogue import MemoryCatalogue
from task_manager_memory.dispatch import MemoryDispatch
from task_manager_memory.leadership import MemoryLeadership
from task_manager_memory.run_queue import MemoryRunQueue
from task_manager_memory.state import RunEntry, State, TaskEntry

SHORT = timedelta(milliseconds=5)
SOON = timedelta(milliseconds=50)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def excluding_nothing() -> Generator[None]:
    """Workers meet the runs that they do not know."""
    with patch.object(claim_scope, "MOST_EXCLUDED", 0):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`defect` describes it. `replacement` replaces `owner.name`. With it, `plan` breaks the invariant `breaks`.

    Random plans do not find a defect without `random`: it takes a rare event at a rare moment. A defect with `extended`
    is hunted with extended plans. Without `excluding` the workers exclude no tasks, as if they knew too few of them.
    """

    defect: str
    owner: Any
    name: str
    replacement: Callable[[Any], Any]
    breaks: str
    plan: Plan
    random: bool = True
    extended: bool = False
    excluding: bool = True

    @contextmanager
    def switched_on(self) -> Generator[None]:
        before = vars(self.owner)[self.name]
        original = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.replacement(original))
        try:
            with excluding_nothing() if not self.excluding else nullcontext():
                yield
        finally:
            setattr(self.owner, self.name, before)

    @property
    def key(self) -> str:
        return self.defect.replace(" ", "-")


def at(operation: str, nth: int, kind: InjectionKind, *, after: bool = False, **more: Any) -> Injection:
    return Injection(kind=kind, at=Point(operation, nth, Side.AFTER if after else Side.BEFORE), **more)


def then(second: float, kind: InjectionKind, **more: Any) -> Injection:
    return Injection(kind=kind, at=second, **more)


def plan(*tasks: TaskPlan, faults: Sequence[Injection] = (), **more: Any) -> Plan:
    return Plan(tasks=tasks or (TaskPlan(every=2.0), TaskPlan(every=3.0)), faults=tuple(faults), **more)


# -- the schedule -----------------------------------------------------------------------------------------------------


def _publish_apart(_original: object) -> object:
    async def commit(self: MemoryDispatch, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        if not self._state.is_current_term(term):
            return Fenced()
        answers: list[bool] = []
        for decision in decisions:
            entry = self._state.entries.get(decision.key)
            before = entry.next_slot if entry else None
            answers.append(self._commit(decision))
            if entry and answers[-1]:
                following, entry.next_slot = entry.next_slot, before
                await asyncio.sleep(SHORT.total_seconds())
                entry.next_slot = following
        return tuple(answers)

    return commit


def _no_fence_on_dispatch(_original: object) -> object:
    async def commit(self: MemoryDispatch, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...]:
        return tuple(self._commit(decision) for decision in decisions)

    return commit


def _overlap_checked_outside(_original: object) -> object:
    def _commit(self: MemoryDispatch, decision: SlotDecision) -> bool:
        entry = self._state.entries.get(decision.key)
        if entry is None or entry.next_slot is None or entry.retired or entry.paused:
            return False
        if (entry.version, entry.next_slot.slot) != (decision.version, decision.slot):
            return False
        for run in decision.dispatch:
            place = entry.live[run.id] = RunEntry(run=run, state=RunState.QUEUED)
            self._state.to_queue(place)
        if decision.hold:
            entry.held.append(RunEntry(run=decision.hold, state=RunState.HELD))
        entry.skip(decision.skipped)
        entry.next_slot = decision.next_slot
        return True

    return _commit


def _pause_lapses(original: Any) -> object:
    async def pause(self: MemoryDispatch, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        found: frozenset[TaskKey] = await original(self, keys)

        async def lapse() -> None:
            await asyncio.sleep(4.0)
            for key in sorted(found):
                if key in self._state.entries:
                    self._state.entries[key].paused = False

        sim_loop().spawn(ENVIRONMENT, lapse())
        return found

    return pause


def _pause_replayed(_original: object) -> object:
    async def resume(self: MemoryDispatch, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        found = [self._state.entries[key] for key in keys if key in self._state.entries]
        for entry in found:
            entry.paused = False
        return frozenset(entry.task.key for entry in found)

    return resume


def _expired_claim_started(_original: object) -> object:
    async def _alive(self: Worker, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
        return claims

    return _alive


def _next_from_now(original: Any) -> object:
    def _due_slots(task: TaskDefinition, due: DueTask, now: datetime) -> tuple[list[object], NextSlot | None]:
        slots, _ = original(task, due, now)
        return slots[:1], next_slot_after(task, now)

    return _due_slots


def _decided_slots_forgotten(original: Any) -> object:
    def _commit(self: MemoryDispatch, decision: SlotDecision) -> bool:
        kept: bool = original(self, decision)
        if decision.key in self._state.entries:
            self._state.entries[decision.key].decided = None
        return kept

    return _commit


def _lengths_by_the_clock(_original: object) -> object:
    def steady(self: State) -> datetime:
        return self.now()

    return steady


# -- leadership -------------------------------------------------------------------------------------------------------


def _renew_by_get_and_set(_original: object) -> object:
    async def renew(self: MemoryLeadership, term: Term, ttl: timedelta) -> bool:
        if not self._state.is_current_term(term):
            return False
        await asyncio.sleep(SHORT.total_seconds())
        if self._state.steady() < self._state.lease_ends:
            self._state.term, self._state.lease_ends = term, self._state.steady() + ttl
        return True

    return renew


def _judged_by_client_clock(original: Any) -> object:
    async def observe(self: MemoryLeadership) -> LeaderSign:
        sign: LeaderSign = await original(self)
        return sign if local_clock.get().now() < self._state.lease_ends else replace(sign, term=None)

    return observe


def _half_a_grace(original: Any) -> object:
    def judge(suspicion: Suspicion | None, sign: LeaderSign, *, grace: timedelta, **times: float) -> object:
        return original(suspicion, sign, grace=grace / 2, **times)

    return judge


def _grace_by_the_clock_of_the_store(original: Any) -> object:
    def judge(suspicion: Suspicion | None, sign: LeaderSign, *, grace: timedelta, **times: float) -> object:
        if suspicion is not None and suspicion.first_due + grace <= sign.now:
            return Depose(sign)
        return original(suspicion, sign, grace=grace, **times)

    return judge


def _progress_ignored(_original: object) -> object:
    def about(self: Suspicion, sign: LeaderSign) -> bool:
        return (self.term, self.first_due) == (sign.term, sign.first_due)

    return about


def _deposed_whatever_happened(original: Any) -> object:
    async def depose(self: MemoryLeadership, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> object:
        return await original(self, candidate, ttl, replace(seen, progress=self._state.progress))

    return depose


def _token_taken_over(original: Any) -> object:
    def _grant(self: MemoryLeadership, candidate: NodeId, ttl: timedelta) -> Term:
        deposed = self._state.live_term()
        term: Term = original(self, candidate, ttl)
        if deposed is not None:
            self._state.term = term = Term(candidate, deposed.token)
        return term

    return _grant


def _resignation_ignored(_original: object) -> object:
    async def resign(self: MemoryLeadership, term: Term) -> bool:
        return self._state.is_current_term(term)

    return resign


def _token_reset(original: Any) -> object:
    async def campaign(self: MemoryLeadership, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        before = self._state.term
        answer: Term | HeldByOther = await original(self, candidate, ttl)
        if isinstance(answer, Term) and answer != before:
            answer = self._state.term = Term(candidate, before.token + 1 if before else 1)
        return answer

    return campaign


def _trust_from_reply(original: Any) -> object:
    def _begin(self: Elector, term: Term, asked_at: float, deposed: Term | None = None) -> None:
        original(self, term, self._clock.monotonic(), deposed)

    return _begin


def _local_pause_unnoticed(_original: object) -> object:
    def trusted(self: Elector) -> Term | None:
        return None if self._trusted_term is None else self._trusted_term.term

    return trusted


def _step_down_on_error(original: Any) -> object:
    async def tick(self: Elector) -> float | None:
        try:
            rest: float | None = await original(self)
        except BackendError:
            if self._trusted_term is not None:
                self._end(LeadershipTransition.LOST)
            raise
        return rest

    return tick


# -- attempts ---------------------------------------------------------------------------------------------------------


def _no_fence_on_reap(original: Any) -> object:
    async def reap(self: MemoryRunQueue, term: Term, ttl: timedelta, limit: int) -> Any:
        reigning, ends = self._state.term, self._state.lease_ends
        self._state.term, self._state.lease_ends = term, self._state.steady() + timedelta(seconds=1)
        try:
            return await original(self, term, ttl, limit)
        finally:
            self._state.term, self._state.lease_ends = reigning, ends

    return reap


def _idle_time(_original: object) -> object:
    async def extend(self: MemoryRunQueue, claims: Collection[Claim], ttl: timedelta) -> Extension:
        del ttl
        lost = frozenset(claim for claim in claims if self._state.holder(claim) is None)
        return Extension(lost, frozenset())

    return extend


def _revives(_original: object) -> object:
    async def extend(self: MemoryRunQueue, claims: Collection[Claim], ttl: timedelta) -> Extension:
        del ttl
        lost: set[Claim] = set()
        for claim in claims:
            place = self._state.holder(claim)
            if place is None:
                lost.add(claim)
            else:
                place.heartbeat = self._state.steady()
        return Extension(frozenset(lost), frozenset())

    return extend


def _mark_per_task(original: Any) -> object:
    def _settle(self: MemoryRunQueue, settlement: Settlement) -> bool:
        settled: bool = original(self, settlement)
        for place in self._state.claimed.values():
            if settled and place.run.task == settlement.claim.run.task:
                place.heartbeat = EPOCH
        return settled

    return _settle


def _settle_without_token(original: Any) -> object:
    def _settle(self: MemoryRunQueue, settlement: Settlement) -> bool:
        place = self._state.claimed.get(settlement.claim.run.id)
        if place is None:
            return False
        settled: bool = original(self, replace(settlement, claim=place.claim()))
        return settled

    return _settle


def _token_of_what_is_held(_original: object) -> object:
    def next_token(self: State) -> int:
        return 1 + max(place.token for entry in self.entries.values() for place in entry.live.values())

    return next_token


def _lost_without_attempt(original: Any) -> object:
    async def reap(self: MemoryRunQueue, term: Term, ttl: timedelta, limit: int) -> Any:
        answer = await original(self, term, ttl, limit)
        for claim in () if isinstance(answer, Fenced) else answer:
            place = self._state.entries[claim.run.task].live.get(claim.run.id)
            if place is not None:
                place.attempt -= 1
        return answer

    return reap


def _lost_is_a_failure(original: Any) -> object:
    async def reap(self: MemoryRunQueue, term: Term, ttl: timedelta, limit: int) -> Any:
        answer = await original(self, term, ttl, limit)
        for claim in () if isinstance(answer, Fenced) else answer:
            place = self._state.entries[claim.run.task].live.get(claim.run.id)
            if place is not None:
                place.failures, place.losses = place.failures + 1, place.losses - 1
        return answer

    return reap


def _losses_forgotten(original: Any) -> object:
    def to_waiting(self: State, place: RunEntry, due_at: datetime, *, retrying: bool) -> None:
        place.losses = 0
        original(self, place, due_at, retrying=retrying)

    return to_waiting


def _losses_unbounded(_original: object) -> object:
    def outlives(self: RetryPolicy, losses: int) -> bool:
        del self, losses
        return True

    return outlives


def _release_burns_retry(original: Any) -> object:
    async def release(
        self: MemoryRunQueue, claims: Collection[Claim], delay: timedelta, *, started: bool
    ) -> frozenset[Claim]:
        places = [place for claim in claims if (place := self._state.holder(claim)) is not None]
        lost: frozenset[Claim] = await original(self, claims, delay, started=started)
        for place in places:
            place.failures += 1
        return lost

    return release


def _forgets_lost_replies(original: Any) -> object:
    async def claim(
        self: MemoryRunQueue, worker: NodeId, limit: int, wait: timedelta, known: Any = None, scope: Any = EVERYTHING
    ) -> Any:
        del known
        return await original(self, worker, limit, wait, None, scope)

    return claim


def _statistics_decide(original: Any) -> object:
    async def settle(self: Worker) -> float | None:
        try:
            rest: float | None = await original(self)
        except BackendError:
            for finished in self._finished:
                if isinstance(finished.settlement.outcome, Succeeded):
                    finished.settlement = replace(finished.settlement, outcome=Retried(timedelta(seconds=1)))
            raise
        return rest

    return settle


def _every_queue(original: Any) -> object:
    def current(self: ClaimScope) -> Scope:
        return Scope(None, original(self).without)

    return current


def _every_service(_original: object) -> object:
    def _running_loops(self: Node) -> list[Loop]:
        return list(self._loops.values())

    return _running_loops


def _unknown_acknowledged(_original: object) -> object:
    async def _give_back(self: Worker, claims: list[Claim]) -> None:
        now = self._clock.now()
        await self._queue.settle(
            [Settlement(claim=claim, outcome=Succeeded(), started_at=now, duration=timedelta(0)) for claim in claims]
        )

    return _give_back


def _namesake_called(_original: object) -> object:
    def function_of(self: Declarations, run: Run) -> Function | None:
        return self.function(FunctionKey(run.task.group, run.function))

    return function_of


def _timeout_doubled(original: Any) -> object:
    async def _within(self: Executor, limit: float | None, work: object) -> None:
        await original(self, None if limit is None else 2 * limit, work)

    return _within


def _never_expires(_original: object) -> object:
    def expired(self: Claim, now: datetime) -> bool:
        del self, now
        return False

    return expired


def _started_runs_expire(_original: object) -> object:
    def expired(self: Claim, now: datetime) -> bool:
        return self.run.start_by is not None and now > self.run.start_by

    return expired


def _deadline_doubled(original: Any) -> object:
    def _start_by(self: TaskDefinition, opens_at: datetime) -> datetime | None:
        start_by: datetime | None = original(self, opens_at)
        return None if start_by is None or self.start_deadline is None else start_by + self.start_deadline

    return _start_by


# -- what an attempt leaves behind ------------------------------------------------------------------------------------


def _lost_claim_remembers(original: Any) -> object:
    def _settle(self: MemoryRunQueue, settlement: Settlement) -> bool:
        if settlement.remembered is not None and settlement.claim.run.task in self._state.entries:
            self._remember(settlement.claim.run.task, settlement.remembered)
        settled: bool = original(self, settlement)
        return settled

    return _settle


def _lost_claim_writes_its_line(original: Any) -> object:
    def _settle(self: MemoryRunQueue, settlement: Settlement) -> bool:
        settled: bool = original(self, settlement)
        if not settled and settlement.claim.run.task in self._state.entries:
            self._record(settlement.claim.run.task, settlement.record())
        return settled

    return _settle


def _failures_remember(original: Any) -> object:
    def _settlement(self: Worker, attempt: Attempt, outcome: Outcome, error: BaseException | None) -> Settlement:
        settlement: Settlement = original(self, attempt, outcome, error)
        return replace(settlement, remembered=attempt.remembered(self._clock.now()))

    return _settlement


def _memory_copied(original: Any) -> object:
    copies: dict[tuple[NodeId, TaskKey], TaskMemory] = {}

    def _context(self: Worker, claim: Claim) -> RunContext:
        context: RunContext = original(self, claim)
        read, place = context.cursor._read, (self._node, claim.run.task)

        async def read_once() -> TaskMemory:
            if place not in copies:
                copies[place] = await read()
            return copies[place]

        context.cursor._read = read_once
        return context

    return _context


def _progress_outlives_its_claim(_original: object) -> object:
    def take(self: State, run_entry: RunEntry) -> None:
        for line in (*self.queued.values(), self.claimed, self.waiting):
            line.pop(run_entry.run.id, None)

    return take


def _reports_without_token(_original: object) -> object:
    async def report(self: MemoryRunQueue, reports: Sequence[ProgressReport], ttl: timedelta) -> frozenset[Claim]:
        del ttl
        for one in reports:
            place = self._state.claimed.get(one.claim.run.id)
            if place is not None:
                place.progress = one.progress
        return frozenset(one.claim for one in reports if one.claim.run.id not in self._state.claimed)

    return report


def _told_before_it_is_settled(original: Any) -> object:
    def _finish(self: Worker, settlement: Settlement, error: BaseException | None) -> None:
        self._observer.notice(RunSettled(node=self._node, settlement=settlement, error=error))
        original(self, settlement, error)

    return _finish


def _lost_answers_count_as_accepted(_original: object) -> object:
    async def settled_before(_history: object, settlements: Iterable[Settlement]) -> frozenset[Claim]:
        return frozenset(one.claim for one in settlements)

    return settled_before


def _called_twice(original: Any) -> object:
    def _add(self: CallbackRunner, name: str, fields: dict[str, object], call: Callable[[], object]) -> None:
        for _ in range(2):
            original(self, name, fields, call)

    return _add


def _live_runs_do_not_count(_original: object) -> object:
    def _has_ended(self: MemoryCatalogue, key: TaskKey, version: int) -> bool:
        entry = self._state.entries.get(key)
        return entry is not None and entry.version == version and entry.next_slot is None

    return _has_ended


def _ended_tasks_stay(_original: object) -> object:
    async def _remove_ended(_self: Reconciler, _now: datetime) -> None:
        return None

    return _remove_ended


def _delay_dropped(original: Any) -> object:
    async def _with_options(
        self: RequestedRuns, stored: Sequence[VersionedDefinition], runs: Sequence[Run], options: RunOptions
    ) -> tuple[list[Run], timedelta]:
        runs, _ = await original(self, stored, runs, options)
        return list(runs), timedelta(0)

    return _with_options


def _slots_never_expire(_original: object) -> object:
    def _start_by(self: TaskDefinition, opens_at: datetime) -> datetime | None:
        return None if self.start_deadline is None else opens_at + self.start_deadline

    return _start_by


def _requests_never_expire(original: Any) -> object:
    async def _with_options(
        self: RequestedRuns, stored: Sequence[VersionedDefinition], runs: Sequence[Run], options: RunOptions
    ) -> tuple[list[Run], timedelta]:
        changed, delay = await original(self, stored, runs, options)
        return [replace(run, start_by=None) for run in changed], delay

    return _with_options


def _expiry_counts_without_the_delay(original: Any) -> object:
    async def _with_options(
        self: RequestedRuns, stored: Sequence[VersionedDefinition], runs: Sequence[Run], options: RunOptions
    ) -> tuple[list[Run], timedelta]:
        changed, _ = await original(self, stored, runs, replace(options, start=timedelta(0)))
        _, delay = await original(self, stored, runs, options)
        return list(changed), delay

    return _with_options


def _requests_ignore_the_limit(_original: object) -> object:
    def admits(self: TaskEntry, run: Run, count: int = 1) -> bool:
        del count
        return not run.exclusive or not (self.live or self.held)

    return admits


def _held_until_none_lives(original: Any) -> object:
    def end(self: State, place: RunEntry) -> None:
        entry = self.entries.get(place.run.task)
        if entry is None or len(entry.live) <= 1 or place.state is RunState.HELD:
            original(self, place)
            return
        held, entry.held = entry.held, type(entry.held)()
        original(self, place)
        entry.held = held

    return end


# -- places -----------------------------------------------------------------------------------------------------------


def _trims(original: Any) -> object:
    def to_queue(self: State, place: RunEntry) -> None:
        original(self, place)
        line = self.queued[place.run.priority, place.run.queue]
        while len(line) > 2:
            line.pop(next(iter(line)))

    return to_queue


def _retry_at_next_slot(original: Any) -> object:
    def to_waiting(self: State, place: RunEntry, due_at: datetime, *, retrying: bool) -> None:
        following = self.entries[place.run.task].next_slot
        original(self, place, following.due_at if retrying and following else due_at, retrying=retrying)

    return to_waiting


def _held_forgotten(_original: object) -> object:
    def end(self: State, place: RunEntry) -> None:
        self.take(place)
        entry = self.entries.get(place.run.task)
        if entry is not None:
            entry.live.pop(place.run.id, None)

    return end


def _underscores(_original: object) -> object:
    def _digest(kind: str, task: TaskKey, what: str) -> str:
        return f"{kind}_{task.group}_{task.name}_{what}"

    return _digest


def _random_run_id(_original: object) -> object:
    numbers = count()

    def of_slot(_cls: type[RunId], task: TaskKey, slot: datetime) -> RunId:
        return RunId(f"{task}{slot}{next(numbers)}")

    return classmethod(of_slot)


def _arguments_not_compared(_original: object) -> object:
    async def enqueue(
        self: MemoryRunQueue,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...]:
        return tuple(self._enqueue(run, asked, memory, delay) for run in runs)

    return enqueue


def _requests_outlive_their_task(original: Any) -> object:
    remembered: set[tuple[int, RunId]] = set()

    def _enqueue(self: MemoryRunQueue, run: Run, asked: str, memory: timedelta, delay: timedelta) -> Enqueued:
        if (id(self._state), run.id) in remembered and run.task in self._state.entries:
            return Enqueued.DUPLICATE
        answer: Enqueued = original(self, run, asked, memory, delay)
        if answer is not Enqueued.UNKNOWN_TASK:
            remembered.add((id(self._state), run.id))
        return answer

    return _enqueue


# -- definitions ------------------------------------------------------------------------------------------------------


def _known_to_one_node(_original: object) -> object:
    async def tick(self: Registrar) -> float | None:
        await self._announce()
        if self._definitions.version == 0:
            await self.refresh()
        if await self._write():
            await self.refresh()
        return self._policy.refresh_interval.total_seconds()

    return tick


def _removed_runs_stay(_original: object) -> object:
    async def remove(self: MemoryCatalogue, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        removed = frozenset(key for key in keys if key in self._state.entries)
        for key in sorted(removed):
            del self._state.entries[key]
            self._next_version(key)
        return removed

    return remove


def _removals_not_reported(original: Any) -> object:
    async def load(self: MemoryCatalogue, since: int) -> Any:
        changes = await original(self, since)
        return None if changes is None else replace(changes, removed=frozenset())

    return load


def _no_fence_on_retire(original: Any) -> object:
    async def retire(self: MemoryCatalogue, term: Term, keys: Collection[TaskKey]) -> Any:
        reigning, ends = self._state.term, self._state.lease_ends
        self._state.term, self._state.lease_ends = term, self._state.steady() + timedelta(seconds=1)
        try:
            return await original(self, term, keys)
        finally:
            self._state.term, self._state.lease_ends = reigning, ends

    return retire


def _change_dispatched_at_once(original: Any) -> object:
    async def changed_definition(
        schedule: object, stored: VersionedDefinition, task: TaskDefinition, view: TaskView | None, now: datetime
    ) -> DefinitionWrite:
        definition: DefinitionWrite = await original(schedule, stored, task, view, now)
        return (
            replace(definition, next_slot=NextSlot(slot=now + SOON, due_at=now + SOON))
            if definition.replan
            else definition
        )

    return changed_definition


def _versions_unchecked(original: Any) -> object:
    def _put(self: MemoryCatalogue, definition: DefinitionWrite) -> Any:
        entry: TaskEntry | None = self._state.entries.get(definition.definition.key)
        return original(self, replace(definition, expected=entry.version if entry else 0))

    return _put


def _delays_forgotten(original: Any) -> object:
    def _enqueue(self: MemoryRunQueue, run: Run, asked: str, memory: timedelta, delay: timedelta) -> Enqueued:
        answer: Enqueued = original(self, run, asked, memory, delay)
        if answer is Enqueued.WAITING:
            self._state.to_queue(self._state.waiting.pop(run.id))
        return answer

    return _enqueue


def _promotion_of_delayed_runs(original: Any) -> object:
    async def promote(
        self: MemoryRunQueue, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()
    ) -> int:
        for run_entry in self._state.waiting.values():
            run_entry.delayed = False
        count: int = await original(self, keys, spared)
        return count

    return promote


def _change_wakes_nothing(original: Any) -> object:
    def _learn(self: Registrar, changes: Changes) -> None:
        self.on_change = lambda: None
        original(self, changes)

    return _learn


def _definitions_read_when_notified(original: Any) -> object:
    async def tick(self: Registrar) -> float | None:
        await original(self)
        return None

    return tick


def _rest_until_due(_original: object) -> object:
    return timedelta(days=1)


LONG = TaskPlan(every=2.0, duration=5.0)
KEEPING = TaskPlan(every=6.0, duration=2.0, returns=True, cursor=True, progress=True, callbacks=True)
ONE = TaskPlan(every=4.0, duration=1.0, overlap="skip")

# -- a blocked event loop ---------------------------------------------------------------------------------------------


def _nothing_kept(_original: object) -> object:
    async def keep(self: Keeper, now: float) -> None:
        del self, now

    return keep


def _kept_for_ever(original: Any) -> object:
    async def keep(self: Keeper, now: float) -> None:
        self._asked_at = now - 1.0
        await original(self, now)

    return keep


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        defect="publish and next slot apart",
        owner=MemoryDispatch,
        name="commit",
        replacement=_publish_apart,
        breaks="I5",
        plan=plan(),
    ),
    Mutant(
        defect="renewal by GET then SET",
        owner=MemoryLeadership,
        name="renew",
        replacement=_renew_by_get_and_set,
        breaks="I3",
        plan=plan(faults=[at("renew", 3, InjectionKind.PAUSE, length=2.001)]),
    ),
    Mutant(
        defect="no fence on dispatch",
        owner=MemoryDispatch,
        name="commit",
        replacement=_no_fence_on_dispatch,
        breaks="I4",
        plan=plan(faults=[at("commit", 3, InjectionKind.PAUSE, length=5.0)]),
    ),
    Mutant(
        defect="delays of requests forgotten",
        random=False,
        owner=MemoryRunQueue,
        name="_enqueue",
        replacement=_delays_forgotten,
        breaks="I8",
        plan=plan(TaskPlan(every=8.0), faults=[then(3.0, InjectionKind.LATER, length=3.0)]),
    ),
    Mutant(
        defect="a promotion of delayed runs",
        random=False,
        owner=MemoryRunQueue,
        name="promote",
        replacement=_promotion_of_delayed_runs,
        breaks="I8",
        plan=plan(
            TaskPlan(every=8.0),
            faults=[then(3.0, InjectionKind.LATER, length=4.0), then(4.0, InjectionKind.RESET)],
        ),
    ),
    Mutant(
        defect="no fence on reap",
        owner=MemoryRunQueue,
        name="reap",
        replacement=_no_fence_on_reap,
        breaks="I4",
        plan=plan(
            TaskPlan(every=2.0, duration=3.0),
            faults=[then(5.5, InjectionKind.KILL, machine=1), at("reap", 3, InjectionKind.PAUSE, length=5.0)],
        ),
    ),
    Mutant(
        defect="requeue by idle time",
        owner=MemoryRunQueue,
        name="extend",
        replacement=_idle_time,
        breaks="I5",
        plan=plan(LONG),
    ),
    Mutant(
        defect="running mark per task",
        owner=MemoryRunQueue,
        name="_settle",
        replacement=_mark_per_task,
        breaks="I5",
        plan=plan(LONG),
    ),
    Mutant(
        defect="pause with a time to live",
        owner=MemoryDispatch,
        name="pause",
        replacement=_pause_lapses,
        breaks="I10",
        plan=plan(faults=[then(3.0, InjectionKind.DISABLE)]),
    ),
    Mutant(
        defect="pause is replayed",
        random=False,
        owner=MemoryDispatch,
        name="resume",
        replacement=_pause_replayed,
        breaks="I10",
        plan=plan(
            TaskPlan(every=2.0),
            faults=[
                then(3.0, InjectionKind.DISABLE, machine=1),
                then(4.5, InjectionKind.KILL),
                then(7.0, InjectionKind.ENABLE, machine=1),
            ],
        ),
    ),
    Mutant(
        defect="timeout doubled",
        owner=Executor,
        name="_within",
        replacement=_timeout_doubled,
        breaks="I7",
        plan=plan(TaskPlan(duration=3.0, timeout=2.0, max_retries=0)),
    ),
    Mutant(
        defect="late run started",
        owner=Claim,
        name="expired",
        replacement=_never_expires,
        breaks="I13",
        plan=plan(replace(ONE, overlap="buffer_one", duration=5.0, deadline=2.0)),
    ),
    Mutant(
        defect="retry expires",
        owner=Claim,
        name="expired",
        replacement=_started_runs_expire,
        breaks="I13",
        plan=plan(TaskPlan(every=6.0, failures=1, backoff=3.0, deadline=2.0)),
    ),
    Mutant(
        defect="start deadline doubled",
        owner=TaskDefinition,
        name="_start_by",
        replacement=_deadline_doubled,
        breaks="I13",
        plan=plan(replace(ONE, deadline=2.0)),
    ),
    Mutant(
        defect="expiry of slots forgotten",
        random=False,
        owner=TaskDefinition,
        name="_start_by",
        replacement=_slots_never_expire,
        breaks="I13",
        plan=plan(replace(ONE, overlap="buffer_one", duration=5.0, expires=2.0)),
    ),
    Mutant(
        defect="expiry of requests forgotten",
        random=False,
        owner=RequestedRuns,
        name="_with_options",
        replacement=_requests_never_expire,
        breaks="I13",
        plan=plan(TaskPlan(every=8.0, expires=2.0), faults=[then(3.0, InjectionKind.TRIGGER)]),
    ),
    Mutant(
        defect="expiry of delayed requests counts without the delay",
        random=False,
        owner=RequestedRuns,
        name="_with_options",
        replacement=_expiry_counts_without_the_delay,
        breaks="I13",
        plan=plan(TaskPlan(every=8.0, expires=4.0), faults=[then(3.0, InjectionKind.LATER, length=35.0)]),
    ),
    Mutant(
        defect="trim of live work",
        owner=State,
        name="to_queue",
        replacement=_trims,
        breaks="I8",
        plan=plan(LONG, LONG, LONG),
    ),
    Mutant(
        defect="dynamic task known to one node",
        owner=Registrar,
        name="tick",
        replacement=_known_to_one_node,
        breaks="L",
        plan=plan(TaskPlan(), TaskPlan(every=2.0, dynamic=True), duration=8.0),
    ),
    Mutant(
        defect="a change does not wake the scheduler",
        random=False,
        owner=Registrar,
        name="_learn",
        replacement=_change_wakes_nothing,
        breaks="L",
        plan=plan(TaskPlan(every=60.0), TaskPlan(every=1.0, dynamic=True), duration=8.0),
    ),
    Mutant(
        defect="definitions read only after a notification",
        random=False,
        owner=Registrar,
        name="tick",
        replacement=_definitions_read_when_notified,
        breaks="L",
        plan=plan(
            TaskPlan(every=60.0),
            TaskPlan(every=1.0, dynamic=True),
            faults=[then(1.0, InjectionKind.QUIET, machine=machine, length=20.0) for machine in range(3)],
            duration=12.0,
        ),
    ),
    Mutant(
        defect="the leader reads the agenda only when something is due",
        random=False,
        owner=scheduler,
        name="LONGEST_REST",
        replacement=_rest_until_due,
        breaks="L",
        plan=plan(TaskPlan(every=60.0), faults=[then(5.0, InjectionKind.SET_BACK, amount=-50.0)], duration=8.0),
    ),
    Mutant(
        defect="a worker claims from every queue",
        random=False,
        owner=ClaimScope,
        name="current",
        replacement=_every_queue,
        breaks="I11",
        plan=plan(TaskPlan(every=1.0, queue="mail"), duties=("", "execute@default", "schedule"), duration=8.0),
    ),
    Mutant(
        defect="a process leads without the role",
        random=False,
        owner=Node,
        name="_running_loops",
        replacement=_every_service,
        breaks="I11",
        plan=plan(duties=("execute", "schedule", "none"), duration=8.0),
    ),
    Mutant(
        defect="unknown task acknowledged",
        owner=Worker,
        name="_release_unstarted",
        replacement=_unknown_acknowledged,
        breaks="I7",
        # Workers that do not know a run meet it only if it may expire, and if they know another task.
        plan=plan(TaskPlan(every=1.0, duration=3.0, deadline=25.0, only=0), TaskPlan(every=8.0), duration=40.0),
    ),
    Mutant(
        defect="function of the same name called",
        owner=Declarations,
        name="function_of",
        replacement=_namesake_called,
        breaks="I11",
        plan=plan(*[TaskPlan(every=2.0)] * 4),
    ),
    Mutant(
        defect="names joined by underscores",
        owner=identity,
        name="_digest",
        replacement=_underscores,
        breaks="I12",
        plan=plan(TaskPlan(every=2.0), TaskPlan(every=2.0)),
    ),
    Mutant(
        defect="request id answers for other arguments",
        owner=MemoryRunQueue,
        name="enqueue",
        replacement=_arguments_not_compared,
        breaks="I12",
        plan=plan(TaskPlan(every=8.0), faults=[then(3.0, InjectionKind.TRIGGER, amount=1.0)]),
    ),
    Mutant(
        defect="requests outlive their removed task",
        owner=MemoryRunQueue,
        name="_enqueue",
        replacement=_requests_outlive_their_task,
        breaks="I12",
        plan=plan(
            TaskPlan(every=8.0, dynamic=True),
            faults=[
                then(3.0, InjectionKind.TRIGGER, amount=1.0),
                then(6.0, InjectionKind.REMOVE),
                then(9.0, InjectionKind.TRIGGER, amount=1.0),
                then(12.0, InjectionKind.ADD),
                then(15.0, InjectionKind.TRIGGER, amount=1.0),
            ],
        ),
        random=False,
    ),
    Mutant(
        defect="retry only at the next slot",
        owner=State,
        name="to_waiting",
        replacement=_retry_at_next_slot,
        breaks="I9",
        plan=plan(TaskPlan(every=6.0, failures=1)),
    ),
    Mutant(
        defect="settle without token",
        owner=MemoryRunQueue,
        name="_settle",
        replacement=_settle_without_token,
        breaks="I7",
        plan=plan(
            TaskPlan(every=6.0, duration=4.0),
            faults=[then(6.5 * nth, InjectionKind.PAUSE, machine=nth - 1, length=6.0) for nth in (1, 2, 3)],
        ),
    ),
    Mutant(
        defect="extend revives an expired claim",
        owner=MemoryRunQueue,
        name="extend",
        replacement=_revives,
        breaks="I5",
        plan=plan(
            TaskPlan(every=2.0, duration=5.0),
            faults=[then(9.05, InjectionKind.CUT, machine=machine, length=3.4) for machine in (1, 2)],
        ),
    ),
    Mutant(
        defect="next slot from now",
        owner=planning,
        name="_due_slots",
        replacement=_next_from_now,
        breaks="I2",
        plan=plan(faults=[then(4.5, InjectionKind.DOWN, length=6.0)]),
    ),
    Mutant(
        defect="overlap checked outside the step",
        owner=MemoryDispatch,
        name="_commit",
        replacement=_overlap_checked_outside,
        breaks="I6",
        plan=plan(ONE, faults=[at("commit", nth, InjectionKind.TRIGGER) for nth in (2, 3)]),
    ),
    Mutant(
        defect="expired claim started again",
        owner=Worker,
        name="_alive",
        replacement=_expired_claim_started,
        breaks="I5",
        plan=plan(TaskPlan(duration=10.0, overlap="skip"), faults=[then(4.2, InjectionKind.DOWN, length=4.0)]),
    ),
    Mutant(
        defect="token reset by a wipe",
        owner=MemoryLeadership,
        name="campaign",
        replacement=_token_reset,
        breaks="I3",
        plan=plan(faults=[then(5.0, InjectionKind.WIPE)]),
    ),
    Mutant(
        defect="lease judged by the client's clock",
        owner=MemoryLeadership,
        name="observe",
        replacement=_judged_by_client_clock,
        breaks="I3",
        plan=plan(faults=[then(3.0, InjectionKind.JUMP, machine=1, amount=60.0)]),
    ),
    Mutant(
        defect="half a grace",
        owner=elector,
        name="judge",
        replacement=_half_a_grace,
        breaks="I3",
        plan=plan(faults=[then(7.5, InjectionKind.KILL)]),
    ),
    Mutant(
        defect="grace by the clock of the store",
        owner=elector,
        name="judge",
        replacement=_grace_by_the_clock_of_the_store,
        breaks="I3",
        plan=plan(TaskPlan(every=10.0), faults=[then(5.6, InjectionKind.SET_BACK, amount=-30.0)]),
    ),
    Mutant(
        defect="a leader at work is suspected",
        owner=Suspicion,
        name="about",
        replacement=_progress_ignored,
        breaks="I3",
        plan=plan(TaskPlan(), faults=[at("commit", nth, InjectionKind.ERROR) for nth in range(2, 12)]),
        random=False,
    ),
    Mutant(
        defect="a leader that recovered is deposed",
        owner=MemoryLeadership,
        name="depose",
        replacement=_deposed_whatever_happened,
        breaks="I3",
        plan=plan(
            TaskPlan(every=2.0),
            faults=[
                then(5.9, InjectionKind.PAUSE, length=1.5),
                then(7.9, InjectionKind.PAUSE, length=2.0),
                *(at("depose", 1, InjectionKind.PAUSE, machine=machine, length=1.7) for machine in (1, 2)),
            ],
        ),
        random=False,
    ),
    Mutant(
        defect="a deposition keeps the token",
        owner=MemoryLeadership,
        name="_grant",
        replacement=_token_taken_over,
        breaks="I3",
        plan=plan(faults=[then(7.5, InjectionKind.KILL)]),
    ),
    Mutant(
        defect="resignation keeps the lease",
        owner=MemoryLeadership,
        name="resign",
        replacement=_resignation_ignored,
        breaks="I3",
        plan=plan(faults=[then(5.0, InjectionKind.STOP)]),
    ),
    Mutant(
        defect="trust counted from the reply",
        owner=Elector,
        name="_begin",
        replacement=_trust_from_reply,
        breaks="I4",
        plan=plan(
            *[TaskPlan(every=1.0, slot_jitter=1.0)] * 3,
            faults=[
                at("renew", 5, InjectionKind.PAUSE, after=True, length=0.9),
                *(at("renew", nth, InjectionKind.ERROR) for nth in range(6, 16)),
            ],
        ),
    ),
    Mutant(
        defect="local pause not noticed",
        owner=Elector,
        name="trusted",
        replacement=_local_pause_unnoticed,
        breaks="I4",
        plan=plan(
            *[TaskPlan(every=1.0, slot_jitter=1.0)] * 3,
            faults=[at("agenda", 10, InjectionKind.PAUSE, after=True, length=5.0)],
        ),
    ),
    Mutant(
        defect="step down on the first error",
        owner=Elector,
        name="tick",
        replacement=_step_down_on_error,
        breaks="I4",
        plan=plan(faults=[at("renew", 3, InjectionKind.ERROR)]),
    ),
    Mutant(
        defect="success recorded as failure",
        owner=Worker,
        name="settle",
        replacement=_statistics_decide,
        breaks="I7",
        plan=plan(faults=[at("settle", 1, InjectionKind.ERROR)]),
    ),
    Mutant(
        defect="lengths measured by the clock",
        owner=State,
        name="steady",
        replacement=_lengths_by_the_clock,
        breaks="I3",
        plan=plan(faults=[then(5.0, InjectionKind.KILL), then(5.5, InjectionKind.SET_BACK, amount=30.0)]),
    ),
    Mutant(
        defect="decided slots planned again by a clock that was set back",
        random=False,
        owner=MemoryDispatch,
        name="_commit",
        replacement=_decided_slots_forgotten,
        breaks="I1",
        plan=plan(
            TaskPlan(every=1.0),
            TaskPlan(every=2.0, dynamic=True),
            faults=[
                then(8.2, InjectionKind.SET_BACK, amount=5.0),
                *(then(second, InjectionKind.CHANGE, task=1) for second in (8.5, 9.0)),
            ],
        ),
    ),
    Mutant(
        defect="random run id",
        owner=RunId,
        name="of_slot",
        replacement=_random_run_id,
        breaks="I1",
        plan=plan(),
    ),
    Mutant(
        defect="token counted in what a failover loses",
        owner=State,
        name="next_token",
        replacement=_token_of_what_is_held,
        breaks="I5",
        plan=plan(LONG, faults=[then(4.3, InjectionKind.REWIND, length=1.5)]),
    ),
    Mutant(
        defect="lost reply of a claim forgotten",
        owner=MemoryRunQueue,
        name="claim",
        replacement=_forgets_lost_replies,
        breaks="I8",
        plan=plan(
            TaskPlan(every=1.0),
            faults=[
                at("claim", nth, InjectionKind.LOSE, machine=machine) for nth in (3, 5, 7) for machine in (0, 1, 2)
            ],
        ),
    ),
    Mutant(
        defect="lost attempt keeps its number",
        owner=MemoryRunQueue,
        name="reap",
        replacement=_lost_without_attempt,
        breaks="I8",
        plan=plan(LONG, faults=[then(6.0, InjectionKind.KILL, machine=machine, length=2.0) for machine in (0, 1)]),
    ),
    Mutant(
        defect="a lost worker is a failure",
        owner=MemoryRunQueue,
        name="reap",
        replacement=_lost_is_a_failure,
        breaks="I8",
        plan=plan(LONG, faults=[then(6.0, InjectionKind.KILL, machine=machine, length=2.0) for machine in (0, 1)]),
    ),
    Mutant(
        defect="losses forgotten by a retry",
        owner=State,
        name="to_waiting",
        replacement=_losses_forgotten,
        breaks="I8",
        plan=plan(
            replace(LONG, failures=2),
            faults=[then(6.0, InjectionKind.KILL, machine=machine, length=2.0) for machine in (0, 1)],
        ),
    ),
    Mutant(
        defect="losses without a bound",
        owner=RetryPolicy,
        name="outlives",
        replacement=_losses_unbounded,
        breaks="I9",
        plan=plan(
            replace(LONG, max_lost_attempts=0),
            faults=[then(6.0, InjectionKind.KILL, machine=machine, length=2.0) for machine in (0, 1)],
        ),
    ),
    Mutant(
        defect="a release burns a retry",
        owner=MemoryRunQueue,
        name="release",
        replacement=_release_burns_retry,
        breaks="I8",
        plan=plan(TaskPlan(duration=5.0), faults=[then(4.5, InjectionKind.STOP, length=5.0)]),
    ),
    Mutant(
        defect="max_instances ignored by requests",
        random=False,
        owner=TaskEntry,
        name="admits",
        replacement=_requests_ignore_the_limit,
        breaks="I6",
        plan=plan(
            TaskPlan(every=2.0, duration=5.0, instances=2),
            faults=[then(6.5, InjectionKind.TRIGGER), then(6.7, InjectionKind.TRIGGER)],
        ),
    ),
    Mutant(
        defect="a held run waits until no run lives",
        random=False,
        owner=State,
        name="end",
        replacement=_held_until_none_lives,
        breaks="I8",
        plan=plan(
            TaskPlan(every=2.0, duration=3.0, instances=2),
            faults=[then(6.5, InjectionKind.TRIGGER), then(6.7, InjectionKind.TRIGGER)],
        ),
    ),
    Mutant(
        defect="held run forgotten",
        owner=State,
        name="end",
        replacement=_held_forgotten,
        breaks="I8",
        plan=plan(TaskPlan(every=2.0, duration=3.0, overlap="buffer_one")),
    ),
    Mutant(
        defect="removal leaves runs behind",
        owner=MemoryCatalogue,
        name="remove",
        replacement=_removed_runs_stay,
        breaks="I5",
        plan=plan(
            LONG,
            LONG,
            TaskPlan(every=2.0, duration=5.0, dynamic=True),
            faults=[then(9.5, InjectionKind.REMOVE, task=2)],
        ),
    ),
    Mutant(
        defect="readers do not learn of removals",
        random=False,
        owner=MemoryCatalogue,
        name="load",
        replacement=_removals_not_reported,
        breaks="I11",
        plan=plan(
            LONG,
            LONG,
            TaskPlan(every=2.0, duration=5.0, dynamic=True),
            faults=[then(9.5, InjectionKind.REMOVE, task=2)],
        ),
    ),
    Mutant(
        defect="no fence on retirement",
        random=False,
        owner=MemoryCatalogue,
        name="retire",
        replacement=_no_fence_on_retire,
        breaks="I4",
        plan=plan(
            TaskPlan(),
            TaskPlan(every=2.0, only=2),
            faults=[then(1.0, InjectionKind.KILL, machine=2), at("retire", 1, InjectionKind.PAUSE, length=5.0)],
            duration=40.0,
        ),
    ),
    Mutant(
        defect="a change is dispatched at once",
        owner=control,
        name="changed_definition",
        replacement=_change_dispatched_at_once,
        breaks="I2",
        plan=plan(TaskPlan(), TaskPlan(dynamic=True), faults=[then(5.3, InjectionKind.CHANGE, task=1)]),
    ),
    Mutant(
        defect="definitions overwritten unseen",
        random=False,
        owner=MemoryCatalogue,
        name="_put",
        replacement=_versions_unchecked,
        breaks="I11",
        plan=plan(
            TaskPlan(),
            TaskPlan(dynamic=True),
            faults=[then(5.3, InjectionKind.CHANGE, task=1, machine=machine) for machine in (0, 1)],
        ),
    ),
    Mutant(
        defect="heartbeats come from the event loop",
        owner=Keeper,
        name="_keep",
        replacement=_nothing_kept,
        breaks="I14",
        plan=plan(
            TaskPlan(every=2.0, duration=5.0),
            faults=[then(3.5 * nth, InjectionKind.BLOCK, machine=nth % 3, length=4.4) for nth in range(1, 6)],
        ),
        random=False,
    ),
    Mutant(
        defect="claims of a blocked process kept for ever",
        owner=Keeper,
        name="_keep",
        replacement=_kept_for_ever,
        breaks="I14",
        plan=plan(
            TaskPlan(every=2.0, duration=5.0),
            faults=[then(5.0, InjectionKind.BLOCK, machine=machine, length=1000.0) for machine in (0, 1)],
        ),
        random=False,
    ),
    Mutant(
        defect="a lost claim writes its cursor",
        owner=MemoryRunQueue,
        name="_settle",
        replacement=_lost_claim_remembers,
        breaks="I15",
        plan=plan(KEEPING, faults=[at("settle", 1, InjectionKind.PAUSE, machine=nth, length=8.0) for nth in range(3)]),
        extended=True,
    ),
    Mutant(
        defect="a lost claim writes its result",
        owner=MemoryRunQueue,
        name="_settle",
        replacement=_lost_claim_writes_its_line,
        breaks="I15",
        plan=plan(KEEPING, faults=[at("settle", 1, InjectionKind.PAUSE, machine=nth, length=8.0) for nth in range(3)]),
        extended=True,
    ),
    Mutant(
        defect="a failed attempt keeps its cursor",
        owner=Worker,
        name="_settlement",
        replacement=_failures_remember,
        breaks="I15",
        plan=plan(replace(KEEPING, failures=1)),
        extended=True,
    ),
    Mutant(
        defect="a worker keeps a copy of the memory",
        owner=Worker,
        name="_context",
        replacement=_memory_copied,
        breaks="I16",
        plan=plan(KEEPING),
        extended=True,
    ),
    Mutant(
        defect="progress outlives its claim",
        owner=State,
        name="take",
        replacement=_progress_outlives_its_claim,
        breaks="I17",
        plan=plan(replace(KEEPING, failures=1)),
        extended=True,
    ),
    Mutant(
        defect="progress reported without token",
        owner=MemoryRunQueue,
        name="report",
        replacement=_reports_without_token,
        breaks="I17",
        plan=plan(
            replace(KEEPING, duration=5.0),
            faults=[at("report", 1, InjectionKind.PAUSE, machine=nth, length=8.0) for nth in range(3)],
        ),
        extended=True,
    ),
    Mutant(
        defect="outcome told before it is settled",
        owner=Worker,
        name="_finish",
        replacement=_told_before_it_is_settled,
        breaks="I18",
        plan=plan(KEEPING),
    ),
    Mutant(
        defect="a lost answer counts as accepted",
        owner=worker,
        name="settled_before",
        replacement=_lost_answers_count_as_accepted,
        breaks="I18",
        plan=plan(LONG, faults=[then(6.3, InjectionKind.MUTE, machine=nth, length=9.0) for nth in (1, 2)]),
    ),
    Mutant(
        defect="callbacks called twice",
        owner=CallbackRunner,
        name="_add",
        replacement=_called_twice,
        breaks="I18",
        plan=plan(KEEPING),
        extended=True,
    ),
    Mutant(
        defect="a one-off task removed under its last run",
        owner=MemoryCatalogue,
        name="_has_ended",
        replacement=_live_runs_do_not_count,
        breaks="I19",
        plan=plan(TaskPlan(), TaskPlan(dynamic=True, once=4.0, duration=12.0)),
        extended=True,
    ),
    Mutant(
        defect="one-off tasks stay",
        owner=Reconciler,
        name="_remove_ended",
        replacement=_ended_tasks_stay,
        breaks="I19",
        plan=plan(TaskPlan(), TaskPlan(dynamic=True, once=4.0)),
        extended=True,
    ),
    Mutant(
        defect="delay of a request dropped",
        owner=RequestedRuns,
        name="_with_options",
        replacement=_delay_dropped,
        breaks="I20",
        plan=plan(TaskPlan(every=8.0), faults=[then(3.0, InjectionKind.LATER, length=4.0)]),
        extended=True,
    ),
)
