"""The ports of a simulated node: those of the store behind a link. Effects are read from every answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, HeldByOther, LeaderSign, Term
from task_manager_core.domain.memory import TaskMemory
from task_manager_core.domain.observation import Presence, Snapshot
from task_manager_core.domain.planning import Agenda, Skipped, SlotDecision
from task_manager_core.domain.progress import Progress, ProgressReport
from task_manager_core.domain.run import AttemptRecord, Claim, Run, Settlement
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.ports import (
    REQUEST_MEMORY,
    AskedOtherwise,
    Backend,
    Cancelling,
    Catalogue,
    Changes,
    Conflict,
    DefinitionWrite,
    Dispatch,
    Enqueued,
    Extension,
    History,
    Leadership,
    Membership,
    Notifier,
    RunQueue,
)
from task_manager_core.testing.cluster import effects
from task_manager_core.testing.cluster.effects import Effect
from task_manager_core.testing.cluster.link import Link


def linked(backend: Backend, link: Link) -> Backend:
    """The same store, as one node reaches it."""
    return replace(
        backend,
        leadership=SimLeadership(backend.leadership, link),
        catalogue=SimCatalogue(backend.catalogue, link),
        dispatch=SimDispatch(backend.dispatch, link),
        queue=SimRunQueue(backend.queue, link),
        history=SimHistory(backend.history, link),
        membership=SimMembership(backend.membership, link),
        notifier=SimNotifier(backend.notifier, link),
    )


class SimLeadership:
    def __init__(self, inner: Leadership, link: Link) -> None:
        self._inner = inner
        self._link = link

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        def read(answer: Term | HeldByOther) -> Iterator[Effect]:
            yield (
                effects.BidRefused(candidate, answer)
                if isinstance(answer, HeldByOther)
                else effects.Granted(answer, ttl)
            )

        return await self._link.call("campaign", lambda: self._inner.campaign(candidate, ttl), read)

    async def observe(self) -> LeaderSign:
        def read(sign: LeaderSign) -> Iterator[Effect]:
            yield effects.Observed(sign)

        return await self._link.call("observe", self._inner.observe, read)

    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        def read(answer: Term | HeldByOther) -> Iterator[Effect]:
            yield (
                effects.BidRefused(candidate, answer)
                if isinstance(answer, HeldByOther)
                else effects.Deposed(answer, ttl, seen)
            )

        return await self._link.call("depose", lambda: self._inner.depose(candidate, ttl, seen), read)

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        def read(renewed: bool) -> Iterator[Effect]:  # noqa: FBT001 - the answer of the port
            yield effects.Renewed(term, ttl) if renewed else effects.RenewalRefused(term)

        return await self._link.call("renew", lambda: self._inner.renew(term, ttl), read)

    async def resign(self, term: Term) -> bool:
        def read(resigned: bool) -> Iterator[Effect]:  # noqa: FBT001 - the answer of the port
            if resigned:
                yield effects.Resigned(term)

        return await self._link.call("resign", lambda: self._inner.resign(term), read)


class SimCatalogue:
    def __init__(self, inner: Catalogue, link: Link) -> None:
        self._inner = inner
        self._link = link

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        def read(answers: tuple[int | Conflict, ...]) -> Iterator[Effect]:
            for definition, answer in zip(definitions, answers, strict=True):
                if isinstance(answer, Conflict):
                    yield effects.WriteConflicted(definition, answer.found)
                else:
                    yield effects.Written(definition, answer)

        return await self._link.call("put", lambda: self._inner.put(definitions), read)

    async def remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        def read(removed: frozenset[TaskKey]) -> Iterator[Effect]:
            return (effects.Removed(key) for key in sorted(removed))

        return await self._link.call("remove", lambda: self._inner.remove(keys), read)

    async def remove_ended(self, term: Term, versions: Mapping[TaskKey, int]) -> frozenset[TaskKey] | Fenced:
        def read(answer: frozenset[TaskKey] | Fenced) -> Iterator[Effect]:
            if isinstance(answer, Fenced):
                yield effects.WriteRefused(term, "remove_ended")
                return
            yield effects.WriteAccepted(term, "remove_ended")
            for key in sorted(answer):
                yield effects.EndedRemoved(key)

        return await self._link.call("remove_ended", lambda: self._inner.remove_ended(term, versions), read, term=term)

    async def load(self, since: int) -> Changes | None:
        def read(changes: Changes | None) -> Iterator[Effect]:
            yield effects.Loaded(since, changes)

        return await self._link.call("load", lambda: self._inner.load(since), read)

    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        def read(answer: frozenset[TaskKey] | Fenced) -> Iterator[Effect]:
            if isinstance(answer, Fenced):
                yield effects.WriteRefused(term, "retire")
                return
            yield effects.WriteAccepted(term, "retire")
            for key in sorted(answer):
                yield effects.Retired(term, key)

        return await self._link.call("retire", lambda: self._inner.retire(term, keys), read, term=term)


class SimDispatch:
    def __init__(self, inner: Dispatch, link: Link) -> None:
        self._inner = inner
        self._link = link

    async def agenda(
        self, limit: int, skip: int = 0, term: Term | None = None, ahead: timedelta = timedelta(0)
    ) -> Agenda:
        def read(agenda: Agenda) -> Iterator[Effect]:
            yield effects.AgendaRead(agenda, limit, term)

        return await self._link.call("agenda", lambda: self._inner.agenda(limit, skip, term, ahead), read)

    async def anticipate(self, decisions: Sequence[SlotDecision]) -> None:
        await self._inner.anticipate(decisions)

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        def read(answer: tuple[bool, ...] | Fenced) -> Iterator[Effect]:
            if isinstance(answer, Fenced):
                yield effects.WriteRefused(term, "commit")
                return
            yield effects.WriteAccepted(term, "commit")
            for decision, kept in zip(decisions, answer, strict=True):
                yield effects.Decided(term, decision) if kept else effects.Overtaken(term, decision)

        return await self._link.call("commit", lambda: self._inner.commit(term, decisions), read, term=term)

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        def read(paused: frozenset[TaskKey]) -> Iterator[Effect]:
            return (effects.Paused(key) for key in sorted(paused))

        return await self._link.call("pause", lambda: self._inner.pause(keys), read)

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        def read(resumed: frozenset[TaskKey]) -> Iterator[Effect]:
            return (effects.Resumed(key) for key in sorted(resumed))

        return await self._link.call("resume", lambda: self._inner.resume(keys), read)


class SimRunQueue:
    def __init__(self, inner: RunQueue, link: Link) -> None:
        self._inner = inner
        self._link = link

    async def enqueue(
        self,
        runs: Sequence[Run],
        asked: str = "",
        memory: timedelta = REQUEST_MEMORY,
        delay: timedelta = timedelta(0),
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        def read(answers: tuple[Enqueued, ...] | AskedOtherwise) -> Iterator[Effect]:
            if isinstance(answers, AskedOtherwise):
                yield effects.RequestRefused(tuple(runs), asked, answers.runs)
                return
            for run, answer in zip(runs, answers, strict=True):
                yield effects.Requested(run, answer, asked, delay)

        return await self._link.call("enqueue", lambda: self._inner.enqueue(runs, asked, memory, delay), read)

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        def read(claims: tuple[Claim, ...]) -> Iterator[Effect]:
            if known is not None:
                yield effects.ClaimsGiven(worker, tuple(known), claims, limit)
            for claim in claims:
                yield effects.Claimed(claim)

        return await self._link.call(
            "claim",
            lambda: self._inner.claim(worker, limit, wait, known, scope),
            read,
            waits=known is None and wait > timedelta(0),
        )

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        def read(extension: Extension) -> Iterator[Effect]:
            for claim in claims:
                if claim in extension.lost:
                    yield effects.ExtensionRefused(claim, ttl)
                else:
                    yield effects.Extended(claim, ttl, claim in extension.cancelling)

        return await self._link.call("extend", lambda: self._inner.extend(claims, ttl), read)

    async def report(self, reports: Sequence[ProgressReport], ttl: timedelta) -> frozenset[Claim]:
        def read(lost: frozenset[Claim]) -> Iterator[Effect]:
            for one in reports:
                lost_claim = one.claim in lost
                yield effects.ReportRefused(one.claim) if lost_claim else effects.Reported(one.claim, one.progress)

        return await self._link.call("report", lambda: self._inner.report(reports, ttl), read)

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        def read(lost: frozenset[Claim]) -> Iterator[Effect]:
            for one in settlements:
                yield effects.SettlementRefused(one) if one.claim in lost else effects.Settled(one)

        return await self._link.call("settle", lambda: self._inner.settle(settlements), read)

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        def read(lost: frozenset[Claim]) -> Iterator[Effect]:
            for claim in claims:
                yield effects.ReleaseRefused(claim) if claim in lost else effects.Released(claim, delay, started)

        return await self._link.call("release", lambda: self._inner.release(claims, delay, started=started), read)

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        def read(answer: tuple[Claim, ...] | Fenced) -> Iterator[Effect]:
            if isinstance(answer, Fenced):
                yield effects.WriteRefused(term, "reap")
                return
            yield effects.WriteAccepted(term, "reap")
            for claim in answer:
                yield effects.Reaped(term, claim, ttl)

        return await self._link.call("reap", lambda: self._inner.reap(term, ttl, limit), read, term=term)

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        def read(answers: tuple[Cancelling, ...]) -> Iterator[Effect]:
            for (key, run), answer in zip(runs, answers, strict=True):
                yield effects.CancelAnswered(key, run, answer)

        return await self._link.call("cancel", lambda: self._inner.cancel(runs), read)

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        def read(count: int) -> Iterator[Effect]:
            if count:
                left = frozenset(run for _, run in spared)
                yield from (effects.Promoted(key, left) for key in keys)

        return await self._link.call("promote", lambda: self._inner.promote(keys, spared), read)


def _no_effects(_answer: object) -> tuple[Effect, ...]:
    """For verbs whose effects no model applies."""
    return ()


class SimHistory:
    def __init__(self, inner: History, link: Link) -> None:
        self._inner = inner
        self._link = link

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        return await self._link.call("read", lambda: self._inner.read(key, limit), _no_effects)

    async def recent(self, keys: Collection[TaskKey], limit: int) -> Mapping[TaskKey, tuple[AttemptRecord, ...]]:
        return await self._link.call("recent", lambda: self._inner.recent(keys, limit), _no_effects)

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        return await self._link.call("skips", lambda: self._inner.skips(key, limit), _no_effects)

    async def progress(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Progress | None, ...]:
        return await self._link.call("progress", lambda: self._inner.progress(runs), _no_effects)

    async def memory(self, key: TaskKey) -> TaskMemory:
        def read(memory: TaskMemory) -> Iterator[Effect]:
            yield effects.MemoryRead(key, memory)

        return await self._link.call("memory", lambda: self._inner.memory(key), read)

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        return await self._link.call("clear", lambda: self._inner.clear(keys), _no_effects)

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        return await self._link.call("snapshot", lambda: self._inner.snapshot(keys), _no_effects)


class SimMembership:
    def __init__(self, inner: Membership, link: Link) -> None:
        self._inner = inner
        self._link = link

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        await self._link.call("announce", lambda: self._inner.announce(presence, ttl), _no_effects)

    async def depart(self, node: NodeId) -> None:
        await self._link.call("depart", lambda: self._inner.depart(node), _no_effects)


class SimNotifier:
    def __init__(self, inner: Notifier, link: Link) -> None:
        self._inner = inner
        self._link = link

    async def wait(self, timeout: timedelta) -> None:
        await self._link.call("wait", lambda: self._wait(timeout), _no_effects)

    async def _wait(self, timeout: timedelta) -> None:
        """A notification that is lost ends no wait."""
        loop, faults = self._link.loop, self._link.faults
        ends = loop.time() + timeout.total_seconds()
        await self._inner.wait(timeout)
        while loop.time() < min(ends, faults.notifications_lost_until):
            # At least a millisecond: a shorter wait may round to nothing, and time would stand still.
            await self._inner.wait(max(timedelta(seconds=ends - loop.time()), timedelta(milliseconds=1)))
