"""A report as one page of HTML that needs nothing but itself."""

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
from task_manager_core.testing.simulation.report import Execution, ExecutionStatus, PlannedRun, Report, TaskResult
from task_manager_core.testing.simulation.summary import counted, crowds, never_begun, shown, without_outcome

MOST_FINDINGS = 200
"""Of each kind. The report has them all."""

_ENDINGS: list[ExecutionStatus] = [ending for ending in ExecutionStatus if ending is not ExecutionStatus.EXPIRED]
"""How an execution ends. What expired has none, and is shown like a skipped slot."""
_REASONS = [*(reason.value for reason in SkipReason), ExecutionStatus.EXPIRED.value]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def page(report: Report) -> str:
    """The template with the data in it. Every text of a user goes through JSON without `<`, or through `escape`."""
    told = report.settings
    tasks, length = counted(len(report.stories), "task"), shown(told.end - told.start)
    title = f"Rehearsal: {tasks}, {length} from {told.start:%Y-%m-%d %H:%M}"
    parts = {
        "TITLE": escape(title),
        "STYLE": _file("page.css"),
        "SCRIPT": "\n".join(_file(name) for name in ("data.js", "drawing.js", "interaction.js")),
        "SUMMARY": escape(report.summary()),
        "DATA": json.dumps(_data(report), separators=(",", ":")).replace("<", "\\u003c"),
    }
    # In one pass, so that nothing inside a part is taken for a place.
    return re.sub(r"@@([A-Z]+)@@", lambda place: parts[place[1]], _file("page.html"))


def _file(name: str) -> str:
    return files("task_manager_core.testing.simulation").joinpath("assets", name).read_text(encoding="utf-8")


def _data(report: Report) -> dict[str, object]:
    told = report.settings
    lives = sorted({execution.worker for story in report.stories for execution in story.executions})
    number = {life: at for at, life in enumerate(lives)}
    return {
        "start": _ms(told.start, _EPOCH),
        "length": _ms(told.end, told.start),
        "places": told.places,
        "workers": told.workers,
        "concurrency": told.concurrency,
        "settling": shown(told.settling),
        "calm": shown(told.calm),
        "lives": lives,
        "endings": [ending.value for ending in _ENDINGS],
        "reasons": _REASONS,
        "tasks": [_task(report, story, number) for story in report.stories],
        "marks": [
            [
                _ms(mark.at, told.start),
                None if mark.until is None else _ms(mark.until, told.start),
                _whom(mark.who),
                mark.what,
            ]
            for mark in report.marks
        ],
        "leaders": [[_ms(at, told.start), who] for at, who in report.leaders],
        "findings": _findings(report),
    }


def _task(report: Report, story: TaskResult, number: dict[str, int]) -> dict[str, object]:
    """Columns: what is the same many times over is written once with its count."""
    start = report.settings.start
    executions = [(run.slot, run.due, execution) for run in story.runs for execution in run.executions]
    waiting = [run.slot for run in story.expected if not run.executions]
    skipped = [(skip.slot, skip.reason.value) for skip in story.skipped]
    skipped += [(run.slot, run.status.value) for run in story.runs if run.status is ExecutionStatus.EXPIRED]
    task, slots = story.task, [_ms(slot, start) for slot, _, _ in executions]
    return {
        "group": task.key.group,
        "name": task.key.name,
        "schedule": task.schedule.expression,
        "overlap": task.overlap.value,
        "dispatched": len(story.runs),
        "latest": report.lateness(story.key) // _MILLISECOND,
        "slots": _runs(_steps(slots)),
        "jitter": _runs([_ms(due, slot) for slot, due, _ in executions]),
        "late": _runs([_ms(execution.began, due) for _, due, execution in executions]),
        "length": _runs([_length(execution) for *_, execution in executions]),
        "worker": _runs([number[execution.worker] for *_, execution in executions]),
        "ending": _runs([_ENDINGS.index(execution.status) for *_, execution in executions]),
        "attempt": _runs([execution.attempt for *_, execution in executions]),
        "errors": {at: execution.error for at, (*_, execution) in enumerate(executions) if execution.error},
        "skips": [[_ms(slot, start), _REASONS.index(reason)] for slot, reason in sorted(skipped)],
        "open": [_ms(slot, start) for slot in waiting],
    }


def _length(execution: Execution) -> int:
    return -1 if execution.ended is None else _ms(execution.ended, execution.began)


def _ms(instant: datetime, since: datetime) -> int:
    return (instant - since) // _MILLISECOND


def _steps(numbers: Sequence[int]) -> list[int]:
    """Each number less the one before."""
    return [number - before for number, before in zip(numbers, (0, *numbers), strict=False)]


