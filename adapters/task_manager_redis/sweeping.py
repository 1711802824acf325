"""Sweeps, step by step, what the runs of removed tasks have left in streams and indexes.

Nothing depends on it but memory: without their places the runs are gone already, and a claim that meets their entries
drops them. Whoever removes tasks sweeps after it, and the leader sweeps what a process that died has left.
"""

from __future__ import annotations

from contextlib import suppress

from task_manager_core.domain.errors import BackendUnavailable
from task_manager_redis.batches import RUNS_PER_SCRIPT
from task_manager_redis.client import RedisClient
from task_manager_redis.scripts import script

_SWEEP = script("sweep")
_MOST_STEPS = 200


async def sweep(client: RedisClient) -> None:
    """Sweep for some hundred steps at most; the next sweep goes on there."""
    with suppress(BackendUnavailable):
        for _ in range(_MOST_STEPS):
            if await client.run(_SWEEP, RUNS_PER_SCRIPT) == 0:
                return
