"""Stores on a real Redis that use the server's own time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import redis

from task_manager_core.domain.leadership import Term
from task_manager_core.domain.policy import Retention
from task_manager_core.testing.conformance.factories import NOTHING, TTL, WORKER, key, run, task
from task_manager_core.testing.conformance.harness import Harness
from task_manager_core.testing.conformance.store import Store
from task_manager_redis import RedisSettings
from task_manager_redis.backend import open_on
from task_manager_redis.client import RedisClient

QUICK = timedelta(milliseconds=300)


@asynccontextmanager
async def opened(settings: RedisSettings) -> AsyncGenerator[Store]:
    async with open_on(RedisClient(settings, Retention())) as backend:
        yield Store(Harness(backend=backend, advance=nowhere))


async def nowhere(_: timedelta) -> None:
    raise AssertionError("this store's time is the server's")


async def every_verb(store: Store, wait: timedelta = QUICK) -> list[Callable[[], Awaitable[object]]]:
    """One call for each kind of connection and each kind of answer."""
    term = Term(WORKER, 1)
    return [
        lambda: store.leadership.campaign(WORKER, TTL),
        lambda: store.leadership.renew(term, TTL),
        lambda: store.catalogue.load(0),
        lambda: store.dispatch.agenda(10),
        lambda: store.dispatch.commit(term, ()),
        lambda: store.queue.claim(WORKER, 10, NOTHING),
        lambda: store.queue.claim(WORKER, 10, wait),
        lambda: store.queue.claim(WORKER, 10, NOTHING, known=()),
        lambda: store.queue.enqueue([run(task())]),
        lambda: store.queue.cancel([(key(), run(task()).id)]),
        lambda: store.history.read(key(), 10),
        store.history.snapshot,
        lambda: store.membership.depart(WORKER),
        lambda: store.notifier.wait(wait),
        store.leadership.observe,
    ]


def contents(client: redis.Redis) -> dict[object, object]:
    """The contents of a server, independent of the order of the fields of a hash."""
    reads: dict[object, Callable[[Any], object]] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"list": lambda name: client.lrange(name, 0, -1),
        b"zset": lambda name: client.zrange(name, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    return {name: reads[client.type(name)](name) for name in client.scan_iter()}
