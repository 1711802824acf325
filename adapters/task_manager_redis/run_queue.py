"""The run queue in Redis: streams of queued runs, and the claims.

Each queue has two streams, one for each priority. A queued run is an item of a stream. A claim deletes the item, gives
the attempt its fencing token, and has its heartbeat in a sorted set. A run that goes back to the queue gets a new item.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta
from itertools import groupby
from typing import NamedTuple

from task_manager_core.domain.errors import BackendCorrupt, BackendUnavailable
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.progress import ProgressReport
from task_manager_core.domain.run import Claim, Retried, Run, Settlement
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Cancelling, Enqueued, Extension, RunQueue
from task_manager_core.ports.codec import decode_run
from task_manager_redis.batches import (
    BYTES_PER_SCRIPT,
    RUNS_PER_SCRIPT,
    TASKS_PER_SCRIPT,
    batches,
    encoded_batches,
)
from task_manager_redis.catalogue import task_argument
from task_manager_redis.client import RedisClient
from task_manager_redis.driver import Argument
from task_manager_redis.keys import decode, encode, encode_queue, encode_run_id, encode_task, for_display
from task_manager_redis.promotion_timer import RECHECK_INTERVAL, PromotionTimer
from task_manager_redis.replies import Reply, items, member, number, numbers, row, text, texts, unexpected
from task_manager_redis.run_arguments import (
    cancellation_arguments,
    claim_arguments,
    milliseconds_up,
    remembered_arguments,
    report_arguments,
    run_arguments,
    settlement_arguments,
    size_of_claim,
    size_of_report,
)
from task_manager_redis.scripts import script
from task_manager_redis.sweeping import sweep
from task_manager_redis.unreadable import UnreadableValues
from task_manager_redis.wake_ups import WakeUps

_MILLISECOND = timedelta(milliseconds=1)
_NOTHING = timedelta(0)
_UNREADABLE_PAUSE = timedelta(seconds=5)

PASSES_SECONDS = 5.0
"""So long a worker leaves the wake-ups for runs that are set aside to others, after it has met such runs."""

PROMOTED_PER_SCRIPT = 200
"""The promotion of one run takes about ten commands."""

# The limits of one step of a repair: the server needs some milliseconds for it.
_TASKS_PER_REPAIR = 500
_RUNS_PER_REPAIR = 500

_ENQUEUE = script("enqueue")
_CLAIM = script("claim")
_EXTEND = script("extend")
_REPORT = script("report")
_REMEMBER = script("remember")
_SETTLE = script("settle")
_RELEASE = script("release")
_REAP = script("reap")
_REPAIR = script("repair")
_CANCEL = script("cancel")
_PROMOTE = script("promote")


class _Attempt(NamedTuple):
    """A claim as the scripts answer it. Its run is still a text."""

    worker: NodeId
    token: int
    attempt: int
    failures: int
    losses: int
    task: str
    run: str
    body: str

    @classmethod
    def of(cls, worker: NodeId, counts: Reply, task: Reply, run: Reply, body: Reply) -> _Attempt:
        if isinstance(counts, str) and isinstance(task, str) and isinstance(run, str) and isinstance(body, str):
            try:  # A newer release may have added words at the end.
                token, attempt, failures, losses = map(int, counts.split(" ", 4)[:4])
            except ValueError:
                raise unexpected(counts, "the counts of a claim") from None
            return cls(worker, token, attempt, failures, losses, task, run, body)
        raise unexpected((counts, task, run, body), "a claim")

    def claim(self) -> Claim:
        """The claim with its run. Raises: BackendCorrupt, if the text cannot be read."""
        return Claim(
            run=decode_run(self.body),
            attempt=self.attempt,
            failures=self.failures,
            losses=self.losses,
            token=self.token,
            worker=self.worker,
        )

    def size(self) -> int:
        return len(self.body)

    def arguments(self) -> tuple[Argument, ...]:
        return encode(self.worker.value), self.token, self.task, self.run


class RedisRunQueue(RunQueue):
    def __init__(self, client: RedisClient, timer: PromotionTimer, unreadable: UnreadableValues) -> None:
        self._client = client
        self._timer = timer
        self._unreadable = unreadable
        self._repaired_up_to: tuple[Argument, Argument] = (0, 0)
        """The position where the last step of the repair ended."""
        self._wake_ups = WakeUps(client, timer)
        self._passes_until: dict[NodeId, float] = {}
        """The workers that have met runs set aside which they cannot claim. Up to this instant they do not wait to be
        woken for such runs: others may be able to claim them."""
        self._nothing_until: dict[NodeId, float] = {}
        """The workers whose last claim found nothing. Up to this instant of the event loop they only wait to be
        woken: no waiting run is due before."""

    async def close(self) -> None:
        await self._wake_ups.close()

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = _NOTHING,
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        """A request of several scripts is first compared whole, and only then queued."""
        steps = list(batches(runs, RUNS_PER_SCRIPT, run_arguments))
        if len(steps) > 1:
            conflicts = [
                run
                for step in steps
                for run in (await self._enqueue(*step, asked, memory, delay, compared_only=True))[0]
            ]
            if conflicts:
                return AskedOtherwise(frozenset(conflicts))
        answers: list[Enqueued] = []
        for batch, arguments in steps:
            refused, queued = await self._enqueue(batch, arguments, asked, memory, delay)
            if refused:
                return AskedOtherwise(refused)
            answers += queued
        if delay > _NOTHING:
            self._timer.schedule(delay)
        return tuple(answers)

    async def _enqueue(
        self,
        runs: Sequence[Run],
        arguments: Sequence[Argument],
        asked: str,
        memory: timedelta,
        delay: timedelta,
        *,
        compared_only: bool = False,
    ) -> tuple[frozenset[RunId], list[Enqueued]]:
        lengths = memory // _MILLISECOND, milliseconds_up(max(delay, _NOTHING))
        reply = await self._client.run(_ENQUEUE, *lengths, asked, int(compared_only), *arguments)
        conflicts, answers = row(reply, 2)
        names = set(texts(conflicts))
        refused = frozenset(run.id for run in runs if encode_run_id(run.id) in names)
        return refused, [member(Enqueued, answer) for answer in items(answers)]

    # -- claiming -----------------------------------------------------------------------------------------------------

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        if limit <= 0:
            return ()
        time = asyncio.get_running_loop().time
        ends = time() + (wait.total_seconds() if known is None else 0.0)
        until = self._nothing_until.pop(worker, 0.0)
        if ends <= time():
            until = 0.0
        while True:
            if until <= time():
                attempts, due_in = await self._claim_once(worker, limit, known, scope)
                if attempts:
                    return await self._claims(attempts)
                until = time() + min(due_in, RECHECK_INTERVAL).total_seconds()
            now = time()
            if ends <= now:
                # The next call goes on with the wait. After an error, or a claim, it reads the queue first.
                self._nothing_until[worker] = until
                return ()
            bells = self._bells(scope, aside=now >= self._passes_until.get(worker, 0.0))
            if until > now and await self._wake_ups.wait(worker, min(ends, until) - now, bells):
                until = 0.0

    def _bells(self, scope: Scope, *, aside: bool) -> tuple[str, ...]:
        """The keys that wake a worker of this scope (runs.lua)."""
        bell = self._client.key("bell")
        own = (bell,) if scope.queues is None else tuple(f"{bell}:{encode(queue)}" for queue in sorted(scope.queues))
        return (*own, f"{bell}:@") if aside else own

    async def _claim_once(
        self, worker: NodeId, limit: int, known: Collection[Claim] | None, scope: Scope
    ) -> tuple[list[_Attempt], timedelta]:
        """Claim runs once. The answer: the claims, and the time until the next waiting run is due."""
        attempts: list[_Attempt] = []
        queues = () if scope.queues is None else tuple(map(encode_queue, scope.queues))
        served = -1 if scope.queues is None else len(queues)
        without = tuple(map(encode_task, scope.without))
        tokens: list[Argument] = [claim.token for claim in known or ()]
        while True:
            asked = encode(worker.value), limit - len(attempts), int(known is not None), BYTES_PER_SCRIPT
            reply = await self._client.run(_CLAIM, *asked, served, len(without), *queues, *without, *tokens)
            due_in, found, anomalies, more, others_aside = row(reply, 5)
            if number(others_aside) == 1:
                self._passes_until[worker] = asyncio.get_running_loop().time() + PASSES_SECONDS
            self._unreadable.add_anomalies(anomalies)
            flat = iter(items(found))
            new = [_Attempt.of(worker, *one) for one in zip(flat, flat, flat, flat, strict=True)]
            attempts += new
            tokens += [attempt.token for attempt in new]
            if number(more) == 0:
                break
        wait = number(due_in)
        return attempts, timedelta.max if wait < 0 else wait * _MILLISECOND

    async def _claims(self, attempts: Sequence[_Attempt]) -> tuple[Claim, ...]:
        """Read the runs. A run that this release cannot read is released, for a worker that can read it."""
        read = [(attempt, self._read(attempt)) for attempt in attempts]
        unreadable = [attempt for attempt, claim in read if claim is None]
        for _, arguments in batches(unreadable, RUNS_PER_SCRIPT, _Attempt.arguments, _Attempt.size):
            await self._client.run(_RELEASE, milliseconds_up(_UNREADABLE_PAUSE), 0, *arguments)
        return tuple(claim for _, claim in read if claim is not None)

    def _read(self, attempt: _Attempt) -> Claim | None:
        return self._unreadable.read(
            lambda: f"run {for_display(attempt.run)} of {for_display(attempt.task)}", attempt.claim
        )

    # -- claimed ------------------------------------------------------------------------------------------------------

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        lost: set[Claim] = set()
        cancelling: set[Claim] = set()
        for batch, arguments in batches(claims, RUNS_PER_SCRIPT, claim_arguments):
            over, cancelled = row(await self._client.run(_EXTEND, ttl // _MILLISECOND, *arguments), 2)
            lost.update(batch[at] for at in numbers(over))
            cancelling.update(batch[at] for at in numbers(cancelled))
        return Extension(frozenset(lost), frozenset(cancelling))

    async def report(self, reports: Sequence[ProgressReport], ttl: timedelta) -> frozenset[Claim]:
        lost: set[Claim] = set()
        for batch, arguments in batches(reports, RUNS_PER_SCRIPT, report_arguments, size_of_report):
            over = numbers(await self._client.run(_REPORT, ttl // _MILLISECOND, *arguments))
            lost.update(batch[at].claim for at in over)
        return frozenset(lost)

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        lost: set[Claim] = set()
        by_worker: dict[NodeId, list[Settlement]] = {}
        for settlement in settlements:
            by_worker.setdefault(settlement.claim.worker, []).append(settlement)
        for worker, own in by_worker.items():
            for remembers, some in groupby(own, lambda one: one.remembered is not None):
                lost |= await self._settle(worker, list(some), remembers=remembers)
        return frozenset(lost)

    async def _settle(self, worker: NodeId, own: Sequence[Settlement], *, remembers: bool) -> set[Claim]:
        lost: set[Claim] = set()
        settle, encoded = (_REMEMBER, remembered_arguments) if remembers else (_SETTLE, settlement_arguments)
        for batch, arguments in encoded_batches(own, RUNS_PER_SCRIPT, encoded):
            over = numbers(await self._client.run(settle, encode(worker.value), *arguments))
            lost.update(batch[at].claim for at in over)
            if not remembers:
                for delay in {one.outcome.delay for one in batch if isinstance(one.outcome, Retried)}:
                    self._timer.schedule(delay)
        return lost

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        lost: set[Claim] = set()
        for batch, arguments in batches(claims, RUNS_PER_SCRIPT, claim_arguments, size_of_claim):
            over = numbers(await self._client.run(_RELEASE, milliseconds_up(delay), int(started), *arguments))
            lost.update(batch[at] for at in over)
            if delay > _NOTHING:
                self._timer.schedule(delay)
        return frozenset(lost)

    # -- reaping, repair, cancellation, promotion ---------------------------------------------------------------------

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        found: list[Claim | None] = []
        left_out = True
        while left_out and len(found) < limit:
            asked = term.holder.value, term.token, ttl // _MILLISECOND, limit - len(found), BYTES_PER_SCRIPT
            try:
                reply = await self._client.run(_REAP, *asked)
            except BackendUnavailable:
                if not found:
                    raise
                break  # The caller must learn the reaped claims.
            if reply is None:
                if not found:
                    return Fenced()
                break
            reaped, anomalies, more = row(reply, 3)
            self._unreadable.add_anomalies(anomalies)
            for claim in items(reaped):
                worker, counts, task, run, body = row(claim, 5)
                found.append(self._read(_Attempt.of(NodeId(decode(text(worker))), counts, task, run, body)))
            left_out = number(more) == 1
        try:
            await sweep(self._client)
            await self._repair(term)
        except BackendCorrupt as error:
            self._unreadable.add_once(error)
        except BackendUnavailable:
            pass  # The caller must learn the reaped claims. The repair goes on with the next reaping.
        return tuple(claim for claim in found if claim is not None)

    async def _repair(self, term: Term) -> None:
        """Take the next step of the repair of runs whose keys were deleted."""
        most = (_TASKS_PER_REPAIR, _RUNS_PER_REPAIR, BYTES_PER_SCRIPT)
        reply = await self._client.run(_REPAIR, term.holder.value, term.token, *self._repaired_up_to, *most)
        if reply is not None:
            version, cursor, anomalies = row(reply, 3)
            self._repaired_up_to = (text(version), text(cursor))
            self._unreadable.add_anomalies(anomalies)

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        answers: list[Cancelling] = []
        for _, arguments in batches(runs, RUNS_PER_SCRIPT, cancellation_arguments):
            answers += [member(Cancelling, answer) for answer in items(await self._client.run(_CANCEL, *arguments))]
        return tuple(answers)

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        count = 0
        spared_runs: dict[TaskKey, list[str]] = {}
        for key, run in spared:
            spared_runs.setdefault(key, []).append(encode_run_id(run))
        for batch, names in batches(dict.fromkeys(keys), TASKS_PER_SCRIPT, task_argument):
            runs = [run for key in batch for run in spared_runs.get(key, ())]
            at, began, kind, cursor = 0, "", "retry", "0"
            while at < len(batch):
                position = began, kind, cursor, len(runs), *runs, *names[at:]
                step = row(await self._client.run(_PROMOTE, PROMOTED_PER_SCRIPT, BYTES_PER_SCRIPT, *position), 5)
                count, at = count + number(step[0]), at + number(step[2])
                began, kind, cursor = text(step[1]), text(step[3]), text(step[4])
        return count
