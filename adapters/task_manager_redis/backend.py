"""Opening the Redis store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Capabilities, Clock, OpenBackend
from task_manager_redis.catalogue import RedisCatalogue
from task_manager_redis.client import RedisClient
from task_manager_redis.dispatch import RedisDispatch
from task_manager_redis.driver import check
from task_manager_redis.history import RedisHistory
from task_manager_redis.leadership import RedisLeadership
from task_manager_redis.membership import RedisMembership
from task_manager_redis.notifier import RedisNotifier
from task_manager_redis.promotion_timer import PromotionTimer
from task_manager_redis.run_queue import RedisRunQueue
from task_manager_redis.settings import RedisSettings
from task_manager_redis.unreadable import UnreadableValues


def checked_backend(settings: RedisSettings) -> OpenBackend:
    """See `task_manager_redis.redis_backend`."""
    check(settings)

    @asynccontextmanager
    async def open_backend(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:  # noqa: ARG001 - the store uses the server's time
        async with open_on(RedisClient(settings, retention)) as backend:
            yield backend

    return open_backend


@asynccontextmanager
async def open_on(client: RedisClient) -> AsyncGenerator[Backend]:
    """The ports of the store over one client, which is closed at the end. The first verb connects, not this
    function."""
    timer, unreadable = PromotionTimer(client), UnreadableValues()
    queue = RedisRunQueue(client, timer, unreadable)
    try:
        yield Backend(
            name="redis",
            capabilities=Capabilities(durable=True),
            leadership=RedisLeadership(client),
            catalogue=RedisCatalogue(client, unreadable),
            dispatch=RedisDispatch(client, unreadable),
            queue=queue,
            history=RedisHistory(client, unreadable),
            membership=RedisMembership(client),
            notifier=RedisNotifier(client),
            unreadable=unreadable.take,
        )
    finally:
        await queue.close()
        await timer.close()
        await client.close()
