"""A report as a page of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from task_manager_core.domain.identity import TaskKey
from task_manager_core.testing.simulation.overlaps import PileUp
from task_manager_core.testing.simulation.report import ExecutionStatus, PlannedRun, Report, TaskResult

LINES_PER_FINDING = 5


def summary(report: Report) -> str:
    """Circumstances, a line a task, and whatever one would rather not see."""
    return "\n".join((*_head(report), "", *_table(report), *_findings(report)))


def _head(report: Report) -> Iterator[str]:
    told = report.settings
    yield (
        f"{told.end - told.start} from {told.start:%Y-%m-%d %H:%M:%S %Z} on {counted(told.workers, 'worker')}, "
        f"{counted(told.concurrency, 'run')} at a time on each"
    )
    yield (
        f"Configured intervals until {told.settling} after each fault, rests of up to {told.calm} elsewhere; "
        f"{told.steps} steps"
    )


def _table(report: Report) -> Iterator[str]:
    rows = [
        ("task", "slots", "runs", "skipped", "failed", "lost", "latest", "longest"),
        *(_row(report, story) for story in report.stories),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *numbers in rows:
        yield "  ".join(
            (f"{name:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)))
        )


def _row(report: Report, story: TaskResult) -> tuple[str, ...]:
    executions, end = story.executions, report.settings.end
    endings = Counter(execution.status for execution in executions)
    longest = max(((one.ended or end) - one.began for one in executions), default=timedelta(0))
    return (
        str(story.key),
        str(len(story.runs) + len(story.skipped) + len(story.undecided)),
        str(len(story.runs)),
        str(len(story.skipped)),
        str(endings[ExecutionStatus.RETRIED] + endings[ExecutionStatus.FAILED]),
        str(endings[ExecutionStatus.LOST]),
        shown(report.lateness(story.key)),
        shown(longest),
    )


def _findings(report: Report) -> Iterator[str]:
    itself = [overlap for overlap in report.overlaps() if overlap.first.task == overlap.second.task]
    yield from _listed("Faults", report.marks)
    yield from _listed("Faults without an occasion", report.unused_faults)
    yield from _listed("Tasks that overlapped themselves", itself)
    yield from _listed("Failed attempts", report.failures())
    yield from _listed("Attempts lost with their worker", report.lost())
    yield from _listed("Runs that expired", report.expired())
    yield from _listed("Runs that never began", never_begun(report))
    yield from _listed("Runs that began and had no outcome at the end", without_outcome(report))
    yield from _listed(
        "Slots nobody decided about", [f"{key} {slot:%Y-%m-%d %H:%M:%S}" for key, slot in report.undecided()]
    )
    yield from _listed("Skipped slots", report.skips())
    crowded = [f"{pile}, {often} × the same" for pile, often in crowds(report)]
    yield from _listed("Crowds of more slots than places", crowded)
    yield from _listed("Troubles", report.errors)


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


def shown(length: timedelta) -> str:
    """In the two greatest units that are not zero: "2 h 5 min", "1.5 s", "0"."""
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


def never_begun(report: Report) -> list[PlannedRun]:
    """The runs that were dispatched, and that no worker got to."""
    return [run for run in report.unfinished() if not run.executions]


def without_outcome(report: Report) -> list[PlannedRun]:
    """The runs that began, and still execute or wait for another attempt."""
    return [run for run in report.unfinished() if run.executions]


def crowds(report: Report) -> list[tuple[PileUp, int]]:
    """The instants with more slots than places to execute: the first of each crowd, and how often the same tasks meet.

    The greatest crowd comes first.
    """
    first: dict[tuple[TaskKey, ...], PileUp] = {}
    often: Counter[tuple[TaskKey, ...]] = Counter()
    for pile in report.pile_ups(at_least=max(2, report.settings.places + 1)):
        first.setdefault(pile.tasks, pile)
        often[pile.tasks] += 1
    return [(pile, often[tasks]) for tasks, pile in first.items()]
