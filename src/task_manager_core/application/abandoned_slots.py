"""Counts, without holding up the loop, the slots that nobody will decide about."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from task_manager_core.domain.planning import Plan, Skipped, SkipReason, given_up
from task_manager_core.domain.task import Task
from task_manager_core.ports import Schedule

MOST_GIVEN_UP = 100_000
"""More slots of one task are not counted: seconds of work, for a secondly task after a day."""


async def given_up_by_now(
    schedule: Schedule, task: Task, plan: Plan | None, now: datetime, reason: SkipReason
) -> tuple[tuple[Skipped, ...], datetime]:
    """What is given up, and the store's time up to which it was counted: later than `now` if that took long."""
    whole: Skipped | None = None
    while True:
        step, plan = given_up(task, plan, now, reason)
        if step is not None:
            whole = step if whole is None else replace(whole, last=step.last, count=whole.count + step.count)
        if whole is None:
            return (), now
        if plan is None or plan.slot > now or whole.count >= MOST_GIVEN_UP:
            latest = (await schedule.agenda(0)).now
            if plan is None or plan.slot > latest or whole.count >= MOST_GIVEN_UP:
                return (whole,), latest
            now = latest
        await asyncio.sleep(0)
