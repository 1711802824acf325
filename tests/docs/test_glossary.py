"""The glossary names places in the code that exist, and each word once."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

GLOSSARY = (Path(__file__).parents[2] / "docs/glossary.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (`[^|]+`) \|$", GLOSSARY, re.MULTILINE)
NAMES = sorted({name for _, _, places in ROWS for name in re.findall(r"`([\w.]+)`", places)})
PACKAGES = ("fastapi_task_manager", "task_manager_memory", "task_manager_redis")


@pytest.mark.parametrize("name", NAMES)
def test_a_place_in_the_code_exists(name: str) -> None:
    """As the page says: below the core, unless another package is named."""
    place = name if name.startswith(PACKAGES) else f"task_manager_core.{name}"
    if not _has_field(place):
        pkgutil.resolve_name(place)


def _has_field(place: str) -> bool:
    """Is it a field of a class? A field with neither a default nor a slot is no attribute of it."""
    owner, _, field = place.rpartition(".")
    return field in getattr(pkgutil.resolve_name(owner), "__annotations__", {})


def test_every_row_has_three_columns_and_every_word_one_row() -> None:
    lines = [line for line in GLOSSARY.splitlines() if line.startswith("| ")]
    heads = [line for line in lines if line.startswith("| word |")]
    assert len(ROWS) == len(lines) - len(heads)
    words = [word for word, _, _ in ROWS]
    assert sorted(words) == sorted(set(words))
