"""Mistakes about runs and claims."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from task_manager_core.domain.duties import DEFAULT_QUEUE
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.memory import Remembered, TaskMemory
from task_manager_core.domain.policy import Priority
from task_manager_core.domain.progress import ProgressReport
from task_manager_core.domain.run import Claim, Retried, Run, RunState, Settlement
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Cancelling, Enqueued, Extension
from task_manager_memory.run_queue import MemoryRunQueue
from task_manager_memory.state import RunEntry, State
from tests.testing.broken.making import BrokenStore, memory, round_trip

PAGE = 100
"""The number of items that the statement of the author takes."""

NOTHING = timedelta(0)


class _ExtendsAPage(MemoryRunQueue):
    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        beats = {claim: run_entry.heartbeat for claim in claims if (run_entry := self._state.holder(claim)) is not None}
        extension = await super().extend(claims, ttl)
        for claim in list(claims)[PAGE:]:
            if (run_entry := self._state.holder(claim)) is not None:
                run_entry.heartbeat = beats[claim]
        return extension


class _SettlesAPage(MemoryRunQueue):
    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        return await super().settle(settlements[:PAGE])


class _RecordsAPage(MemoryRunQueue):
    """The runs beyond the page end without a line."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        lost = await super().settle(settlements[:PAGE])
        for one in settlements[PAGE:]:
            if (run_entry := self._state.holder(one.claim)) is not None:
                self._state.end(run_entry)
        return lost


class _ReleasesAPage(MemoryRunQueue):
    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        return await super().release(list(claims)[:PAGE], delay, started=started)


class _EnqueuesAPage(MemoryRunQueue):
    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        answers = await super().enqueue(runs[:PAGE], asked, memory, delay)
        return answers if isinstance(answers, AskedOtherwise) else answers + (Enqueued.QUEUED,) * len(runs[PAGE:])


class _QueuesAtOnce(MemoryRunQueue):
    """The delay of a request is forgotten."""

    def _enqueue(self, run: Run, asked: str, memory: timedelta, delay: timedelta) -> Enqueued:
        answer = super()._enqueue(run, asked, memory, delay)
        if answer is Enqueued.WAITING:
            self._state.to_queue(self._state.waiting.pop(run.id))
        return answer


class _PromotesEverything(MemoryRunQueue):
    """A promotion does not tell the delay of a request from the backoff of a retry."""

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        for run_entry in self._state.waiting.values():
            run_entry.delayed = False
        return await super().promote(keys, spared)


class _CancelsAPage(MemoryRunQueue):
    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        answers = await super().cancel(runs[:PAGE])
        return answers + (Cancelling.CANCELLED,) * len(runs[PAGE:])


class _LimitBeforeFilter(MemoryRunQueue):
    """`reap` reads the oldest claims, and then checks which of them have expired."""

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        hidden = dict(list(self._state.claimed.items())[limit:])
        for run in hidden:
            del self._state.claimed[run]
        answer = await super().reap(term, ttl, limit)
        self._state.claimed.update(hidden)
        return answer


class _KnownByRun(MemoryRunQueue):
    """`claim` compares the known claims only by their run."""

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        if known is not None:
            runs = {claim.run.id for claim in known}
            known = [
                run_entry.claim()
                for run_entry in self._state.claimed.values()
                if run_entry.run.id in runs and run_entry.worker
            ]
        return await super().claim(worker, limit, wait, known, scope)


class _ServesEveryQueue(MemoryRunQueue):
    """`claim` does not compare the queue."""

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        return await super().claim(worker, limit, wait, known, Scope(None, scope.without))


class _ExcludesNothing(MemoryRunQueue):
    """`claim` does not compare the task."""

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        return await super().claim(worker, limit, wait, known, Scope(scope.queues))


class _LooksAtTheHead(MemoryRunQueue):
    """`claim` reads a page from the head of the queue, and leaves out what is excluded."""

    def _lane(self, priority: Priority, scope: Scope) -> Iterator[RunEntry]:
        page = list(super()._lane(priority, Scope(scope.queues)))[:100]
        return (one for one in page if one.run.task not in scope.without)


class _ExcludedGoToTheEnd(MemoryRunQueue):
    """`claim` puts the runs that it meets and excludes at the end of the queue."""

    def _lane(self, priority: Priority, scope: Scope) -> Iterator[RunEntry]:
        for one in list(super()._lane(priority, Scope(scope.queues))):
            if one.run.task in scope.without:
                self._state.take(one)
                self._state.to_queue(one)
        return super()._lane(priority, scope)


