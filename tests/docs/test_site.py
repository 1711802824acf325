"""The documentation site shows every page, and the check of `make docs` finds the defects that it looks for.

`make docs` builds the site. The tools for that have an environment of their own, and these tests do not need them.
"""

from __future__ import annotations

import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastapi_task_manager
from task_manager_core import ports
from tests.docs import site

DOCS = site.ROOT / "docs"
SETTINGS = tomllib.loads(site.CONFIGURATION.read_text())["project"]


def _listed(navigation: object) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, dict):
        yield from _listed([*navigation.values()])
    elif isinstance(navigation, list):
        for entry in navigation:
            yield from _listed(entry)


def test_every_page_has_one_place_in_the_navigation() -> None:
    listed = [*_listed(SETTINGS["nav"])]
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_the_navigation_goes_from_learning_to_reasons() -> None:
    heads = [name for entry in SETTINGS["nav"] for name in entry]
    assert heads == ["Start", "Tutorial", "How-to", "Reference", "Explanation", "Decisions", "Project"]


def test_every_example_is_shown() -> None:
    page = (DOCS / "examples/index.md").read_text()
    folder = DOCS / "examples"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    assert sorted(re.findall(r"^### (\S+)$", page, re.MULTILINE)) == names
    assert sorted(re.findall(r'^--8<-- "docs/examples/(\S+)"$', page, re.MULTILINE)) == names
    assert sorted(re.findall(r"\[The file\]\((\S+)\)", page)) == names


# -- the Python reference ---------------------------------------------------------------------------------------------

REFERENCE = {path.stem: path.read_text() for path in (DOCS / "reference/python").glob("*.md")}
SHOWN = [name for page in REFERENCE.values() for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]


@pytest.mark.parametrize("name", SHOWN)
def test_what_the_reference_shows_exists(name: str) -> None:
    assert pkgutil.resolve_name(name).__doc__


def test_the_reference_shows_the_whole_public_surface() -> None:
    """A name is shown by itself, or with the whole module that defines it. `Event` is any class of its module."""
    public = {name: getattr(fastapi_task_manager, name) for name in fastapi_task_manager.__all__}
    missing = {name for name in public if f"fastapi_task_manager.{name}" not in SHOWN}
    assert {name for name in missing if getattr(public[name], "__module__", "") not in SHOWN} == {
        "__version__",
        "Event",
    }
    assert {
        "fastapi_task_manager.simulation",
        "task_manager_core.domain.errors",
        "task_manager_core.domain.events",
        ports.__name__,
        "task_manager_core.testing.conformance",
    } <= {*SHOWN}


# -- the check --------------------------------------------------------------------------------------------------------

SOUND = {
    "index.html": '<link rel="stylesheet" href="a/x.css"><article><p>See <a href="a/index.html">a</a>, '
    '<a href="#top">top</a>, <a href="https://example.org">more</a>.</p><h1 id="top"></h1><pre>](code)</pre></article>',
    "a/index.html": '<a href="../index.html#top">up</a><a href="/index.html">root</a><img src="x.png">',
    "a/x.css": "p { background: url('x.png') }",
    "a/x.png": "",
}
DEFECTS = {
    "a link to a missing file": ("index.html", '<a href="nowhere.py">x</a>', "nowhere.py leads nowhere"),
    "a link out of the site": ("a/index.html", '<a href="../../README.md">x</a>', "README.md leads nowhere"),
    "a link to a folder": ("index.html", '<a href="a/">x</a>', "a/ leads nowhere"),
    "a missing anchor": ("a/index.html", '<a href="../index.html#none">x</a>', "#none leads nowhere"),
    "a missing picture": ("index.html", '<img src="y.png">', "y.png leads nowhere"),
    "a foreign script": ("index.html", '<script src="https://example.org/x"></script>', "loads https://example.org/x"),
    "a foreign script without a scheme": (
        "index.html",
        '<script src="//example.org/x"></script>',
        "loads //example.org/x",
    ),
    "a foreign style": (
        "index.html",
        '<link rel="stylesheet" href="https://example.org/x">',
        "loads https://example.org/x",
    ),
    "a foreign font in a style": ("a/x.css", "p { src: url(https://example.org/f) }", "loads https://example.org/f"),
    "a diagram whose program is fetched": ("index.html", '<pre class="mermaid"></pre>', "has a mermaid"),
    "a fence that is prose": ("index.html", "<article><p>```odd fence</p></article>", "Markdown is left over"),
    "a list that is prose": ("index.html", "<article><p>Text\n- item</p></article>", "Markdown is left over"),
    "a table that is prose": ("index.html", "<article><p>Text\n| a | b |</p></article>", "Markdown is left over"),
    "a directive that is prose": ("index.html", "<article><p>::: a.b</p></article>", "Markdown is left over"),
}


def _written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_sound_site_has_no_defect(tmp_path: Path) -> None:
    assert [*site.defects(_written(tmp_path, SOUND))] == []


@pytest.mark.parametrize(("file", "added", "expected"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found(file: str, added: str, expected: str, tmp_path: Path) -> None:
    [defect] = site.defects(_written(tmp_path, SOUND | {file: SOUND[file] + added}))
    assert defect.startswith(file)
    assert expected in defect


def test_an_empty_site_is_a_defect(tmp_path: Path) -> None:
    assert [*site.defects(tmp_path)] == ["there is no page"]


def test_a_warning_of_the_reader_of_docstrings_is_a_defect() -> None:
    warning = "griffe: adapters/x.py:65: Parameter 'nam' does not appear in the function signature"
    assert site.warnings_in(f"Build started\n{warning}\nNo issues found\n") == [warning]
