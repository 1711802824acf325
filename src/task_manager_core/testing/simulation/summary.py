"""The results of a simulation as a page of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from task_manager_core.domain.identity import TaskKey
from task_manager_core.testing.simulation.overlaps import PileUp
from task_manager_core.testing.simulation.results import ExecutionStatus, PlannedRun, Results, TaskResult

LINES_PER_FINDING = 5


def summary(results: Results) -> str:
    """The settings, one line for each task, and the findings."""
    return "\n".join((*_head(results), "", *_table(results), *_findings(results)))


def _head(results: Results) -> Iterator[str]:
    settings = results.settings
    yield (
        f"{settings.end - settings.start} from {settings.start:%Y-%m-%d %H:%M:%S %Z} "
        f"on {counted(settings.workers, 'worker')}, "
        f"{counted(settings.concurrency, 'run')} at a time on each"
    )
    yield (
        f"Configured intervals until {settings.settling} after each fault, waits of up to {settings.calm} elsewhere; "
        f"{settings.steps} steps"
    )


def _table(results: Results) -> Iterator[str]:
    rows = [
        ("task", "slots", "runs", "skipped", "failed", "lost", "latest", "longest"),
        *(_row(results, task) for task in results.tasks),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *numbers in rows:
        yield "  ".join(
            (f"{name:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)))
        )


def _row(results: Results, task: TaskResult) -> tuple[str, ...]:
    executions, end = task.executions, results.settings.end
    statuses = Counter(execution.status for execution in executions)
    longest = max(((one.ended or end) - one.began for one in executions), default=timedelta(0))
    return (
        str(task.key),
        str(len(task.runs) + len(task.skipped) + len(task.undecided)),
        str(len(task.runs)),
        str(len(task.skipped)),
        str(statuses[ExecutionStatus.RETRIED] + statuses[ExecutionStatus.FAILED]),
        str(statuses[ExecutionStatus.LOST]),
        short(results.lateness(task.key)),
        short(longest),
    )


def _findings(results: Results) -> Iterator[str]:
    itself = [overlap for overlap in results.overlaps() if overlap.first.task == overlap.second.task]
    yield from _listed("Faults", results.injected_faults)
    yield from _listed("Faults that did not happen", results.unused_faults)
    yield from _listed("Tasks that overlapped themselves", itself)
    yield from _listed("Failed attempts", results.failures())
    yield from _listed("Attempts lost with their worker", results.lost())
    yield from _listed("Runs that expired", results.expired())
    yield from _listed("Runs that never began", never_begun(results))
    yield from _listed("Runs that began and had no outcome at the end", without_outcome(results))
    yield from _listed(
        "Slots that no leader had decided about",
        [f"{key} {slot:%Y-%m-%d %H:%M:%S}" for key, slot in results.undecided()],
    )
    yield from _listed("Skipped slots", results.skips())
    crowded = [f"{pile}, {count} × the same" for pile, count in crowds(results)]
    yield from _listed("Instants with more slots than the workers can execute", crowded)
    yield from _listed("Unexpected errors", results.errors)


def _listed(title: str, found: Sequence[object]) -> Iterator[str]:
    if not found:
        return
    yield ""
    yield f"{title}: {len(found)}"
    yield from (f"  {one}" for one in found[:LINES_PER_FINDING])
    if len(found) > LINES_PER_FINDING:
        yield "  …"


def counted(number: int, what: str) -> str:
    """ "1 task", "2 tasks"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def short(length: timedelta) -> str:
    """A duration in the two greatest units that are not zero: "2 h 5 min", "1.5 s", "0"."""
    seconds = length.total_seconds()
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds else "0"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def never_begun(results: Results) -> list[PlannedRun]:
    """The runs that were dispatched, and that no worker began."""
    return [run for run in results.unfinished() if not run.executions]


def without_outcome(results: Results) -> list[PlannedRun]:
    """The runs that began, and that execute or wait for another attempt at the end."""
    return [run for run in results.unfinished() if run.executions]


def crowds(results: Results) -> list[tuple[PileUp, int]]:
    """The instants with more slots than the workers can execute at the same time. The greatest number comes first.

    Of the instants with the same tasks only the first is listed, with their count.
    """
    first: dict[tuple[TaskKey, ...], PileUp] = {}
    counts: Counter[tuple[TaskKey, ...]] = Counter()
    for pile in results.pile_ups(at_least=max(2, results.settings.capacity + 1)):
        first.setdefault(pile.tasks, pile)
        counts[pile.tasks] += 1
    return [(pile, counts[tasks]) for tasks, pile in first.items()]