class _RetriesInTheDefaultQueue(MemoryRunQueue):
    """A retry is queued without its queue."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        lost = await super().settle(settlements)
        for run_entry in self._state.waiting.values():
            run_entry.run = replace(run_entry.run, queue=DEFAULT_QUEUE)
        return lost


class _TakesThenTells(MemoryRunQueue):
    """`claim` takes a run from the queue before it writes the claim."""

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        claims = await super().claim(worker, limit, wait, known, scope)
        if known is None and wait > NOTHING:
            run_entries = [self._state.claimed.pop(claim.run.id) for claim in claims]
            await round_trip()
            self._state.claimed.update({run_entry.run.id: run_entry for run_entry in run_entries})
        return claims


class _KeepsShortResults(MemoryRunQueue):
    """The column of the results has a length."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        cut = [
            replace(one, result=replace(one.result, json=one.result.json[:1000]))
            if one.result is not None and one.result.json is not None
            else one
            for one in settlements
        ]
        return await super().settle(cut)


class _KeepsResultsOfRefused(MemoryRunQueue):
    """The results have a table of their own, which is written before the claim is compared."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        lost = await super().settle(settlements)
        for one in settlements:
            records = self._state.entries[one.claim.run.task].records
            if one.claim in lost and records and records[0].run == one.claim.run.id:
                records[0] = replace(records[0], result=one.result)
        return lost


class _ReportsByRun(MemoryRunQueue):
    """`report` compares the run and not the token."""

    async def report(self, reports: Sequence[ProgressReport], ttl: timedelta) -> frozenset[Claim]:
        lost = await super().report(reports, ttl)
        for report in reports:
            if report.claim in lost and (run_entry := self._state.claimed.get(report.claim.run.id)) is not None:
                run_entry.progress = report.progress
        return lost


class _ReportsStay(State):
    """The report of the last attempt is shown until the next one reports."""

    def take(self, run_entry: RunEntry) -> None:
        before = run_entry.progress
        super().take(run_entry)
        run_entry.progress = before


class _RemembersTheLost(MemoryRunQueue):
    """The cursor is written before the claim is compared."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        for one in settlements:
            if one.remembered is not None and one.claim.run.task in self._state.entries:
                self._remember(one.claim.run.task, one.remembered)
        return await super().settle(settlements)


class _ForgetsTheCursor(MemoryRunQueue):
    """A success that sets no cursor deletes it."""

    def _remember(self, key: TaskKey, remembered: Remembered) -> None:
        self._state.entries[key].memory = TaskMemory(success=remembered.success, cursor=remembered.cursor)


class _FreesAtAnyEnd(State):
    """Every end of a run frees the next held run, also while other runs of the task live."""

    def end(self, run_entry: RunEntry) -> None:
        entry = self.entries.get(run_entry.run.task)
        self.take(run_entry)
        if entry is None:
            return
        entry.live.pop(run_entry.run.id, None)
        if entry.held:
            following = entry.held.popleft()
            entry.live[following.run.id] = following
            self.to_queue(following)


class _HeldUntilNoneLives(State):
    """A held run waits until no other run of its task lives, whatever its limit."""

    def end(self, run_entry: RunEntry) -> None:
        entry = self.entries.get(run_entry.run.task)
        if entry is None or run_entry.state is RunState.HELD or len(entry.live) <= 1:
            super().end(run_entry)
            return
        held, entry.held = entry.held, type(entry.held)()
        super().end(run_entry)
        entry.held = held


class _SettlesTwice(MemoryRunQueue):
    """A verb reads all claims of a batch first, and then writes all."""

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        held = [(one, self._state.holder(one.claim)) for one in settlements]
        lost = await super().settle(settlements)
        seen: set[Claim] = set()
        for one, run_entry in held:
            if run_entry is not None and one.claim in seen and one.claim.run.task in self._state.entries:
                self._state.entries[one.claim.run.task].records.appendleft(one.record())
                if isinstance(one.outcome, Retried):
                    run_entry.attempt, run_entry.failures = run_entry.attempt + 1, run_entry.failures + 1
            seen.add(one.claim)
        return lost


