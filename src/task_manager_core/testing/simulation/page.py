"""The results of a simulation as one self-contained page of HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from importlib.resources import files
from itertools import groupby

from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.planning import SkipReason
from task_manager_core.testing.simulation.overlaps import OverlapInterval
from task_manager_core.testing.simulation.results import Execution, ExecutionStatus, PlannedRun, Results, TaskResult
from task_manager_core.testing.simulation.summary import counted, crowds, never_begun, short, summary, without_outcome

MOST_FINDINGS = 200
"""Of each kind. The results have them all."""

_STATUSES: list[ExecutionStatus] = [status for status in ExecutionStatus if status is not ExecutionStatus.EXPIRED]
"""How an execution ends. A run that expired has no execution. The page shows it like a skipped slot."""

_REASONS = [*(reason.value for reason in SkipReason), ExecutionStatus.EXPIRED.value]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def page(results: Results) -> str:
    """The template with the data. Texts of users are written as JSON without `<`, or escaped."""
    settings = results.settings
    tasks, length = counted(len(results.tasks), "task"), short(settings.end - settings.start)
    title = f"Simulation: {tasks}, {length} from {settings.start:%Y-%m-%d %H:%M}"
    parts = {
        "TITLE": escape(title),
        "STYLE": _file("page.css"),
        "SCRIPT": "\n".join(_file(name) for name in ("data.js", "drawing.js", "interaction.js")),
        "SUMMARY": escape(summary(results)),
        "DATA": json.dumps(_data(results), separators=(",", ":")).replace("<", "\\u003c"),
    }
    # In one pass: a placeholder inside a part is not replaced.
    return re.sub(r"@@([A-Z]+)@@", lambda placeholder: parts[placeholder[1]], _file("page.html"))


def _file(name: str) -> str:
    return files("task_manager_core.testing.simulation").joinpath("assets", name).read_text(encoding="utf-8")


def _data(results: Results) -> dict[str, object]:
    settings = results.settings
    processes = sorted({execution.worker for task in results.tasks for execution in task.executions})
    number = {process: index for index, process in enumerate(processes)}
    return {
        "start": _ms(settings.start, _EPOCH),
        "length": _ms(settings.end, settings.start),
        "capacity": settings.capacity,
        "workers": settings.workers,
        "concurrency": settings.concurrency,
        "settling": short(settings.settling),
        "calm": short(settings.calm),
        "processes": processes,
        "statuses": [status.value for status in _STATUSES],
        "reasons": _REASONS,
        "tasks": [_task(results, task, number) for task in results.tasks],
        "faults": [
            [
                _ms(fault.at, settings.start),
                None if fault.until is None else _ms(fault.until, settings.start),
                _names(fault.workers),
                fault.what,
            ]
            for fault in results.injected_faults
        ],
        "leaders": [[_ms(at, settings.start), who] for at, who in results.leaders],
        "findings": _findings(results),
    }


def _task(results: Results, result: TaskResult, number: dict[str, int]) -> dict[str, object]:
    """The data of a task in columns. A value that is repeated is written once with its count."""
    start = results.settings.start
    executions = [(run.slot, run.due, execution) for run in result.runs for execution in run.executions]
    unstarted = [run.slot for run in result.expected if not run.executions]
    skipped = [(skip.slot, skip.reason.value) for skip in result.skipped]
    skipped += [(run.slot, run.status.value) for run in result.runs if run.status is ExecutionStatus.EXPIRED]
    task, slots = result.task, [_ms(slot, start) for slot, _, _ in executions]
    return {
        "group": task.key.group,
        "name": task.key.name,
        "schedule": task.schedule.expression,
        "overlap": task.overlap.value if task.max_instances is None else f"at most {task.max_instances} runs",
        "dispatched": len(result.runs),
        "latest": results.lateness(result.key) // _MILLISECOND,
        "slots": _repeats(_differences(slots)),
        "jitter": _repeats([_ms(due, slot) for slot, due, _ in executions]),
        "late": _repeats([_ms(execution.began, due) for _, due, execution in executions]),
        "length": _repeats([_length(execution) for *_, execution in executions]),
        "worker": _repeats([number[execution.worker] for *_, execution in executions]),
        "status": _repeats([_STATUSES.index(execution.status) for *_, execution in executions]),
        "attempt": _repeats([execution.attempt for *_, execution in executions]),
        "errors": {at: execution.error for at, (*_, execution) in enumerate(executions) if execution.error},
        "skips": [[_ms(slot, start), _REASONS.index(reason)] for slot, reason in sorted(skipped)],
        "unstarted": [_ms(slot, start) for slot in unstarted],
    }


def _length(execution: Execution) -> int:
    return -1 if execution.ended is None else _ms(execution.ended, execution.began)


def _ms(instant: datetime, since: datetime) -> int:
    return (instant - since) // _MILLISECOND


def _differences(numbers: Sequence[int]) -> list[int]:
    """Each number minus the one before."""
    return [number - before for number, before in zip(numbers, (0, *numbers), strict=False)]


def _repeats(numbers: Iterable[int]) -> list[int]:
    """[value, count, value, count, …]."""
    return [number for value, group in groupby(numbers) for number in (value, len(list(group)))]


def _findings(results: Results) -> list[dict[str, object]]:
    """The lists of findings. Each finding is [from, to, text]; the instants are None if it has none."""
    start, end = results.settings.start, results.settings.end

    def moment(began: datetime, ended: datetime | None, text: object) -> list[object]:
        return [_ms(began, start), _ms(ended or began, start), str(text)]

    def section(title: str, found: Sequence[list[object]], hint: str) -> dict[str, object]:
        return {"title": title, "hint": hint, "count": len(found), "moments": found[:MOST_FINDINGS]}

    def overlapping(overlap: OverlapInterval[Execution]) -> list[object]:
        return moment(overlap.began, overlap.ended, f"{overlap.first.task} for {short(overlap.lasting)}")

    def late(run: PlannedRun) -> list[object]:
        never = "" if run.began else ", never began"
        return moment(run.due, run.began or end, f"{run.task} by {short(run.late_by(end))}{never}")

    overlaps = results.overlaps()
    latest = sorted(results.late(), key=lambda run: run.late_by(end), reverse=True)
    sections = (
        section(
            "Faults",
            [moment(one.at, one.until, f"{_names(one.workers)} {one.what}".strip()) for one in results.injected_faults],
            "injected",
        ),
        section(
            "Faults that did not happen",
            [[None, None, str(fault)] for fault in results.unused_faults],
            "scheduled, and without effect",
        ),
        section(
            "Lost with a worker",
            [moment(one.began, one.ended, f"{one.task} on {one.worker}") for one in results.lost()],
            "executed again by another worker",
        ),
        section(
            "Failed attempts",
            [
                moment(one.began, one.ended, f"{one.task}: {one.error or one.status.value}")
                for one in results.failures()
            ],
            "the function raised",
        ),
        section(
            "Overlaps with itself",
            [overlapping(overlap) for overlap in overlaps if overlap.first.task == overlap.second.task],
            "two executions of one task",
        ),
        section(
            "Latest starts",
            [late(run) for run in latest],
            "from the planned instant to the call of the function, or to the end of the simulation",
        ),
        section(
            "Expired",
            [moment(run.due, run.due, f"{run.task} expired") for run in results.expired()],
            "no worker claimed it by its start deadline",
        ),
        section(
            "Never began",
            [moment(run.due, end, f"{run.task} never began") for run in never_begun(results)],
            "dispatched, and no worker began it",
        ),
        section(
            "Without an outcome",
            [
                moment(
                    run.began or run.due, end, f"{run.task}: attempt {run.executions[-1].attempt} {run.status.value}"
                )
                for run in without_outcome(results)
            ],
            "began, and had no outcome at the end of the simulation",
        ),
        section(
            "Undecided slots",
            [moment(slot, end, f"{key} undecided") for key, slot in results.undecided()],
            "no leader had decided about them at the end of the simulation",
        ),
        section(
            "Skipped slots",
            [moment(one.slot, one.slot, f"{one.task}: {one.reason.value}") for one in results.skips()],
            "not dispatched, for this reason",
        ),
        section(
            "Crowded instants",
            [
                moment(pile.at, pile.at, f"{len(pile.tasks)} slots, {count} ×: {_few(pile.tasks)}")
                for pile, count in crowds(results)
            ],
            f"more slots than the {results.settings.capacity} that can execute, and how often with the same tasks",
        ),
        section(
            "Tasks that execute together",
            [moment(first.began, first.ended, f"{pair}: {count} ×") for pair, first, count in _together(overlaps)],
            "pairs of tasks, how often they overlap, and the first time",
        ),
        section(
            "Unexpected errors", [[None, None, text] for text in results.errors], "of functions, or of the library"
        ),
    )
    return [one for one in sections if one["count"]]


def _few(keys: Sequence[object]) -> str:
    names = ", ".join(str(key) for key in keys[:4])
    return names if len(keys) <= 4 else f"{names} and {len(keys) - 4} more"


def _names(workers: Sequence[str]) -> str:
    return ", ".join(workers)


def _together(overlaps: Sequence[OverlapInterval[Execution]]) -> list[tuple[str, OverlapInterval[Execution], int]]:
    """Every two tasks that overlapped, with the first overlap and the number of overlaps, most frequent first."""
    pairs: dict[tuple[TaskKey, TaskKey], list[OverlapInterval[Execution]]] = {}
    for overlap in overlaps:
        one, other = sorted((overlap.first.task, overlap.second.task))
        if one != other:
            pairs.setdefault((one, other), []).append(overlap)
    rows = sorted(pairs.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(f"{one} with {other}", found[0], len(found)) for (one, other), found in rows]
