"""Leadership in Redis: a hash that holds the end of the lease. Its key has no time to live."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, LeaderSign, Term
from task_manager_core.ports import Leadership
from task_manager_core.ports.codec import span
from task_manager_redis.client import RedisClient
from task_manager_redis.replies import Reply, moment, number, row, text
from task_manager_redis.scripts import script

_MILLISECOND = timedelta(milliseconds=1)
_CAMPAIGN = script("campaign")
_DEPOSE = script("depose")
_OBSERVE = script("observe")
_RENEW = script("renew")
_RESIGN = script("resign")


class RedisLeadership(Leadership):
    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        return _bid(candidate, await self._client.run(_CAMPAIGN, candidate.value, ttl // _MILLISECOND))

    async def observe(self) -> LeaderSign:
        now, first_due, progress, holder, token, left = row(await self._client.run(_OBSERVE), 6)
        return LeaderSign(
            now=moment(now),
            term=None if holder == "" else Term(NodeId(text(holder)), number(token)),
            remaining=span(number(left)),
            progress=number(progress),
            first_due=None if first_due == "" else moment(first_due),
        )

    async def depose(self, candidate: NodeId, ttl: timedelta, seen: LeaderSign) -> Term | HeldByOther:
        holder, token = ("", "") if seen.term is None else (seen.term.holder.value, seen.term.token)
        lease = ttl // _MILLISECOND
        return _bid(candidate, await self._client.run(_DEPOSE, candidate.value, lease, holder, token, seen.progress))

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        return await self._client.run(_RENEW, term.holder.value, term.token, ttl // _MILLISECOND) == 1

    async def resign(self, term: Term) -> bool:
        return await self._client.run(_RESIGN, term.holder.value, term.token) == 1


def _bid(candidate: NodeId, answer: Reply) -> Term | HeldByOther:
    holder, token, left = row(answer, 3)
    if text(holder) == candidate.value:
        return Term(candidate, number(token))
    return HeldByOther(NodeId(text(holder)), span(number(left)))
