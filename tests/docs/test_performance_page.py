"""The page on performance is made from its data, and has no section without data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.figures import Circumstances, Dash, Figure, Party, Results, ratio
from tests.benchmarks.report import DATA, PAGE, page


def party(name: str, title: str) -> Party:
    return Party(
        name=name,
        title=title,
        version="1.2.3",
        packages={name: "1.2.3", "redis": "8.1.0"},
        runtime="CPython 3.11.7, uvloop",
        delivery=f"what {title} promises",
        keeps="nothing",
        settings="concurrency=100",
    )


def figure(workload: str, measure: str, system: str, *values: float, size: int = 0) -> Figure:
    return Figure(workload=workload, measure=measure, system=system, values=values, size=size)


@pytest.fixture
def sample() -> Results:
    return Results(
        circumstances=Circumstances(
            at="2026-03-01T12:00+00:00",
            seconds=600.0,
            machine="a machine",
            cores=2,
            store="Redis 7.0.15",
            others=0.02,
            revision="abc",
        ),
        parties=(party("task_manager", "this project"), party("taskiq", "taskiq"), party("arq", "arq")),
        figures=[
            figure("A", "rate", "task_manager", 30_000, 29_000, 31_000, size=10_000),
            figure("A", "rate", "taskiq", 2_500, 2_400, 2_600, size=10_000),
            figure("A", "rate", "arq", 1_000, size=10_000),
            figure("C", "median", "task_manager", 0.5),
            figure("C", "median", "taskiq", 1.0),
            figure("tasks", "commands", "task_manager", 4.0, size=100),
            figure("tasks", "commands", "task_manager", 5.0, size=1_000),
        ],
        dashes=[Dash(workload="C", system="arq", reason="it cannot")],
    )


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]


def test_the_page_is_the_one_that_its_data_make() -> None:
    assert PAGE.exists() == DATA.exists()
    if DATA.exists():
        assert PAGE.read_text() == page(Results.load(DATA))


def test_a_table_shows_figures_ranges_and_ratios(sample: Results) -> None:
    table = section(page(sample), "A: ")
    assert "| this project | 10,000 | 30,000 (29,000–31,000) |  |" in table
    assert "| taskiq | 10,000 | 2,500 (2,400–2,600) | 12.0 × |" in table
    assert "| arq | 10,000 | 1,000 | 30 × |" in table
    assert "µs CPU" not in table, "a measure without a figure has no column"


def test_less_is_better_where_time_is_measured(sample: Results) -> None:
    assert "| taskiq | 1.00 | 2.0 × |" in section(page(sample), "C: ")


def test_a_dash_has_its_reason(sample: Results) -> None:
    table = section(page(sample), "C: ")
    assert "| arq | – |  |" in table
    assert "- arq: it cannot." in table


def test_the_summary_names_the_best_peer(sample: Results) -> None:
    summary = section(page(sample), "In short")
    assert "| 30,000 (29,000–31,000) | taskiq 2,500 (2,400–2,600) | 12.0 × |" in summary
    assert "| 0.50 | taskiq 1.00 | 2.0 × |" in summary


def test_the_summary_compares_with_peers_that_have_a_store(sample: Results) -> None:
    ours, taskiq, arq = sample.parties
    some = replace(sample, parties=(ours, replace(taskiq, stored=False), arq))
    summary = section(page(some), "In short")
    assert "| arq 1,000 | 30 × |" in summary
    assert "taskiq" not in summary


def test_growth_has_a_column_for_each_size(sample: Results) -> None:
    growth = section(page(sample), "Growth")
    assert "| Redis commands/s | 100 tasks | 1,000 tasks |" in growth
    assert "| this project | 4.0 | 5.0 |" in growth


def test_a_section_without_data_is_left_out(sample: Results) -> None:
    bare = page(sample)
    for heading in ("Where the microseconds", "What one Redis carries", "D1: ", "F: "):
        assert f"## {heading}" not in bare
    more = replace(
        sample,
        breakdown=(("Redis", 30.0), ("the loop", 10.0)),
        figures=[*sample.figures, figure("H", "redis", "task_manager", 25.0, size=1)],
    )
    assert "| Redis | 30.0 | 75% |" in section(page(more), "Where the microseconds")
    assert "about 40,000 runs/s (computed)" in section(page(more), "What one Redis carries")


def test_the_page_shows_versions_settings_and_promises(sample: Results) -> None:
    for one in sample.parties:
        said = f"{one.title} {one.version}**, {one.runtime} ({one.name} 1.2.3, redis 8.1.0)"
        assert said in page(sample)
        assert f"Promises: {one.delivery}." in page(sample)


def test_a_result_survives_its_file(sample: Results, tmp_path: Path) -> None:
    path = tmp_path / "below" / "result.json"
    for one in (sample, replace(sample, breakdown=(("Redis", 30.0),), figures=[], dashes=[])):
        one.save(path)
        assert Results.load(path) == one


def test_there_is_no_ratio_to_nothing() -> None:
    assert ratio(figure("F", "skipped", "task_manager", 0), figure("F", "skipped", "arq", 7), "less") is None
