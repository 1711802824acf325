"""The page is one file that loads nothing else, and shows what the report has."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import accumulate, chain, pairwise, repeat
from typing import Any

import pytest

from task_manager_core.application.declarations import Declarations
from task_manager_core.domain.identity import TaskKey
from task_manager_core.domain.policy import NodePolicy, Overlap, WorkerPolicy
from task_manager_core.domain.schedule import Schedule
from task_manager_core.domain.task import TaskDefinition
from task_manager_core.testing.simulation import Report, during, kill, pause, simulate_registry
from task_manager_core.testing.simulation.summary import short
from task_manager_memory import MemoryStore

START = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOSTILE = "</script><script>alert(1)</script><!-- \u2028 & \" ' @@DATA@@ @@SUMMARY@@"


class Outline(HTMLParser):
    """Tags, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


@pytest.fixture(scope="module")
def report() -> Report:
    async def nothing() -> None: ...

    def sometimes(slot: datetime) -> timedelta:
        if slot.hour == 5:
            raise ValueError("<b>five</b>")
        return 25 * MINUTE if slot.hour == 9 else MINUTE

    registry = Declarations()
    for name, cron in (("often", "*/20 * * * *"), ("nightly", "0 2 * * *"), (HOSTILE, "0 * * * *")):
        key = TaskKey("group", name.replace("\u2028", ""))
        registry.declare(
            TaskDefinition(
                key=key, schedule=Schedule.cron(cron), function="work", overlap=Overlap.SKIP, description=HOSTILE
            ),
            nothing,
        )
    return simulate_registry(
        registry,
        open_backend=MemoryStore().open,
        start=START,
        duration=timedelta(days=1),
        durations={"often": sometimes, "nightly": 10 * MINUTE, "*": timedelta(seconds=30)},
        faults=[
            kill(during("nightly", after=MINUTE)),
            kill(during("nightly", nth=7)),
            pause(timedelta(hours=12), worker="leader", lasting=MINUTE),
        ],
    )


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report.to_html()


@pytest.fixture(scope="module")
def data(page: str) -> dict[str, Any]:
    return drawn(page)


