"""Claims runs, executes them, extends their claims and settles them.

Three ticks share one set of attempts. `claim` claims as many runs as there are free places. `beat` extends all claims
in one request. `settle` writes the outcomes since its last pass in one request. A worker never claims more than it can
start.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Literal, assert_never

from task_manager_core.application.attempt import Attempt, AttemptKey, Finished, Interruption, key_of
from task_manager_core.application.claim_scope import ClaimScope, WholeScope
from task_manager_core.application.context import RunContext
from task_manager_core.application.declarations import Declarations
from task_manager_core.application.executor import Executor
from task_manager_core.application.failure import ArgumentsRefused, WorkerLost, class_names, failure_of
from task_manager_core.application.function import Function
from task_manager_core.application.loop import first_of
from task_manager_core.application.remembering import Memory
from task_manager_core.application.settled_before import settled_before
from task_manager_core.application.unknown_runs import UnknownRuns
from task_manager_core.domain.backoff import Backoff, GiveUp, RetryAfter
from task_manager_core.domain.current_policy import CurrentWorkerPolicy
from task_manager_core.domain.errors import BackendError
from task_manager_core.domain.events import ClaimLost, RunReleased, RunSettled, RunStarted
from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.policy import BatchPolicy
from task_manager_core.domain.progress import ProgressReport
from task_manager_core.domain.run import (
    Cancelled,
    Claim,
    Exhausted,
    Expired,
    Outcome,
    Retried,
    Settlement,
    Succeeded,
)
from task_manager_core.ports import Clock, History, Observer, RunQueue

FEW_PLACES = 16
"""A worker with so few places claims for all of them at once."""


class Worker:
    """Laws: at most `concurrency` attempts execute; each ends in exactly one settlement, release, or lost claim."""

    def __init__(
        self,
        *,
        node: NodeId,
        queue: RunQueue,
        history: History,
        declarations: Declarations,
        policy: CurrentWorkerPolicy,
        batches: BatchPolicy,
        clock: Clock,
        observer: Observer,
        logger: logging.Logger,
        executor: Executor,
        state: object = None,
        scope: ClaimScope | None = None,
    ) -> None:
        self._node = node
        self._queue = queue
        self._history = history
        self._declarations = declarations
        self._policy = policy
        self._batches = batches
        self._clock = clock
        self._observer = observer
        self._logger = logger
        self._state = state
        self.overruns = executor.overruns
        self._executor = executor
        self._scope = scope or WholeScope()
        self._unknown_runs = UnknownRuns(policy.unknown_function_pause)
        self._active: dict[AttemptKey, Attempt] = {}
        self._newest: dict[str, Attempt] = {}
        """The last attempt of each run that executes, by the id of the run."""
        self._finished: list[Finished] = []
        self._claims_unsure = False
        self._drained = asyncio.Event()
        self._settled = asyncio.Event()
        self.accepting = True
        self.on_free: Callable[[], None] = lambda: None
        self.on_finished: Callable[[], None] = lambda: None

    @property
    def _claimed_at_once(self) -> int:
        """At most half of many places: these attempts execute while the store prepares the next claims."""
        return max(FEW_PLACES, -(-self._policy.concurrency // 2))

    @property
    def running(self) -> int:
        """How many attempts execute now."""
        return len(self._active)

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts that execute now. May be read in any thread."""
        return list(self._active.values())

    # -- claiming -----------------------------------------------------------------------------------------------------

    async def claim(self) -> float | None:
        """One tick: claim runs for the free places, and start them. A process that knows no function claims none."""
        if not self.accepting or not self._declarations.has_functions:
            return None
        free = self._policy.concurrency - len(self._active)
        if free <= 0 or len(self._finished) > 2 * self._batches.settlements:
            return None
        known = self.claims() if self._claims_unsure else None
        self._claims_unsure = True
        limit, scope = min(free, self._claimed_at_once), self._scope.current()
        claims = await self._queue.claim(self._node, limit, self._policy.wait, known, scope)
        if known is not None:
            claims = await self._alive(claims)
        self._claims_unsure = False
        await self._start(claims)
        return 0.0

    async def _alive(self, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
        """Of claims that the store gives again, those that are not over: the leader will reap the others. A claim that
        is over may be one whose attempt this worker has interrupted as lost."""
        if not claims:
            return ()
        extension = await self._queue.extend(claims, self._policy.claim_ttl)
        return tuple(claim for claim in claims if claim not in extension.lost)

    async def _start(self, claims: tuple[Claim, ...]) -> None:
        if not claims:
            return
        unknown: list[Claim] = []
        ended = {key_of(finished.settlement.claim) for finished in self._finished}
        for claim in claims:
            key = key_of(claim)
            if key in self._active or key in ended:
                continue  # A store that was set back gives a claim again: the attempt that executes keeps it.
            older = self._newest.get(claim.run.id.value)
            if older is not None:
                older.interrupt(Interruption.LOST)  # The store gave another claim on the run: the older one is over.
            function = self._declarations.function_of(claim.run)
            if self.accepting and claim.run.start_by is not None and claim.expired(self._clock.now()):
                self._expire(claim)  # No worker may start it now, whether it knows the function or not.
            elif not self.accepting or function is None:
                unknown.append(claim)
                self._scope.met(claim.run.task)
            elif not claim.run.retry.outlives(claim.losses):
                self._exhaust(claim)
            else:
                self._execute(claim, function)
        if unknown:
            await self._release_unstarted(unknown)

    async def _release_unstarted(self, claims: list[Claim]) -> None:
        """Release claims that were not started: another worker knows the function, or this worker stops."""
        if not self.accepting:
            await self._release(claims, timedelta(0), "shutting down")
            return
        now = self._clock.monotonic()
        passed_on = [claim for claim in claims if self._unknown_runs.pass_on(claim.run.id, now)]
        delayed = [claim for claim in claims if claim not in passed_on]
        if passed_on:
            await self._release(passed_on, timedelta(0), "unknown function")
        if delayed:
            delay = self._unknown_runs.delay(len(delayed), delayed[0].token, now)
            await self._release(delayed, delay, "unknown function")

    async def _release(self, claims: list[Claim], delay: timedelta, reason: str) -> None:
        try:
            lost = await self._queue.release(claims, delay, started=False)
        except BackendError:
            self._claims_unsure = True
            raise
        self._notice_released(claims, lost, reason)

    def _notice_released(self, claims: list[Claim], lost: frozenset[Claim], reason: str) -> None:
        for claim in claims:
            if claim in lost:
                self._observer.notice(ClaimLost(node=self._node, claim=claim))
            else:
                self._observer.notice(RunReleased(node=self._node, claim=claim, reason=reason))

    def _expire(self, claim: Claim) -> None:
        """End a run that came too late, without starting it."""
        self._finish(self._unstarted(claim, Expired()), None)

    def _exhaust(self, claim: Claim) -> None:
        """End a run whose attempts lost their worker too often: the run itself may be what ends the workers."""
        error = WorkerLost(f"{claim.losses} attempts lost their worker")
        self._finish(replace(self._unstarted(claim, Exhausted()), failure=failure_of(error)), error)

    def _unstarted(self, claim: Claim, outcome: Outcome) -> Settlement:
        return Settlement(claim=claim, outcome=outcome, started_at=self._clock.now(), duration=timedelta(0))

    # -- executing ----------------------------------------------------------------------------------------------------

    def _execute(self, claim: Claim, function: Function) -> None:
        attempt = Attempt(
            claim=claim,
            started_at=self._clock.now(),
            began=self._clock.monotonic(),
            context=None if function.context is None else self._context(claim),
        )
        self._active[attempt.key] = attempt
        self._newest[claim.run.id.value] = attempt
        self._observer.notice(RunStarted(node=self._node, claim=claim))
        attempt.task = asyncio.get_running_loop().create_task(self._executor.call(attempt, function))
        attempt.task.add_done_callback(functools.partial(self._ended, attempt))

    def _context(self, claim: Claim) -> RunContext:
        run = claim.run
        return RunContext.of(
            task=run.task,
            run_id=run.id.value,
            slot=run.slot,
            attempt=claim.attempt,
            fencing_token=claim.token,
            deadline=None if run.timeout is None else self._clock.now() + run.timeout,
            worker=self._node.value,
            logger=self._logger,
            state=self._state,
            memory=Memory(functools.partial(self._history.memory, run.task), asyncio.get_running_loop()),
        )

    def _ended(self, attempt: Attempt, task: asyncio.Task[BaseException | None]) -> None:
        """The attempt is over: prepare its settlement, unless its claim is over.

        The result or exception of an interrupted task means nothing: the task may have suppressed the interruption in
        the middle of its work, or failed because of it.
        """
        if attempt.interruption is None and task.cancelled() and task.cancelling() and not self.accepting:
            attempt.interruption = Interruption.STOPPING  # The event loop interrupted it: it is being closed.
        if attempt.interruption is Interruption.STOPPING or attempt.interruption is Interruption.RELEASED:
            return  # `release_running` releases its claim, or has released it.
        self._forget(attempt)
        try:
            self._conclude(attempt, attempt.interruption, task)
        finally:
            if not self._active:
                self._drained.set()
            self.on_free()

    def _forget(self, attempt: Attempt) -> None:
        """The attempt no longer executes here."""
        del self._active[attempt.key]
        if self._newest.get(attempt.claim.run.id.value) is attempt:
            del self._newest[attempt.claim.run.id.value]

    def _conclude(
        self,
        attempt: Attempt,
        reason: Literal[Interruption.LOST, Interruption.CANCELLED] | None,
        task: asyncio.Task[BaseException | None],
    ) -> None:
        match reason:
            case None:
                error = asyncio.CancelledError("the task cancelled itself") if task.cancelled() else task.result()
                outcome = Succeeded() if error is None else self._after_failure(attempt.claim, error)
                self._finish(self._settlement(attempt, outcome, error), error)
            case Interruption.CANCELLED:
                error = None if task.cancelled() else task.result()
                self._finish(self._settlement(attempt, Cancelled(), error), error)
            case Interruption.LOST:
                self._observer.notice(ClaimLost(node=self._node, claim=attempt.claim))
            case _:
                assert_never(reason)

    def _settlement(self, attempt: Attempt, outcome: Outcome, error: BaseException | None) -> Settlement:
        return Settlement(
            claim=attempt.claim,
            outcome=outcome,
            started_at=attempt.started_at,
            duration=timedelta(seconds=self._clock.monotonic() - attempt.began),
            failure=None if error is None else failure_of(error),
            result=attempt.result if isinstance(outcome, Succeeded) else None,
            remembered=attempt.remembered(self._clock.now()) if isinstance(outcome, Succeeded) else None,
            trace=attempt.trace,
        )

    def _after_failure(self, claim: Claim, error: BaseException) -> Outcome:
        if isinstance(error, ArgumentsRefused) or not claim.run.retry.retries(class_names(error)):
            return Exhausted()
        match Backoff(claim.run.retry).after(claim.failures + 1, claim.run.id):
            case RetryAfter(delay):
                return Retried(delay)
            case GiveUp():
                return Exhausted()

    def _finish(self, settlement: Settlement, error: BaseException | None) -> None:
        self._finished.append(Finished(settlement, error))
        self.on_finished()

    # -- settling -----------------------------------------------------------------------------------------------------

    async def settle(self) -> float | None:
        """One tick: write what has finished."""
        batch = self._finished[: self._batches.settlements]
        if not batch:
            return None
        repeated = [finished.settlement for finished in batch if finished.requested]
        for finished in batch:
            finished.requested = True  # before the request, which may fail or be cancelled at a stop
        lost = await self._queue.settle([finished.settlement for finished in batch])
        if lost and repeated:  # An earlier request may have ended these claims although its reply was lost.
            lost -= await settled_before(self._history, [one for one in repeated if one.claim in lost])
        del self._finished[: len(batch)]
        for finished in batch:
            settlement = finished.settlement
            if lost and settlement.claim in lost:
                self._observer.notice(ClaimLost(node=self._node, claim=settlement.claim))
            else:
                self._observer.notice(RunSettled(node=self._node, settlement=settlement, error=finished.error))
        if not self._finished:
            self._settled.set()
        self.on_free()
        return 0.0

    # -- keeping claims -----------------------------------------------------------------------------------------------

    async def beat(self) -> float | None:
        """One tick: extend every claim. The store answers which claims are over and which runs a caller has
        cancelled."""
        claims = self.claims()
        if claims:
            extension = await self._queue.extend(claims, self._policy.claim_ttl)
            self._interrupt(extension.lost, Interruption.LOST)
            self._interrupt(extension.cancelling, Interruption.CANCELLED)
            await self._report()
        return self._policy.heartbeat.total_seconds()

    async def _report(self) -> None:
        """Show the progress of the attempts that report it. The heartbeat counts, whether this succeeds or not."""
        told = [(attempt.claim, attempt.reported()) for attempt in self._active.values()]
        reports = [ProgressReport(claim=claim, progress=progress) for claim, progress in told if progress is not None]
        if reports:
            with suppress(BackendError):
                await self._queue.report(reports, self._policy.claim_ttl)

    def _interrupt(self, claims: Collection[Claim], reason: Interruption) -> None:
        # In their order: the order of a set differs between processes.
        for attempt in self.attempts if claims else ():
            if attempt.claim in claims:
                attempt.interrupt(reason)

    def claims(self) -> list[Claim]:
        """The claims that this worker has not settled. May be read in any thread."""
        active = [attempt.claim for attempt in self.attempts]
        return active + [finished.settlement.claim for finished in list(self._finished)]

    # -- stopping -----------------------------------------------------------------------------------------------------

    async def drain(self, force_stop: asyncio.Event, timeout: timedelta) -> None:
        """Wait until nothing executes, `force_stop` is set, or the timeout is over."""
        self._drained.clear()
        if not self._active:
            return
        await first_of(self._drained, force_stop, timeout=timeout.total_seconds())

    async def settled(self, within: float) -> None:
        """Wait until the loop of the settlements has written what has finished, at most for so many seconds."""
        self._settled.clear()
        if self._finished:
            await first_of(self._settled, timeout=within)

    def interrupt_all(self) -> None:
        """Interrupt what still executes. `release_running` then releases it."""
        for attempt in self.attempts:
            attempt.interrupt(Interruption.STOPPING)

    async def release_running(self, grace: float = 1.0) -> None:
        """Interrupt what still executes and release its claims: another worker may start the runs at once."""
        attempts = self.attempts
        self.interrupt_all()
        tasks = {attempt.task for attempt in attempts if attempt.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        left = [attempt for attempt in attempts if attempt.key in self._active]
        if left:
            claims = [attempt.claim for attempt in left]
            lost = await self._queue.release(claims, timedelta(0), started=True)
            for attempt in left:
                # Also an attempt that was interrupted for another reason before.
                attempt.interruption = Interruption.RELEASED
                self._forget(attempt)
            self._notice_released(claims, lost, "shutting down")

    async def flush(self) -> None:
        """Write the last settlements."""
        while self._finished:
            await self.settle()
