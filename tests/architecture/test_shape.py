"""The form of the tree: small files with meaningful names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.conftest import ROOT, SOURCES

LONGEST_FILE = 400
# Such a name fits any content, and the file collects unrelated code.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "services", "misc"}
TOP_LEVEL = {"pyproject.toml", "README.md", "Makefile", "LICENSE", "src", "adapters", "tests", "docs"}
# Folders that tools write. git ignores them.
BUILT = {"__pycache__", "site", ".cache"}
# A path that is true on one machine only. Routes of HTTP and links have another character before the slash.
FOREIGN_PATH = re.compile(r"(?<![\w./:}])/(?:work|root|home|Users)/")
CORE_TESTS = ("domain", "application", "conformance", "simulation")


def _files(*folders: Path, suffix: str = "") -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.rglob(f"*{suffix}")):
            if path.is_file() and not BUILT & {*path.relative_to(ROOT).parts}:
                yield path


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_source_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in _files(*SOURCES, suffix=".py")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_name_is_empty() -> None:
    named = [
        path for path in _files(*SOURCES, ROOT / "tests") if {path.stem, *path.relative_to(ROOT).parts} & EMPTY_NAMES
    ]
    assert named == []


def test_the_top_level_is_the_documented_one() -> None:
    """Files with a leading dot and the output of builds do not count."""
    leftovers = {"build", "dist", "htmlcov", "site"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - leftovers == TOP_LEVEL


def test_nothing_depends_on_one_machine() -> None:
    # In a linked work tree of git, .git is a file with a path of this machine.
    top_level = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    guilty: list[str] = []
    for path in [*top_level, *_files(*SOURCES, ROOT / "tests", ROOT / "docs", ROOT / ".ci", ROOT / ".github")]:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        guilty += [f"{path.relative_to(ROOT)}: {found.group()}" for found in FOREIGN_PATH.finditer(text)]
    assert guilty == []


@pytest.mark.parametrize("folder", CORE_TESTS)
def test_the_core_is_tested_without_mocks(folder: str) -> None:
    """The memory store and ManualClock are the fakes. A mock would only repeat the assumptions of its author."""
    for path in _files(ROOT / "tests" / folder, suffix=".py"):
        assert not [name for name in _imports(path) if name.startswith(("unittest.mock", "mock", "pytest_mock"))], path


def test_every_test_folder_is_a_package() -> None:
    """pytest cannot collect two test files of one name without packages."""
    folders = {path.parent for path in _files(ROOT / "tests", suffix="test_*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
