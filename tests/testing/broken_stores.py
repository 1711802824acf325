"""Stores that a command line names, for tests of the messages to their authors. The stores in `broken` are judged."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NoReturn

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, LeaderSign, Term
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import Claim
from task_manager_core.domain.scope import EVERYTHING, Scope
from task_manager_core.ports import Capabilities, Clock, Leadership, RunQueue
from task_manager_core.ports.backend import Backend
from task_manager_memory import open_backend

ROUND = 42
"""This is no store."""


@dataclass(frozen=True)
class _Generous:
    """Grants a term to every candidate."""

    inner: Leadership

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        answer = await self.inner.campaign(candidate, ttl)
        return Term(candidate, 1) if isinstance(answer, HeldByOther) else answer

    async def observe(self) -> LeaderSign:
        return await self.inner.observe()

    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        return await self.inner.depose(candidate, ttl, seen)

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        return await self.inner.renew(term, ttl)

    async def resign(self, term: Term) -> bool:
        return await self.inner.resign(term)


class _Backwards:
    """Claims the newest run first."""

    def __init__(self, inner: RunQueue) -> None:
        self._inner = inner
        self.enqueue, self.extend, self.settle, self.release = inner.enqueue, inner.extend, inner.settle, inner.release
        self.reap, self.cancel, self.promote = inner.reap, inner.cancel, inner.promote
        self.report = inner.report

    async def claim(
        self,
        worker: NodeId,
        limit: int,
        wait: timedelta,
        known: Collection[Claim] | None = None,
        scope: Scope = EVERYTHING,
    ) -> tuple[Claim, ...]:
        return (await self._inner.claim(worker, limit, wait, known, scope))[::-1]


@asynccontextmanager
async def generous(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
    """A store with two leaders at a time that cannot be wiped."""
    async with open_backend(clock=clock, retention=retention) as backend:
        yield replace(backend, leadership=_Generous(backend.leadership), capabilities=Capabilities(durable=True))


@asynccontextmanager
async def backwards(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
    """Last in, first out."""
    async with open_backend(clock=clock, retention=retention) as backend:
        yield replace(backend, queue=_Backwards(backend.queue))


class _Unwritten:
    """A port that its author has not written yet."""

    def __getattr__(self, verb: str) -> NoReturn:
        raise NotImplementedError(verb)


@asynccontextmanager
async def only_leadership(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
    """A store of which only some verbs are written."""
    async with open_backend(clock=clock, retention=retention) as backend:
        ports = ("catalogue", "dispatch", "queue", "history", "membership", "notifier")
        unwritten: Any = dict.fromkeys(ports, _Unwritten())
        yield replace(backend, **unwritten)