def drawn(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def unrolled(runs: list[int]) -> list[int]:
    return list(chain.from_iterable(repeat(value, count) for value, count in zip(runs[::2], runs[1::2], strict=True)))


def test_the_page_loads_nothing(page: str) -> None:
    outline = Outline(page)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in outline.tags}
    assert not [attributes for _, attributes in outline.tags if {"src", "href", "action"} & attributes.keys()]
    assert not re.findall(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttpRequest|import\(", page.replace("// ", ""))


def test_the_page_is_well_formed(page: str) -> None:
    outline = Outline(page)
    assert page.startswith("<!doctype html>")
    assert outline.open == []
    assert [tag for tag, _ in outline.tags].count("script") == 2
    assert outline.texts["title"] == ["Simulation: 3 tasks, 1 d from 2026-01-05 00:00"]


def test_the_name_of_a_task_stays_text(page: str, data: dict[str, Any], report: Report) -> None:
    assert "alert(1)</script>" not in page
    names = {task["name"] for task in data["tasks"]}
    assert names == {result.key.name for result in report.tasks}
    assert any("<script>alert(1)" in name for name in names)
    assert report.summary() == "".join(Outline(page).texts["pre"])


def test_the_columns_hold_every_execution(data: dict[str, Any], report: Report) -> None:
    for drawn, result in zip(data["tasks"], report.tasks, strict=True):
        executions = [execution for run in result.runs for execution in run.executions]
        slots = accumulate(unrolled(drawn["slots"]))
        began = [
            START + timedelta(milliseconds=sum(row))
            for row in zip(slots, unrolled(drawn["jitter"]), unrolled(drawn["late"]), strict=True)
        ]
        assert began == [execution.began for execution in executions]
        assert [data["processes"][worker] for worker in unrolled(drawn["worker"])] == [one.worker for one in executions]
        assert [data["statuses"][status] for status in unrolled(drawn["status"])] == [
            one.status.value for one in executions
        ]
        assert [START + timedelta(milliseconds=slot) for slot, _ in drawn["skips"]] == [
            skip.slot for skip in result.skipped
        ]
        assert [error for _, error in sorted(drawn["errors"].items(), key=lambda item: int(item[0]))] == [
            one.error for one in executions if one.error
        ]


def test_the_findings_count_what_the_report_finds(data: dict[str, Any], report: Report) -> None:
    counts = {finding["title"]: finding["count"] for finding in data["findings"]}
    assert [drawn["dispatched"] for drawn in data["tasks"]] == [len(result.runs) for result in report.tasks]
    assert counts["Faults that did not happen"] == len(report.unused_faults) == 1
    assert counts["Faults"] == len(report.injected_faults) == 2
    assert counts["Lost with a worker"] == len(report.lost()) == 1
    assert counts["Failed attempts"] == len(report.failures()) > 0
    assert counts["Skipped slots"] == len(report.skips()) > 0
    assert "Unexpected errors" not in counts


def test_the_page_shows_runs_that_never_began() -> None:
    async def nothing() -> None: ...

    registry = Declarations()
    for name, cron in (("hog", "5 1 * * *"), ("often", "*/20 * * * *")):
        key = TaskKey("group", name)
        registry.declare(TaskDefinition(key=key, schedule=Schedule.cron(cron), function="work"), nothing)
    report = simulate_registry(
        registry,
        open_backend=MemoryStore().open,
        policy=NodePolicy(worker=WorkerPolicy(concurrency=1)),
        workers=1,
        start=START,
        duration=timedelta(hours=4),
        durations={"hog": timedelta(hours=9)},
        faults=[kill(timedelta(hours=3, minutes=30))],
    )
    found = drawn(report.to_html())
    panels = {finding["title"]: finding["moments"] for finding in found["findings"]}
    assert [text for *_, text in panels["Never began"]] == ["group/often never began"] * 7
    assert [text for *_, text in panels["Undecided slots"]] == ["group/often undecided"]
    assert [text for *_, text in panels["Without an outcome"]] == ["group/hog: attempt 1 not finished"]
    assert panels["Latest starts"][0][2] == "group/often by 2 h 40 min, never began"
    (often,) = [task for task in found["tasks"] if task["name"] == "often"]
    assert often["latest"] == report.lateness("often") // timedelta(milliseconds=1) == 160 * 60_000
    assert len(often["unstarted"]) == 8
    assert "on 1 worker, 1 run at a time" in report.summary()


def test_the_page_shows_an_expired_run_like_a_skipped_slot() -> None:
    async def nothing() -> None: ...

    registry = Declarations()
    for name, cron, deadline in (("hog", "0 0 * * *", None), ("urgent", "*/20 * * * *", timedelta(minutes=5))):
        key = TaskKey("group", name)
        schedule = Schedule.cron(cron)
        registry.declare(TaskDefinition(key=key, schedule=schedule, function="work", start_deadline=deadline), nothing)
    report = simulate_registry(
        registry,
        open_backend=MemoryStore().open,
        policy=NodePolicy(worker=WorkerPolicy(concurrency=1)),
        workers=1,
        start=START,
        duration=timedelta(hours=2),
        durations={"hog": timedelta(minutes=50)},
    )
    found = drawn(report.to_html())
    panels = {finding["title"]: finding["moments"] for finding in found["findings"]}
    assert [text for *_, text in panels["Expired"]] == ["group/urgent expired"] * 3
    assert "Never began" not in panels
    (urgent,) = [task for task in found["tasks"] if task["name"] == "urgent"]
    assert [found["reasons"][reason] for _, reason in urgent["skips"]] == ["expired"] * 3
    assert urgent["unstarted"] == []


def test_equal_runs_take_little_space() -> None:
    async def nothing() -> None: ...

    registry = Declarations()
    key = TaskKey("group", "often")
    registry.declare(TaskDefinition(key=key, schedule=Schedule.cron("*/5 * * * *"), function="work"), nothing)
    report = simulate_registry(registry, open_backend=MemoryStore().open, start=START, duration=timedelta(days=3))
    empty = replace(report, tasks=tuple(replace(task, runs=()) for task in report.tasks))
    assert len(report.runs()) == 3 * 288
    assert len(report.to_html()) - len(empty.to_html()) < 5000


def test_the_summary_has_a_line_for_each_task_and_each_kind_of_finding(report: Report) -> None:
    text = report.summary()
    assert "on 3 workers, 2 runs at a time" in text
    for words in (
        "group/nightly",
        "Faults: 2",
        "Attempts lost with their worker: 1",
        "Skipped slots",
        "Failed attempts",
    ):
        assert words in text


def test_durations_are_shown_in_two_units() -> None:
    lengths = (0, 0.25, 59.5, 60, 61, 3600, 3661, 7260, 86400, 90000)
    shown_lengths = [short(timedelta(seconds=length)) for length in lengths]
    assert shown_lengths == [
        "0",
        "0.25 s",
        "59.5 s",
        "1 min",
        "1 min 1 s",
        "1 h",
        "1 h 1 min",
        "2 h 1 min",
        "1 d",
        "1 d 1 h",
    ]


def test_pile_ups_are_sorted_by_size_then_time(report: Report) -> None:
    piles = report.pile_ups(at_least=2)
    assert [len(pile.tasks) for pile in piles[:2]] == [3, 2]
    assert piles[0].at == START + timedelta(hours=2)
    assert all(before.at < after.at for before, after in pairwise(piles[1:]))
    assert report.pile_ups(at_least=4) == ()