class _ReleasesTwice(MemoryRunQueue):
    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        held = [self._state.holder(claim) for claim in claims]
        lost = await super().release(claims, delay, started=started)
        twice = [run_entry for run_entry in held if run_entry is not None and held.count(run_entry) > 1]
        for run_entry in twice[1:]:
            run_entry.attempt += started
        return lost


class _EnqueuesTwice(MemoryRunQueue):
    """`enqueue` reads the requests of a whole batch, and then queues the batch."""

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        answers = await super().enqueue(runs, asked, memory, delay)
        if isinstance(answers, AskedOtherwise):
            return answers
        first = [Enqueued.DUPLICATE if answer is Enqueued.DUPLICATE else None for answer in answers]
        queued = {run.id for run, answer in zip(runs, answers, strict=True) if answer is Enqueued.QUEUED}
        return tuple(
            Enqueued.QUEUED if none is not None and run.id in queued else answer
            for run, answer, none in zip(runs, answers, first, strict=True)
        )


class _HastensTwice(MemoryRunQueue):
    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        left = [run for _, run in spared]
        waiting = [run_entry.run.task for run_entry in self._state.waiting.values() if run_entry.run.id not in left]
        await super().promote(keys, spared)
        return sum(waiting.count(key) for key in keys)


class _BackToTheLowLine(State):
    """A run is queued after its wait without its priority."""

    def promote(self):  # type: ignore[no-untyped-def]
        waiting = set(self.waiting)
        following = super().promote()
        for run in waiting - set(self.waiting):
            if (run_entry := self.queued.get((Priority.HIGH, DEFAULT_QUEUE), {}).pop(run, None)) is not None:
                self.queued.setdefault((Priority.LOW, DEFAULT_QUEUE), {})[run] = run_entry
        return following


class _RemembersAPage(MemoryRunQueue):
    """The store remembers only the newest requests, in a list of fixed length."""

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        answers = await super().enqueue(runs, asked, memory, delay)
        for entry in self._state.entries.values():
            while len(entry.requests) > PAGE:
                entry.requests.pop(next(iter(entry.requests)))
        return answers


class _RemembersForADay(MemoryRunQueue):
    """The store remembers every request for a day, also a request with a memory of minutes."""

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        return await super().enqueue(runs, asked, max(memory, REQUEST_MEMORY), delay)


class _ForgetsWhatWasAsked(MemoryRunQueue):
    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        return tuple(self._enqueue(run, asked, memory, delay) for run in runs)


class _RefusesRunByRun(MemoryRunQueue):
    """`enqueue` queues the other runs of a request that it refuses."""

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        answers = [await super(_RefusesRunByRun, self).enqueue([run], asked, memory, delay) for run in runs]
        others = [answer.runs for answer in answers if isinstance(answer, AskedOtherwise)]
        if others:
            return AskedOtherwise(frozenset().union(*others))
        return tuple(one for answer in answers if isinstance(answer, tuple) for one in answer)


class _RemembersRemovedTasks(MemoryRunQueue):
    """The store keeps requests by their run, without their task."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._ever: dict[RunId, tuple[datetime, str]] = {}

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        entries = self._state.entries
        for run in runs:
            if run.task in entries and run.id in self._ever:
                entries[run.task].requests.setdefault(run.id, self._ever[run.id])
        answers = await super().enqueue(runs, asked, memory, delay)
        for entry in entries.values():
            self._ever.update(entry.requests)
        return answers


class _WishesByRun(MemoryRunQueue):
    """Requested cancellations are in a set of run ids, from which no id is removed."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._wishes: set[RunId] = set()

    def _cancel(self, key: TaskKey, run: RunId) -> Cancelling:
        answer = super()._cancel(key, run)
        if answer is Cancelling.REQUESTED:
            self._wishes.add(run)
        return answer

    def _claim(self, worker: NodeId, limit: int, scope: Scope) -> tuple[Claim, ...]:
        claims = super()._claim(worker, limit, scope)
        for claim in claims:
            self._state.claimed[claim.run.id].cancelling |= claim.run.id in self._wishes
        return claims


class _LivesAtItsEnd(MemoryRunQueue):
    """A claim lives at the instant of its end."""

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        return await super().extend(claims, ttl + timedelta(milliseconds=1))


class _ReapsLate(MemoryRunQueue):
    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        return await super().reap(term, ttl + timedelta(milliseconds=1), limit)


