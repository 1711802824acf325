"""The ports of a node in a simulation: the store's own, behind a channel, with every answer read as facts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from task_manager_core.domain.identity import NodeId, RunId, TaskKey
from task_manager_core.domain.leadership import Fenced, HeldByOther, Term
from task_manager_core.domain.observation import Presence, Snapshot
from task_manager_core.domain.planning import Agenda, Skipped, SlotDecision
from task_manager_core.domain.run import AttemptRecord, Claim, Run, Settlement
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
from task_manager_core.testing.cluster import effects as facts
from task_manager_core.testing.cluster.effects import Effect
from task_manager_core.testing.cluster.link import Link


def wrapped(backend: Backend, channel: Link) -> Backend:
    """The same store as one node sees it."""
    return replace(
        backend,
        leadership=SimLeadership(backend.leadership, channel),
        catalogue=SimCatalogue(backend.catalogue, channel),
        dispatch=SimDispatch(backend.dispatch, channel),
        queue=SimRunQueue(backend.queue, channel),
        history=SimHistory(backend.history, channel),
        membership=SimMembership(backend.membership, channel),
        notifier=SimNotifier(backend.notifier, channel),
    )


class SimLeadership:
    def __init__(self, inner: Leadership, channel: Link) -> None:
        self._inner = inner
        self._channel = channel

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        def read(answer: Term | HeldByOther) -> Iterator[Effect]:
            yield facts.BidRefused(candidate, answer) if isinstance(answer, HeldByOther) else facts.Granted(answer, ttl)

        return await self._channel.call("campaign", lambda: self._inner.campaign(candidate, ttl), read)

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        def read(renewed: bool) -> Iterator[Effect]:  # noqa: FBT001 - the answer of the port
            yield facts.Renewed(term, ttl) if renewed else facts.RenewalRefused(term)

        return await self._channel.call("renew", lambda: self._inner.renew(term, ttl), read)

    async def resign(self, term: Term) -> bool:
        def read(resigned: bool) -> Iterator[Effect]:  # noqa: FBT001 - the answer of the port
            if resigned:
                yield facts.Resigned(term)

        return await self._channel.call("resign", lambda: self._inner.resign(term), read)


class SimCatalogue:
    def __init__(self, inner: Catalogue, channel: Link) -> None:
        self._inner = inner
        self._channel = channel

    async def put(self, definitions: Sequence[DefinitionWrite]) -> tuple[int | Conflict, ...]:
        def read(answers: tuple[int | Conflict, ...]) -> Iterator[Effect]:
            for definition, answer in zip(definitions, answers, strict=True):
                if isinstance(answer, Conflict):
                    yield facts.WriteConflicted(definition, answer.found)
                else:
                    yield facts.Written(definition, answer)

        return await self._channel.call("put", lambda: self._inner.put(definitions), read)

    async def remove(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        def read(removed: frozenset[TaskKey]) -> Iterator[Effect]:
            return (facts.Removed(key) for key in sorted(removed))

        return await self._channel.call("remove", lambda: self._inner.remove(keys), read)

    async def load(self, since: int) -> Changes | None:
        def read(changes: Changes | None) -> Iterator[Effect]:
            yield facts.Loaded(since, changes)

        return await self._channel.call("load", lambda: self._inner.load(since), read)

    async def retire(self, term: Term, keys: Collection[TaskKey]) -> frozenset[TaskKey] | Fenced:
        def read(answer: frozenset[TaskKey] | Fenced) -> Iterator[Effect]:
            if isinstance(answer, Fenced):
                yield facts.WriteRefused(term, "retire")
                return
            yield facts.WriteAccepted(term, "retire")
            for key in sorted(answer):
                yield facts.Retired(term, key)

        return await self._channel.call("retire", lambda: self._inner.retire(term, keys), read, term=term)


class SimDispatch:
    def __init__(self, inner: Dispatch, channel: Link) -> None:
        self._inner = inner
        self._channel = channel

    async def agenda(self, limit: int, skip: int = 0) -> Agenda:
        def read(agenda: Agenda) -> Iterator[Effect]:
            yield facts.AgendaRead(agenda, limit)

        return await self._channel.call("agenda", lambda: self._inner.agenda(limit, skip), read)

    async def commit(self, term: Term, decisions: Sequence[SlotDecision]) -> tuple[bool, ...] | Fenced:
        def read(answer: tuple[bool, ...] | Fenced) -> Iterator[Effect]:
            if isinstance(answer, Fenced):
                yield facts.WriteRefused(term, "commit")
                return
            yield facts.WriteAccepted(term, "commit")
            for decision, kept in zip(decisions, answer, strict=True):
                yield facts.Decided(term, decision) if kept else facts.Overtaken(term, decision)

        return await self._channel.call("commit", lambda: self._inner.commit(term, decisions), read, term=term)

    async def pause(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        def read(paused: frozenset[TaskKey]) -> Iterator[Effect]:
            return (facts.Paused(key) for key in sorted(paused))

        return await self._channel.call("pause", lambda: self._inner.pause(keys), read)

    async def resume(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        def read(resumed: frozenset[TaskKey]) -> Iterator[Effect]:
            return (facts.Resumed(key) for key in sorted(resumed))

        return await self._channel.call("resume", lambda: self._inner.resume(keys), read)


class SimRunQueue:
    def __init__(self, inner: RunQueue, channel: Link) -> None:
        self._inner = inner
        self._channel = channel

    async def enqueue(
        self, runs: Sequence[Run], asked: str = "", memory: timedelta = REQUEST_MEMORY
    ) -> tuple[Enqueued, ...] | AskedOtherwise:
        def read(answers: tuple[Enqueued, ...] | AskedOtherwise) -> Iterator[Effect]:
            if isinstance(answers, AskedOtherwise):
                yield facts.RequestRefused(tuple(runs), asked, answers.runs)
                return
            for run, answer in zip(runs, answers, strict=True):
                yield facts.Requested(run, answer, asked)

        return await self._channel.call("enqueue", lambda: self._inner.enqueue(runs, asked, memory), read)

    async def claim(
        self, worker: NodeId, limit: int, wait: timedelta, known: Collection[Claim] | None = None
    ) -> tuple[Claim, ...]:
        def read(claims: tuple[Claim, ...]) -> Iterator[Effect]:
            if known is not None:
                yield facts.ClaimsGiven(worker, tuple(known), claims, limit)
            for claim in claims:
                yield facts.Claimed(claim)

        return await self._channel.call(
            "claim",
            lambda: self._inner.claim(worker, limit, wait, known),
            read,
            waits=known is None and wait > timedelta(0),
        )

    async def extend(self, claims: Collection[Claim], ttl: timedelta) -> Extension:
        def read(extension: Extension) -> Iterator[Effect]:
            for claim in claims:
                if claim in extension.lost:
                    yield facts.ExtensionRefused(claim, ttl)
                else:
                    yield facts.Extended(claim, ttl, claim in extension.cancelling)

        return await self._channel.call("extend", lambda: self._inner.extend(claims, ttl), read)

    async def settle(self, settlements: Sequence[Settlement]) -> frozenset[Claim]:
        def read(lost: frozenset[Claim]) -> Iterator[Effect]:
            for one in settlements:
                yield facts.SettlementRefused(one) if one.claim in lost else facts.Settled(one)

        return await self._channel.call("settle", lambda: self._inner.settle(settlements), read)

    async def release(self, claims: Collection[Claim], delay: timedelta, *, started: bool) -> frozenset[Claim]:
        def read(lost: frozenset[Claim]) -> Iterator[Effect]:
            for claim in claims:
                yield facts.ReleaseRefused(claim) if claim in lost else facts.Released(claim, delay, started)

        return await self._channel.call("release", lambda: self._inner.release(claims, delay, started=started), read)

    async def reap(self, term: Term, ttl: timedelta, limit: int) -> tuple[Claim, ...] | Fenced:
        def read(answer: tuple[Claim, ...] | Fenced) -> Iterator[Effect]:
            if isinstance(answer, Fenced):
                yield facts.WriteRefused(term, "reap")
                return
            yield facts.WriteAccepted(term, "reap")
            for claim in answer:
                yield facts.Reaped(term, claim, ttl)

        return await self._channel.call("reap", lambda: self._inner.reap(term, ttl, limit), read, term=term)

    async def cancel(self, runs: Sequence[tuple[TaskKey, RunId]]) -> tuple[Cancelling, ...]:
        def read(answers: tuple[Cancelling, ...]) -> Iterator[Effect]:
            for (key, run), answer in zip(runs, answers, strict=True):
                yield facts.CancelAnswered(key, run, answer)

        return await self._channel.call("cancel", lambda: self._inner.cancel(runs), read)

    async def promote(self, keys: Collection[TaskKey], spared: Collection[tuple[TaskKey, RunId]] = ()) -> int:
        def read(count: int) -> Iterator[Effect]:
            if count:
                left = frozenset(run for _, run in spared)
                yield from (facts.Promoted(key, left) for key in keys)

        return await self._channel.call("promote", lambda: self._inner.promote(keys, spared), read)


def _unread(_answer: object) -> tuple[Effect, ...]:
    """An answer without news for the books."""
    return ()


class SimHistory:
    def __init__(self, inner: History, channel: Link) -> None:
        self._inner = inner
        self._channel = channel

    async def read(self, key: TaskKey, limit: int) -> tuple[AttemptRecord, ...]:
        return await self._channel.call("read", lambda: self._inner.read(key, limit), _unread)

    async def skips(self, key: TaskKey, limit: int) -> tuple[Skipped, ...]:
        return await self._channel.call("skips", lambda: self._inner.skips(key, limit), _unread)

    async def clear(self, keys: Collection[TaskKey]) -> frozenset[TaskKey]:
        return await self._channel.call("clear", lambda: self._inner.clear(keys), _unread)

    async def snapshot(self, keys: Collection[TaskKey] | None = None) -> Snapshot:
        return await self._channel.call("snapshot", lambda: self._inner.snapshot(keys), _unread)


class SimMembership:
    def __init__(self, inner: Membership, channel: Link) -> None:
        self._inner = inner
        self._channel = channel

    async def announce(self, presence: Presence, ttl: timedelta) -> None:
        await self._channel.call("announce", lambda: self._inner.announce(presence, ttl), _unread)

    async def depart(self, node: NodeId) -> None:
        await self._channel.call("depart", lambda: self._inner.depart(node), _unread)


class SimNotifier:
    def __init__(self, inner: Notifier, channel: Link) -> None:
        self._inner = inner
        self._channel = channel

    async def wait(self, timeout: timedelta) -> None:
        await self._channel.call("wait", lambda: self._inner.wait(timeout), _unread)
