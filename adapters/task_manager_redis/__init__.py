"""The Redis store: Redis 6.2 or newer, Valkey, alone or behind a Sentinel or in a Cluster.

The modules below this package are internal.
"""

try:
    import redis as _redis
except ModuleNotFoundError as error:
    if error.name != "redis":
        raise
    raise ImportError("the Redis store needs redis-py: pip install 'hexagonal-task-manager[redis]'") from error

from task_manager_redis.backend import redis_backend
from task_manager_redis.settings import RedisSettings, SentinelSettings

del _redis

__all__ = ["RedisSettings", "SentinelSettings", "redis_backend"]