class _ReadsThenBeats(MemoryRunQueue):
    """`extend` reads which claims live, and then writes their runs as running."""

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        held = {claim: run_entry for claim in claims if (run_entry := self._state.holder(claim)) is not None}
        extension = await super().extend(claims, ttl)
        await round_trip()
        for claim, run_entry in held.items():
            entry = self._state.entries.get(claim.run.task)
            if claim not in extension.lost and entry is not None and claim.run.id in entry.live:
                self._state.take(run_entry)
                run_entry.state, run_entry.worker, run_entry.token = RunState.RUNNING, claim.worker, claim.token
                run_entry.attempt, run_entry.failures, run_entry.losses = claim.attempt, claim.failures, claim.losses
                self._state.claimed[claim.run.id] = run_entry
        return extension


class _ReadsThenReaps(MemoryRunQueue):
    """`reap` reads which claims expired, and then queues their runs, although other verbs ran in between."""

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        expired = [
            run_entry for run_entry in self._state.claimed.values() if self._state.now() - run_entry.heartbeat >= ttl
        ][:limit]
        beats = {run_entry.run.id: run_entry.heartbeat for run_entry in expired}
        await round_trip()
        for run, beat in beats.items():
            if (run_entry := self._state.claimed.get(run)) is not None:
                run_entry.heartbeat = beat
        return await super().reap(term, ttl, limit)


class _ReadsThenEnqueues(MemoryRunQueue):
    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        entries = self._state.entries
        known = {run.id for run in runs if run.task in entries and run.id in entries[run.task].requests}
        await round_trip()
        for run in runs:
            if run.id not in known and (entry := entries.get(run.task)) is not None:
                entry.requests.pop(run.id, None)
                entry.live.pop(run.id, None)
        return await super().enqueue(runs, asked, memory, delay)


class _ReadsThenCancels(MemoryRunQueue):
    """`cancel` reads the place of the run, and then writes the request or the end."""

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        stood = [
            run_entry.state if (entry := self._state.entries.get(key)) and (run_entry := entry.run_entry(run)) else None
            for key, run in runs
        ]
        await round_trip()
        answers: list[Cancelling] = []
        for (key, run), state in zip(runs, stood, strict=True):
            entry = self._state.entries.get(key)
            run_entry = entry.run_entry(run) if entry else None
            if run_entry is not None and state is RunState.RUNNING:
                run_entry.cancelling = True
                answers.append(Cancelling.REQUESTED)
            else:
                answers.append(self._cancel(key, run))
        return tuple(answers)


class _JumpsTheLine(State):
    """A run that is queued again gets its earlier place."""

    def to_queue(self, run_entry: RunEntry) -> None:
        again = run_entry.token > 0
        super().to_queue(run_entry)
        if again:
            lane = run_entry.run.priority, run_entry.run.queue
            self.queued[lane] = {run_entry.run.id: run_entry, **self.queued[lane]}


class _FailureOfTheDead(MemoryRunQueue):
    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        answer = await super().reap(term, ttl, limit)
        for claim in () if isinstance(answer, Fenced) else answer:
            if (run_entry := self._state.entries[claim.run.task].live.get(claim.run.id)) is not None:
                run_entry.failures, run_entry.losses = claim.failures + 1, claim.losses
        return answer


