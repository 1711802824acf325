"""Deletes the items and index members that the runs of removed tasks have left, step by step.

Only memory depends on the sweep. A removal makes the runs void at once, and a claim that reads one of their items
deletes it. The process that removes tasks sweeps after the removal. If that process dies, the leader sweeps.
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
    """Sweep up to 200 steps. The next sweep goes on where this one ends."""
    with suppress(BackendUnavailable):
        for _ in range(_MOST_STEPS):
            if await client.run(_SWEEP, RUNS_PER_SCRIPT) == 0:
                return
