"""Counts, without holding up the loop, the slots that nobody will decide about."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from task_manager_core.domain.planning import NextSlot, Skipped, SkipReason, abandoned_slots
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports import Dispatch

MOST_ABANDONED = 100_000
"""More slots of one task are not counted: seconds of work, for a secondly task after a day."""


async def abandoned_until_now(
    schedule: Dispatch, task: TaskDefinition, plan: NextSlot | None, now: datetime, reason: SkipReason
) -> tuple[tuple[Skipped, ...], datetime]:
    """What is given up, and the store's time up to which it was counted: later than `now` if that took long."""
    whole: Skipped | None = None
    while True:
        step, plan = abandoned_slots(task, plan, now, reason)
        if step is not None:
            whole = step if whole is None else replace(whole, last=step.last, count=whole.count + step.count)
        if whole is None:
            return (), now
        if plan is None or plan.slot > now or whole.count >= MOST_ABANDONED:
            latest = (await schedule.agenda(0)).now
            if plan is None or plan.slot > latest or whole.count >= MOST_ABANDONED:
                return (whole,), latest
            now = latest
        await asyncio.sleep(0)