BROKEN = (
    BrokenStore(
        mistake="claims beyond a page are not extended",
        law="backend 5",
        killed_by="test_every_item_of_a_large_batch_is_judged",
        open_harness=memory(queue=_ExtendsAPage),
    ),
    BrokenStore(
        mistake="settlements beyond a page are dropped",
        law="run_queue 3",
        killed_by="test_big_batches_keep_their_order",
        open_harness=memory(queue=_SettlesAPage),
    ),
    BrokenStore(
        mistake="settlements beyond a page leave no line",
        law="backend 5",
        killed_by="test_many_claims_are_settled_at_once",
        open_harness=memory(queue=_RecordsAPage),
    ),
    BrokenStore(
        mistake="releases beyond a page are dropped",
        law="backend 5",
        killed_by="test_every_item_of_a_large_batch_is_judged",
        open_harness=memory(queue=_ReleasesAPage),
    ),
    BrokenStore(
        mistake="requests beyond a page are dropped",
        law="run_queue 3",
        killed_by="test_big_batches_keep_their_order",
        open_harness=memory(queue=_EnqueuesAPage),
    ),
    BrokenStore(
        mistake="a delayed run is queued at once",
        law="run_queue 19",
        killed_by="test_a_delayed_run_is_claimed_from_its_instant_on",
        open_harness=memory(queue=_QueuesAtOnce),
    ),
    BrokenStore(
        mistake="a promotion ends the delay of a request",
        law="run_queue 19",
        killed_by="test_a_delayed_run_is_claimed_from_its_instant_on",
        open_harness=memory(queue=_PromotesEverything),
    ),
    BrokenStore(
        mistake="cancellations beyond a page are dropped",
        law="backend 5",
        killed_by="test_many_runs_are_reaped_and_cancelled_at_once",
        open_harness=memory(queue=_CancelsAPage),
    ),
    BrokenStore(
        mistake="living claims use up the limit of reaping",
        law="run_queue 9",
        killed_by="test_claims_that_live_take_no_place_of_those_that_expired",
        open_harness=memory(queue=_LimitBeforeFilter),
    ),
    BrokenStore(
        mistake="a known claim is compared by its run",
        law="run_queue 14",
        killed_by="test_a_worker_that_knows_an_older_claim_of_the_run_gets_the_new_one",
        open_harness=memory(queue=_KnownByRun),
    ),
    BrokenStore(
        mistake="a wait that is cancelled as its run arrives loses the run",
        law="run_queue 14",
        killed_by="test_a_claim_that_is_cancelled_as_its_run_arrives_loses_no_run",
        open_harness=memory(queue=_TakesThenTells),
    ),
    BrokenStore(
        mistake="every end of a run frees a held run",
        law="run_queue 2",
        killed_by="test_a_held_run_waits_for_every_other_one",
        open_harness=memory(state=_FreesAtAnyEnd),
    ),
    BrokenStore(
        mistake="a held run waits until no run lives",
        law="run_queue 2",
        killed_by="test_a_run_with_a_limit_waits_for_another_to_end",
        open_harness=memory(state=_HeldUntilNoneLives),
    ),
    BrokenStore(
        mistake="a claim settled twice in a batch counts twice",
        law="backend 5",
        killed_by="test_a_claim_that_a_batch_names_twice_is_released_once",
        open_harness=memory(queue=_SettlesTwice),
    ),
    BrokenStore(
        mistake="a claim released twice in a batch counts twice",
        law="backend 5",
        killed_by="test_a_claim_that_a_batch_names_twice_is_released_once",
        open_harness=memory(queue=_ReleasesTwice),
    ),
    BrokenStore(
        mistake="a request that a batch names twice is answered as queued twice",
        law="run_queue 1",
        killed_by="test_a_request_is_remembered",
        open_harness=memory(queue=_EnqueuesTwice),
    ),
    BrokenStore(
        mistake="a task that a call names twice is promoted twice",
        law="backend 5",
        killed_by="test_what_a_batch_names_twice_is_there_once",
        open_harness=memory(queue=_HastensTwice),
    ),
    BrokenStore(
        mistake="a retry comes back without its priority",
        law="run_queue 3",
        killed_by="test_a_run_that_waited_keeps_its_priority",
        open_harness=memory(state=_BackToTheLowLine),
    ),
    BrokenStore(
        mistake="a request is remembered for a day also with a shorter memory",
        law="run_queue 1",
        killed_by="test_each_request_is_remembered_for_as_long_as_it_says",
        open_harness=memory(queue=_RemembersForADay),
    ),
    BrokenStore(
        mistake="requests beyond a page are forgotten",
        law="backend 5",
        killed_by="test_many_requests_are_remembered",
        open_harness=memory(queue=_RemembersAPage),
    ),
    BrokenStore(
        mistake="a request that asks for something else is called a duplicate",
        law="run_queue 15",
        killed_by="test_a_request_that_asks_for_something_else_is_refused",
        open_harness=memory(queue=_ForgetsWhatWasAsked),
    ),
    BrokenStore(
        mistake="a refused request queues its other runs",
        law="run_queue 15",
        killed_by="test_a_request_that_asks_for_something_else_is_refused",
        open_harness=memory(queue=_RefusesRunByRun),
    ),
    BrokenStore(
        mistake="the memory of requests outlives its task",
        law="run_queue 1",
        killed_by="test_a_request_is_forgotten_with_its_task",
        open_harness=memory(queue=_RemembersRemovedTasks),
    ),
    BrokenStore(
        mistake="a requested cancellation outlives its run",
        law="run_queue 11",
        killed_by="test_a_requested_cancellation_ends_with_its_run",
        open_harness=memory(queue=_WishesByRun),
    ),
    BrokenStore(
        mistake="a claim lives at the instant of its end",
        law="run_queue 4",
        killed_by="test_a_claim_lives_while_it_is_extended",
        open_harness=memory(queue=_LivesAtItsEnd),
    ),
    BrokenStore(
        mistake="a claim is reaped a millisecond late",
        law="run_queue 9",
        killed_by="test_a_claim_is_reaped_at_the_end_of_its_time",
        open_harness=memory(queue=_ReapsLate),
    ),
    BrokenStore(
        mistake="a heartbeat reads and writes in two steps",
        law="run_queue 4",
        killed_by="test_a_heartbeat_revives_no_claim",
        open_harness=memory(queue=_ReadsThenBeats),
    ),
    BrokenStore(
        mistake="reaping reads and writes in two steps",
        law="run_queue 9",
        killed_by="test_a_claim_is_extended_or_reaped_but_not_both",
        open_harness=memory(queue=_ReadsThenReaps),
    ),
    BrokenStore(
        mistake="an enqueue reads the request before its step",
        law="run_queue 1",
        killed_by="test_of_many_equal_requests_one_is_queued",
        open_harness=memory(queue=_ReadsThenEnqueues),
    ),
    BrokenStore(
        mistake="a cancellation reads and writes in two steps",
        law="run_queue 13",
        killed_by="test_a_run_that_is_cancelled_while_it_is_released_ends",
        open_harness=memory(queue=_ReadsThenCancels),
    ),
    BrokenStore(
        mistake="a run that is queued again overtakes other runs",
        law="run_queue 3",
        killed_by="test_the_line_is_kept_across_retries_releases_and_reaping",
        open_harness=memory(state=_JumpsTheLine),
    ),
    BrokenStore(
        mistake="a claim does not compare the queue",
        law="run_queue 21",
        killed_by="test_a_claim_gives_what_is_in_its_scope",
        open_harness=memory(queue=_ServesEveryQueue),
    ),
    BrokenStore(
        mistake="a claim gives excluded runs",
        law="run_queue 21",
        killed_by="test_a_claim_gives_what_is_in_its_scope",
        open_harness=memory(queue=_ExcludesNothing),
    ),
    BrokenStore(
        mistake="excluded runs hide the runs behind them",
        law="run_queue 21",
        killed_by="test_many_excluded_runs_hide_no_other",
        open_harness=memory(queue=_LooksAtTheHead),
    ),
    BrokenStore(
        mistake="excluded runs go to the end of the queue",
        law="run_queue 21",
        killed_by="test_an_excluded_run_stays_before_later_runs",
        open_harness=memory(queue=_ExcludedGoToTheEnd),
    ),
    BrokenStore(
        mistake="a retry is queued without its queue",
        law="run_queue 22",
        killed_by="test_a_run_stays_in_its_queue",
        open_harness=memory(queue=_RetriesInTheDefaultQueue),
    ),
    BrokenStore(
        mistake="a lost worker counts as a failure",
        law="run_queue 9",
        killed_by="test_the_runs_of_dead_workers_are_queued_again",
        open_harness=memory(queue=_FailureOfTheDead),
    ),
    BrokenStore(
        mistake="a long result is cut",
        law="run_queue 17",
        killed_by="test_a_result_is_kept",
        open_harness=memory(queue=_KeepsShortResults),
    ),
    BrokenStore(
        mistake="the result of a refused settlement is kept",
        law="run_queue 17",
        killed_by="test_a_result_is_kept",
        open_harness=memory(queue=_KeepsResultsOfRefused),
    ),
    BrokenStore(
        mistake="a report compares only the run",
        law="run_queue 18",
        killed_by="test_a_report_is_shown_while_its_claim_holds_the_run",
        open_harness=memory(queue=_ReportsByRun),
    ),
    BrokenStore(
        mistake="a report outlives its claim",
        law="run_queue 18",
        killed_by="test_a_report_ends_with_its_claim",
        open_harness=memory(state=_ReportsStay),
    ),
    BrokenStore(
        mistake="a lost claim writes the cursor",
        law="run_queue 20",
        killed_by="test_a_success_is_remembered",
        open_harness=memory(queue=_RemembersTheLost),
    ),
    BrokenStore(
        mistake="a success without a cursor deletes it",
        law="run_queue 20",
        killed_by="test_a_success_is_remembered",
        open_harness=memory(queue=_ForgetsTheCursor),
    ),
)
