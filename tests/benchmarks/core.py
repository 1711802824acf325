"""The cost of the rules of the core, without a store, a loop or a clock: `make bench-core`.

Each is called for a fifth of a second, five times: the median and the least are printed. Compare within one run.
"""

from __future__ import annotations

import platform
import statistics
import timeit
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle

from task_manager_core.domain.backoff import Backoff
from task_manager_core.domain.identity import NodeId, TaskKey
from task_manager_core.domain.planning import DueTask, decide_slots, first_slot
from task_manager_core.domain.policy import RetryPolicy
from task_manager_core.domain.preview import upcoming
from task_manager_core.domain.run import Claim, Settlement, Succeeded
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.ports.codec import (
    decode_record,
    decode_run,
    decode_task,
    encode_record,
    encode_run,
    encode_task,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = 0.2
REPEATS = 5
PREVIEWED = 10

TASK = TaskDefinition(
    key=TaskKey("reports", "nightly"),
    schedule=Schedule.cron("30 2 * * *", timezone="Europe/Rome"),
    function="reports.nightly",
    kwargs='{"recipient":"x"}',
    tags=("reports",),
)
RUN = TASK.run_of_slot(NOW, 1)
CLAIM = Claim(run=RUN, attempt=1, failures=0, token=1, worker=NodeId("worker"))
RECORD = Settlement(claim=CLAIM, outcome=Succeeded(), started_at=NOW, duration=timedelta(seconds=1)).record()


def _walk(schedule: Schedule) -> Callable[[], object]:
    """Ask for one slot after the other: the same question again would be answered from a cache."""
    at = NOW

    def following() -> None:
        nonlocal at
        at = schedule.next_after(at) or NOW

    return following


def _first_sight() -> Callable[[], object]:
    hours = cycle(range(24))
    minutes = cycle(range(59))
    return lambda: Schedule.cron(f"{next(minutes)} {next(hours)} * * *").next_after(NOW)


def _decided(expression: str, *, late: timedelta = timedelta(0)) -> Callable[[], object]:
    task = TaskDefinition(key=TaskKey("reports", expression), schedule=Schedule.cron(expression), function="f")
    plan = first_slot(task, NOW)
    assert plan is not None
    due = DueTask(key=task.key, version=1, slot=plan.slot, due_at=plan.due_at)
    return lambda: decide_slots(task, due, plan.slot + late)


def _parts() -> Iterator[tuple[str, Callable[[], object]]]:
    backoff = Backoff(RetryPolicy())
    task, run, record = encode_task(TASK), encode_run(RUN), encode_record(RECORD)
    yield "next slot, every minute, UTC", _walk(Schedule.cron("* * * * *"))
    yield "next slot, every second, UTC", _walk(Schedule.cron("* * * * * *"))
    yield "next slot, daily, a zone with daylight saving", _walk(Schedule.cron("30 2 * * *", timezone="Europe/Rome"))
    yield "next slot of an expression at first sight", _first_sight()
    yield "decide about one due slot", _decided("*/5 * * * *")
    yield "decide about an hour of missed minutes", _decided("* * * * *", late=timedelta(hours=1))
    yield "run of a slot", lambda: TASK.run_of_slot(NOW, 1)
    yield "encode a run", lambda: encode_run(RUN)
    yield "decode a run", lambda: decode_run(run)
    yield "encode a line of history", lambda: encode_record(RECORD)
    yield "decode a line of history", lambda: decode_record(record)
    yield "encode a definition", lambda: encode_task(TASK)
    yield "decode a definition that was seen before", lambda: decode_task(task)
    yield "delay of a retry", lambda: backoff.after(3, RUN.id)
    yield f"preview of {PREVIEWED} slots", lambda: upcoming(TASK.schedule, NOW, PREVIEWED)


def main() -> None:
    """Print one line for each part."""
    print(f"CPython {platform.python_version()}: µs a call, median and least of {REPEATS}")
    for title, part in _parts():
        timer = timeit.Timer(part)
        calls, took = timer.autorange()
        calls = max(int(calls * SECONDS / took), 1)
        costs = [spent / calls * 1e6 for spent in timer.repeat(REPEATS, calls)]
        print(f"  {title:46} {statistics.median(costs):9.2f} {min(costs):9.2f}")


if __name__ == "__main__":
    main()
