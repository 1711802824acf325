"""The run queue in Redis: two streams of what is queued, and the claims beside them.

A run is queued while it has an entry in a stream. A claim takes the entry out of it, gives the attempt its fencing
token, and is kept alive by an instant in a sorted set. Going back to the queue means a new entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from task_manager_core.domain.errors import BackendCorrupt, BackendUnavailable
from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, Term
from task_manager_core.domain.run import Claim, Retried, Run, Settlement
from task_manager_core.ports import REQUEST_MEMORY, AskedOtherwise, Cancelling, Enqueued, Extension, RunQueue
from task_manager_core.ports.codec import decode_run, encode_record, encode_run
from task_manager_redis.aside import Aside
from task_manager_redis.batches import BYTES_PER_SCRIPT, RUNS_PER_SCRIPT, TASKS_PER_SCRIPT, batches
from task_manager_redis.catalogue import task_argument
from task_manager_redis.client import RedisClient
from task_manager_redis.dispatch import slot_argument
from task_manager_redis.driver import Argument
from task_manager_redis.keys import decode, encode, encode_run_id, encode_task, shown
from task_manager_redis.promotion_timer import LOOKING, PromotionTimer
from task_manager_redis.replies import Reply, items, member, number, numbers, row, text, texts
from task_manager_redis.scripts import script
from task_manager_redis.sweeping import sweep

_MILLISECOND = timedelta(milliseconds=1)
_NOTHING = timedelta(0)
_UNREADABLE_PAUSE = timedelta(seconds=5)

HASTENED_PER_SCRIPT = 200
"""Each takes about ten commands."""

# Of one look at what somebody may have deleted: some milliseconds of a server.
_TASKS_PER_LOOK = 500
_RUNS_PER_LOOK = 500
_BYTES_PER_LOOK = 1_000_000

_ENQUEUE = script("enqueue")
_CLAIM = script("claim")
_EXTEND = script("extend")
_SETTLE = script("settle")
_RELEASE = script("release")
_REAP = script("reap")
_REPAIR = script("repair")
_CANCEL = script("cancel")
_PROMOTE = script("promote")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A claim as the scripts tell of it, before anybody tried to read its run."""

    worker: NodeId
    token: str
    attempt: int
    failures: int
    losses: int
    task: str
    run: str
    body: str

    @classmethod
    def of(cls, worker: NodeId, reply: Reply) -> _Attempt:
        token, attempt, failures, losses, task, run, body = row(reply, 7)
        counts = number(attempt), number(failures), number(losses)
        return cls(worker, text(token), *counts, text(task), text(run), text(body))

    def claim(self) -> Claim:
        """The claim, or BackendCorrupt."""
        return Claim(
            run=decode_run(self.body),
            attempt=self.attempt,
            failures=self.failures,
            losses=self.losses,
            token=number(self.token),
            worker=self.worker,
        )

    def arguments(self) -> tuple[Argument, ...]:
        return encode(self.worker.value), self.token, self.task, self.run


