"""The code on the page on simulation runs, and the test that it shows can fail."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/howto/simulate.md"
TEST = "test_my_nightly_export_never_overlaps_my_backup_even_if_a_worker_dies"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def written(*blocks: str) -> dict[str, object]:
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_every_block_of_the_page_runs() -> None:
    names = written(*BLOCKS)
    assert str(names["page"]).startswith("<!doctype html>")


def test_the_test_of_the_page_passes_and_fails_for_a_longer_export() -> None:
    cast("Callable[[], None]", written(*BLOCKS[:2])[TEST])()
    longer = BLOCKS[1].replace("40 * MINUTE", "60 * MINUTE")
    assert longer != BLOCKS[1]
    with pytest.raises(AssertionError):
        cast("Callable[[], None]", written(BLOCKS[0], longer)[TEST])()


def test_the_example_writes_a_page(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "docs/examples"))
    try:
        import simulated_schedules
    finally:
        sys.path.pop(0)
    report = simulated_schedules.simulated_month(timedelta(days=4))
    assert len(report.lost("export")) == 1
    assert not report.overlaps("export", "backup")
    assert {skip.reason.value for skip in report.skips("prices")} == {"overlap"}
    assert not report.errors
    (tmp_path / "page.html").write_text(report.to_html())
