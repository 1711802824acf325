"""The Redis store: Redis 6.2 or newer, Valkey, alone or behind a Sentinel or in a Cluster.

The settings need no redis-py; `redis_backend` needs it. The modules below this package are internal.
"""

from __future__ import annotations

from task_manager_core.ports import OpenBackend
from task_manager_redis.settings import RedisSettings, SentinelSettings

__all__ = ["RedisSettings", "SentinelSettings", "redis_backend"]


def redis_backend(settings: RedisSettings) -> OpenBackend:
    """`TaskManager(app, config, backend=redis_backend(RedisSettings(...)))`.

    Raises: DefinitionError at once, if redis-py refuses an option of the URL. ImportError without redis-py or hiredis.
    """
    try:
        from task_manager_redis.backend import checked_backend  # noqa: PLC0415 - the settings need no redis-py
    except ModuleNotFoundError as error:
        if error.name not in {"redis", "hiredis"}:
            raise
        raise ImportError(f"the Redis store needs {error.name}: pip install 'hexagonal-task-manager[redis]'") from error
    return checked_backend(settings)
