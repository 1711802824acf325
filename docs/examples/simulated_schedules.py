"""A month of an application's tasks in seconds, with faults, drawn as a page for the browser.

python docs/examples/simulated_schedules.py simulation.html
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi_task_manager import OperationalConfig, TaskGroup
from fastapi_task_manager.simulation import (
    Report,
    during,
    kill,
    outage,
    pause,
    rolling_deploy,
    simulate,
    store_down,
)

MINUTE = timedelta(minutes=1)

nightly = TaskGroup("Nightly", allow_parallel=False, timezone="Europe/Rome")
shop = TaskGroup("Shop", allow_parallel=False)


@nightly.add_task("0 2 * * *")
async def export() -> None:
    """Writes a file for the accountants. Takes up to an hour at the end of the month."""


@nightly.add_task("30 3 * * *")
async def backup() -> None:
    """Must not read while the export writes."""


@nightly.add_task("0 4 * * SUN", catch_up="all")
async def report() -> None:
    """Has a catch-up policy of its own, so that no week is left out."""


@shop.add_task("*/5 * * * *", overlap="skip")
async def prices() -> None:
    """Is slow in the morning. It then skips a slot."""


@shop.add_task("*/15 * * * *", name="stock", retry_backoff=20, max_retries=3)
async def fetch_stock() -> None:
    """Fails on the days when the supplier does not answer."""


@shop.add_task("7 * * * *", start_deadline=600)
async def newsletter() -> None:
    """Is not executed if it would start more than ten minutes late."""


@shop.add_task("H H * * *", name="thumbnails", high_priority=True)
async def draw_thumbnails() -> None:
    """H is an hour and a minute that depend on the name."""


@shop.add_task(interval=3600, jitter=300)
async def measure() -> None:
    """Runs up to five minutes after the hour. A slot always has the same delay."""


def export_time(slot: datetime) -> timedelta:
    """Longer at the end of the month."""
    return 55 * MINUTE if slot.day >= 28 else 20 * MINUTE


def prices_time(slot: datetime) -> timedelta:
    return 7 * MINUTE if slot.hour == 8 else timedelta(seconds=40)


def stock_time(slot: datetime) -> timedelta:
    """If this function raises, the simulated attempt fails."""
    if slot.weekday() == 2 and slot.hour == 6:
        raise ConnectionError("the supplier does not answer")
    return timedelta(seconds=30)


def simulated_month(duration: timedelta = timedelta(days=30)) -> Report:
    return simulate(
        [nightly, shop],
        config=OperationalConfig(concurrent_tasks=2),
        workers=3,
        start=datetime(2026, 1, 5, tzinfo=UTC),
        duration=duration,
        durations={
            "export": export_time,
            "backup": 30 * MINUTE,
            "report": 10 * MINUTE,
            "prices": prices_time,
            "stock": stock_time,
            "thumbnails": 45 * MINUTE,
            "*": timedelta(seconds=20),
        },
        faults=[
            kill(during("export", nth=3, after=5 * MINUTE), restart_after=MINUTE),
            kill(timedelta(days=5, hours=9), worker="leader", restart_after=2 * MINUTE),
            pause(during("thumbnails", nth=9, after=10 * MINUTE), lasting=5 * MINUTE),
            store_down(timedelta(days=12, hours=15), lasting=20 * MINUTE),
            *rolling_deploy(timedelta(days=15, hours=10), workers=3),
            outage(timedelta(days=20, hours=1, minutes=30), lasting=timedelta(hours=3)),
        ],
    )


if __name__ == "__main__":
    found = simulated_month()
    print(found.summary())
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(found.to_html(), encoding="utf-8")
