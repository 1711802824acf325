"""Opening the Redis store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from task_manager_core.domain.policy import Retention
from task_manager_core.ports import Backend, Capabilities, Clock, OpenBackend
from task_manager_redis.aside import Aside
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


def redis_backend(settings: RedisSettings) -> OpenBackend:
    """`TaskManager(app, config, backend=redis_backend(RedisSettings(...)))`. Errors: DefinitionError, at once."""
    check(settings)

    @asynccontextmanager
    async def open_backend(*, clock: Clock, retention: Retention) -> AsyncGenerator[Backend]:  # noqa: ARG001 - the server has a time of its own
        async with open_on(RedisClient(settings, retention)) as backend:
            yield backend

    return open_backend


@asynccontextmanager
async def open_on(client: RedisClient) -> AsyncGenerator[Backend]:
    """The ports over one client, which is closed in the end. Connects to nothing: the verbs do."""
    alarm, aside = PromotionTimer(client), Aside()
    try:
        yield Backend(
            name="redis",
            capabilities=Capabilities(durable=True),
            leadership=RedisLeadership(client),
            catalogue=RedisCatalogue(client, aside),
            dispatch=RedisDispatch(client, aside),
            queue=RedisRunQueue(client, alarm, aside),
            history=RedisHistory(client, aside),
            membership=RedisMembership(client),
            notifier=RedisNotifier(client),
            unreadable=aside.take,
        )
    finally:
        await alarm.close()
        await client.close()
