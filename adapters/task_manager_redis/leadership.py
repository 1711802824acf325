"""Leadership in Redis: a hash that holds the end of the lease. Its key has no time to live."""

from __future__ import annotations

from datetime import timedelta

from task_manager_core.domain.identity import NodeId
from task_manager_core.domain.leadership import HeldByOther, Term
from task_manager_core.ports import Leadership
from task_manager_core.ports.codec import span
from task_manager_redis.client import RedisClient
from task_manager_redis.replies import number, row, text
from task_manager_redis.scripts import script

_MILLISECOND = timedelta(milliseconds=1)
_CAMPAIGN = script("campaign")
_RENEW = script("renew")
_RESIGN = script("resign")


class RedisLeadership(Leadership):
    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def campaign(self, candidate: NodeId, ttl: timedelta) -> Term | HeldByOther:
        answer = await self._client.run(_CAMPAIGN, candidate.value, ttl // _MILLISECOND)
        holder, token, left = row(answer, 3)
        if text(holder) == candidate.value:
            return Term(candidate, number(token))
        return HeldByOther(NodeId(text(holder)), span(number(left)))

    async def renew(self, term: Term, ttl: timedelta) -> bool:
        return await self._client.run(_RENEW, term.holder.value, term.token, ttl // _MILLISECOND) == 1

    async def resign(self, term: Term) -> bool:
        return await self._client.run(_RESIGN, term.holder.value, term.token) == 1
