"""Counts the slots that no scheduler will decide about, and lets the event loop run meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from task_manager_core.domain.planning import NextSlot, Skipped, SkipReason, abandoned_slots
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Dispatch

MOST_ABANDONED = 100_000
"""Slots of one task beyond this number are not counted. A task that runs every second has so many in a day, and
counting them takes seconds."""


async def abandoned_until_now(
    dispatch: Dispatch, task: TaskDefinition, next_slot: NextSlot | None, now: datetime, reason: SkipReason
) -> tuple[tuple[Skipped, ...], datetime]:
    """The abandoned slots, and the store's time up to which they were counted. That time is later than `now` if
    counting took long."""
    total: Skipped | None = None
    while True:
        step, next_slot = abandoned_slots(task, next_slot, now, reason)
        if step is not None:
            total = step if total is None else replace(total, last=step.last, count=total.count + step.count)
        if total is None:
            return (), now
        if next_slot is None or next_slot.slot > now or total.count >= MOST_ABANDONED:
            latest = (await dispatch.agenda(0)).now
            if next_slot is None or next_slot.slot > latest or total.count >= MOST_ABANDONED:
                return (total,), latest
            now = latest
        await asyncio.sleep(0)
