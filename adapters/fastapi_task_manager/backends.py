"""Which store a configuration means."""

from __future__ import annotations

from fastapi_task_manager.config import Config, OperationalConfig
from task_manager_core.ports import OpenBackend


def configured_backend(config: OperationalConfig) -> OpenBackend:
    """The Redis of a Config. Errors: TypeError for a configuration that names no store."""
    if not isinstance(config, Config):
        raise TypeError("OperationalConfig names no store: pass backend=..., or a Config with redis_host")
    from task_manager_redis import redis_backend  # noqa: PLC0415 - the in-memory store needs no redis installed

    return redis_backend(config.redis_settings())