class RedisRunQueue(RunQueue):
    def __init__(self, client: RedisClient, alarm: PromotionTimer, aside: Aside) -> None:
        self._client = client
        self._alarm = alarm
        self._aside = aside
        self._looked: tuple[Argument, Argument] = (0, 0)
        """Where the last look at what somebody may have deleted ended."""

    async def enqueue(
        self, runs: Sequence[Run], asked: str = "", memory: timedelta = REQUEST_MEMORY
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        """A request of several steps is compared in all of them first."""
        steps = list(batches(runs, RUNS_PER_SCRIPT, _run))
        if len(steps) > 1:
            others = [
                run for step in steps for run in (await self._enqueue(*step, asked, memory, compared_only=True))[0]
            ]
            if others:
                return AskedOtherwise(frozenset(others))
        answers: list[Enqueued] = []
        for some, arguments in steps:
            refused, queued = await self._enqueue(some, arguments, asked, memory)
            if refused:
                return AskedOtherwise(refused)
            answers += queued
        return tuple(answers)

    async def _enqueue(
        self,
        runs: Sequence[Run],
        arguments: Sequence[Argument],
        asked: str,
        memory: timedelta,
        *,
        compared_only: bool = False,
    ) -> tuple[frozenset[RunId], list[Enqueued]]:
        reply = await self._client.run(_ENQUEUE, memory // _MILLISECOND, asked, int(compared_only), *arguments)
        others, answers = row(reply, 2)
        names = set(texts(others))
        refused = frozenset(run.id for run in runs if encode_run_id(run.id) in names)
        return refused, [member(Enqueued, answer) for answer in items(answers)]

    # -- claiming -----------------------------------------------------------------------------------------------------

    async def claim(
        self, worker: NodeId, limit: int, wait: timedelta, known: Collection[Claim] | None = None
    ) -> tuple[Claim, ...]:
        if limit <= 0:
            return ()
        loop = asyncio.get_running_loop()
        ends = loop.time() + (wait.total_seconds() if known is None else 0.0)
        while True:
            attempts, following = await self._look(worker, limit, known)
            left = timedelta(seconds=ends - loop.time())
            if attempts or left <= _NOTHING:
                return await self._claims(attempts)
            if following > _NOTHING and not await self._knocked(min(left, following, LOOKING)) and left <= following:
                return ()

    async def _look(
        self, worker: NodeId, limit: int, known: Collection[Claim] | None
    ) -> tuple[list[_Attempt], timedelta]:
        """What can be claimed now, and how long the next waiting run waits."""
        attempts: list[_Attempt] = []
        tokens: list[Argument] = [claim.token for claim in known or ()]
        while True:
            asked = encode(worker.value), limit - len(attempts), int(known is not None), BYTES_PER_SCRIPT
            following, found, strange, more = row(await self._client.run(_CLAIM, *asked, *tokens), 4)
            self._aside.hear(strange)
            new = [_Attempt.of(worker, one) for one in items(found)]
            attempts += new
            tokens += [attempt.token for attempt in new]
            if number(more) == 0:
                break
        wait = number(following)
        return attempts, timedelta.max if wait < 0 else wait * _MILLISECOND

    async def _knocked(self, wait: timedelta) -> bool:
        """Wait until something is queued. One run wakes one worker, and that one looks for itself.

        A worker that stops waiting may have been woken already: it lets another one look.
        """
        try:
            return await self._client.pop(self._client.key("bell"), wait)
        except asyncio.CancelledError:
            self._alarm.expect(_NOTHING)
            raise

    async def _claims(self, attempts: Sequence[_Attempt]) -> tuple[Claim, ...]:
        """Read the runs. One that this release cannot read goes back, for a worker that can."""
        read = [(attempt, self._read(attempt)) for attempt in attempts]
        unreadable = [attempt for attempt, claim in read if claim is None]
        for _, arguments in batches(unreadable, RUNS_PER_SCRIPT, _Attempt.arguments):
            await self._client.run(_RELEASE, _until(_UNREADABLE_PAUSE), 0, *arguments)
        return tuple(claim for _, claim in read if claim is not None)

    def _read(self, attempt: _Attempt) -> Claim | None:
        return self._aside.read(f"run {shown(attempt.run)} of {shown(attempt.task)}", attempt.claim)

    # -- claimed ------------------------------------------------------------------------------------------------------

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        lost: set[Claim] = set()
        cancelling: set[Claim] = set()
        for some, arguments in batches(claims, RUNS_PER_SCRIPT, _holder):
            over, unwanted = row(await self._client.run(_EXTEND, ttl // _MILLISECOND, *arguments), 2)
            lost.update(some[at] for at in numbers(over))
            cancelling.update(some[at] for at in numbers(unwanted))
        return Extension(frozenset(lost), frozenset(cancelling))

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        lost: set[Claim] = set()
        for some, arguments in batches(settlements, RUNS_PER_SCRIPT, _settlement):
            over = numbers(await self._client.run(_SETTLE, *arguments))
            lost.update(some[at].claim for at in over)
            for delay in {one.outcome.delay for one in some if isinstance(one.outcome, Retried)}:
                self._alarm.expect(delay)
        return frozenset(lost)

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        lost: set[Claim] = set()
        for some, arguments in batches(claims, RUNS_PER_SCRIPT, _holder):
            over = numbers(await self._client.run(_RELEASE, _until(delay), int(started), *arguments))
            lost.update(some[at] for at in over)
            if delay > _NOTHING:
                self._alarm.expect(delay)
        return frozenset(lost)

    # -- repairing and steering ---------------------------------------------------------------------------------------

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
                break  # What was reaped has to be told.
            if reply is None:
                if not found:
                    return Fenced()
                break
            reaped, strange, more = row(reply, 3)
            self._aside.hear(strange)
            for claim in items(reaped):
                worker, *rest = row(claim, 8)
                found.append(self._read(_Attempt.of(NodeId(decode(text(worker))), rest)))
            left_out = number(more) == 1
        try:
            await sweep(self._client)
            await self._mend(term)
        except BackendCorrupt as error:
            self._aside.note(error)
        except BackendUnavailable:
            pass  # What was reaped has to be told. The next look comes with the next reaping.
        return tuple(claim for claim in found if claim is not None)

    async def _mend(self, term: Term) -> None:
        """Take the next look at what somebody may have deleted."""
        most = (_TASKS_PER_LOOK, _RUNS_PER_LOOK, _BYTES_PER_LOOK)
        reply = await self._client.run(_REPAIR, term.holder.value, term.token, *self._looked, *most)
        if reply is not None:
            version, place, strange = row(reply, 3)
            self._looked = (text(version), text(place))
            self._aside.hear(strange)

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        answers: list[Cancelling] = []
        for _, arguments in batches(runs, RUNS_PER_SCRIPT, _named):
            answers += [member(Cancelling, answer) for answer in items(await self._client.run(_CANCEL, *arguments))]
        return tuple(answers)

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        count = 0
        left: dict[TaskKey, list[str]] = {}
        for key, run in spared:
            left.setdefault(key, []).append(encode_run_id(run))
        for some, names in batches(dict.fromkeys(keys), TASKS_PER_SCRIPT, task_argument):
            runs = [run for key in some for run in left.get(key, ())]
            at, began, kind, cursor = 0, "", "retry", "0"
            while at < len(some):
                place = began, kind, cursor, len(runs), *runs, *names[at:]
                step = row(await self._client.run(_PROMOTE, HASTENED_PER_SCRIPT, BYTES_PER_SCRIPT, *place), 5)
                count, at = count + number(step[0]), at + number(step[2])
                began, kind, cursor = text(step[1]), text(step[3]), text(step[4])
        return count


def _named(run: tuple[TaskKey, RunId]) -> tuple[Argument, ...]:
    key, name = run
    return encode_task(key), encode_run_id(name)


def _until(delay: timedelta) -> int:
    """Milliseconds of a delay, rounded up: a wait is never cut short."""
    return -(-delay // _MILLISECOND)


def _run(run: Run) -> tuple[Argument, ...]:
    return (
        encode_run_id(run.id),
        encode_task(run.task),
        run.priority.value,
        slot_argument(run),
        int(run.exclusive),
        encode_run(run),
    )


def _holder(claim: Claim) -> tuple[Argument, ...]:
    """A claim as the scripts compare it."""
    return encode(claim.worker.value), claim.token, encode_task(claim.run.task), encode_run_id(claim.run.id)


def _settlement(settlement: Settlement) -> tuple[Argument, ...]:
    outcome = settlement.outcome
    delay: Argument = _until(outcome.delay) if isinstance(outcome, Retried) else "end"
    return *_holder(settlement.claim), delay, encode_record(settlement.record())