def _runs(numbers: Iterable[int]) -> list[int]:
    """[value, how often, value, how often, …]."""
    return [number for value, group in groupby(numbers) for number in (value, len(list(group)))]


def _findings(report: Report) -> list[dict[str, object]]:
    """Lists to click through: [from, to, text] each, None if at no instant, with the number of all there are."""
    start, end = report.settings.start, report.settings.end

    def moment(began: datetime, ended: datetime | None, text: object) -> list[object]:
        return [_ms(began, start), _ms(ended or began, start), str(text)]

    def section(title: str, found: Sequence[list[object]], hint: str) -> dict[str, object]:
        return {"title": title, "hint": hint, "count": len(found), "moments": found[:MOST_FINDINGS]}

    def meeting(overlap: OverlapInterval[Execution]) -> list[object]:
        return moment(overlap.began, overlap.ended, f"{overlap.first.task} for {shown(overlap.lasting)}")

    def late(run: PlannedRun) -> list[object]:
        never = "" if run.began else ", never began"
        return moment(run.due, run.began or end, f"{run.task} by {shown(run.late_by(end))}{never}")

    overlaps = report.overlaps()
    latest = sorted(report.late(), key=lambda run: run.late_by(end), reverse=True)
    sections = (
        section(
            "Faults",
            [moment(one.at, one.until, f"{_whom(one.who)} {one.what}".strip()) for one in report.marks],
            "injected",
        ),
        section(
            "Faults without an occasion",
            [[None, None, str(fault)] for fault in report.unused_faults],
            "asked for, and never struck",
        ),
        section(
            "Lost with a worker",
            [moment(one.began, one.ended, f"{one.task} on {one.worker}") for one in report.lost()],
            "put back and run again by another worker",
        ),
        section(
            "Failed attempts",
            [moment(one.began, one.ended, f"{one.task}: {one.error or one.status.value}") for one in report.failures()],
            "the function raised",
        ),
        section(
            "Overlaps with itself",
            [meeting(overlap) for overlap in overlaps if overlap.first.task == overlap.second.task],
            "two executions of one task",
        ),
        section(
            "Latest starts",
            [late(run) for run in latest],
            "from the planned instant to the call of the function, or to the end",
        ),
        section(
            "Expired",
            [moment(run.due, run.due, f"{run.task} expired") for run in report.expired()],
            "no worker claimed it by its start deadline",
        ),
        section(
            "Never began",
            [moment(run.due, end, f"{run.task} never began") for run in never_begun(report)],
            "dispatched, and no worker got to it",
        ),
        section(
            "Without an outcome",
            [
                moment(
                    run.began or run.due, end, f"{run.task}: attempt {run.executions[-1].attempt} {run.status.value}"
                )
                for run in without_outcome(report)
            ],
            "began, and had not ended for good when the rehearsal did",
        ),
        section(
            "Undecided slots",
            [moment(slot, end, f"{key} undecided") for key, slot in report.undecided()],
            "nobody had decided about them when the rehearsal ended",
        ),
        section(
            "Skipped slots",
            [moment(one.slot, one.slot, f"{one.task}: {one.reason.value}") for one in report.skips()],
            "decided not to run",
        ),
        section(
            "Crowded instants",
            [
                moment(pile.at, pile.at, f"{len(pile.tasks)} slots, {often} ×: {_few(pile.tasks)}")
                for pile, often in crowds(report)
            ],
            f"more slots than {counted(report.settings.places, 'place')} to execute, and how often the same meet",
        ),
        section(
            "Tasks that execute together",
            [moment(first.began, first.ended, f"{pair}: {often} ×") for pair, first, often in _together(overlaps)],
            "pairs of tasks, how often, and the first time",
        ),
        section("Troubles", [[None, None, text] for text in report.errors], "errors that nobody expected"),
    )
    return [one for one in sections if one["count"]]


def _few(keys: Sequence[object]) -> str:
    names = ", ".join(str(key) for key in keys[:4])
    return names if len(keys) <= 4 else f"{names} and {len(keys) - 4} more"


def _whom(who: Sequence[str]) -> str:
    return ", ".join(who)


def _together(overlaps: Sequence[OverlapInterval[Execution]]) -> list[tuple[str, OverlapInterval[Execution], int]]:
    """Every two tasks that met, with the first meeting and their number, most frequent first."""
    met: dict[tuple[TaskKey, TaskKey], list[OverlapInterval[Execution]]] = {}
    for overlap in overlaps:
        one, other = sorted((overlap.first.task, overlap.second.task))
        if one != other:
            met.setdefault((one, other), []).append(overlap)
    rows = sorted(met.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(f"{one} with {other}", found[0], len(found)) for (one, other), found in rows]
