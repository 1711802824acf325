"""Stores that are named on a command line, for tests of what their authors are told. Those of `broken` are judged."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NoReturn

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, Term
from task_manager_core.domain.policy import Retention
from task_manager_core.domain.run import Claim
from task_manager_core.ports import Capabilities, Clock, Leadership, RunQueue
from task_manager_core.ports.backend import Backend
from task_manager_memory import open_backend

ROUND = 42
"""No store at all."""


@dataclass(frozen=True)
class _Generous:
    """Grants a term to whoever asks."""

    inner: Leadership

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        answer = await self.inner.campaign(candidate, ttl)
        return Term(candidate, 1) if isinstance(answer, HeldByOther) else answer

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        return await self.inner.renew(term, ttl)

    async def resign(self, term: Term) -> bool:
        return await self.inner.resign(term)


class _Backwards:
    """Gives the newest claim first."""

    def __init__(self, inner: RunQueue) -> None:
        self._inner = inner
        self.enqueue, self.extend, self.settle, self.release = inner.enqueue, inner.extend, inner.settle, inner.release
        self.reap, self.cancel, self.promote = inner.reap, inner.cancel, inner.promote

    async def claim(
        self, worker: NodeId, limit: int, wait: timedelta, known: Collection[Claim] | None = None
    ) -> tuple[Claim, ...]:
        return (await self._inner.claim(worker, limit, wait, known))[::-1]


@asynccontextmanager
async def generous(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
    """Two leaders at a time, and no way to wipe it."""
    async with open_backend(clock=clock, retention=retention) as backend:
        yield replace(backend, leadership=_Generous(backend.leadership), capabilities=Capabilities(durable=True))


@asynccontextmanager
async def backwards(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
    """Last in, first out."""
    async with open_backend(clock=clock, retention=retention) as backend:
        yield replace(backend, queue=_Backwards(backend.queue))


class _Unwritten:
    """A port that its author has not come to yet."""

    def __getattr__(self, verb: str) -> NoReturn:
        raise NotImplementedError(verb)


@asynccontextmanager
async def only_leadership(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:
    """What the author of a store has after the first hour."""
    async with open_backend(clock=clock, retention=retention) as backend:
        ports = ("catalogue", "dispatch", "queue", "history", "membership", "notifier")
        unwritten: Any = dict.fromkeys(ports, _Unwritten())
        yield replace(backend, **unwritten)
