"""The wheel and the source distribution have the files and metadata that users need."""

from __future__ import annotations

import re
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

import fastapi_task_manager
import task_manager_core
from tests.architecture.conftest import ROOT, SOURCES

ROOTS = {"task_manager_core", "task_manager_memory", "task_manager_redis", "fastapi_task_manager"}


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def described(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def repository(described: Message) -> str:
    urls = dict(url.split(", ") for url in described.get_all("Project-URL", []))
    return urls["Repository"]


def test_the_wheel_has_the_four_roots_and_nothing_else(contents: set[str]) -> None:
    top = {name.split("/")[0] for name in contents}
    assert {name for name in top if not name.endswith(".dist-info")} == ROOTS


def test_one_wheel_serves_every_machine(wheel: Path) -> None:
    name, _, _, tags = parse_wheel_filename(wheel.name)
    assert name == "hexagonal-task-manager"
    assert [str(tag) for tag in tags] == ["py3-none-any"]


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_every_root_says_that_it_is_typed(contents: set[str], root: str) -> None:
    assert f"{root}/py.typed" in contents


def test_scripts_pages_and_modules_beside_the_code_are_shipped(contents: set[str]) -> None:
    for source in SOURCES:
        shipped = {
            path.relative_to(source).as_posix()
            for path in source.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert shipped <= contents


def test_the_core_needs_croniter_and_a_zone_database_only(described: Message) -> None:
    requirements = [Requirement(line) for line in described.get_all("Requires-Dist", [])]
    assert {requirement.name for requirement in requirements if requirement.marker is None} == {"croniter", "tzdata"}


def test_the_version_has_one_source(described: Message) -> None:
    assert described["Version"] == task_manager_core.__version__ == fastapi_task_manager.__version__


def test_every_link_of_the_readme_works_on_an_index_page(described: Message, repository: str) -> None:
    """An index page has no files beside it: its links lead to the files of the tag of this version."""
    text = described.get_payload()
    assert isinstance(text, str)
    targets = re.findall(r"\]\(([^)]+)\)", text)
    tree = {f"{repository}/{form}/v{task_manager_core.__version__}/" for form in ("blob", "raw")}
    for target in targets:
        assert target.startswith("https://"), target
        [path] = [target.removeprefix(root) for root in tree if target.startswith(root)] or [None]
        if target.startswith(repository):
            assert path is not None, target
            assert (ROOT / path.partition("#")[0]).exists(), target
    assert len(targets) > len(re.findall(r"\]\(https:", (ROOT / "README.md").read_text()))


def test_the_address_of_the_repository_is_in_one_file(repository: str) -> None:
    """If the project moves, only pyproject.toml changes."""
    address = repository.removeprefix("https://")
    kept = [ROOT / name for name in ("README.md", "Makefile", "src", "adapters", "tests", "docs", ".github", ".ci")]
    files = [file for path in kept for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    texts = {file: file.read_bytes() for file in files if not {"__pycache__", "site"} & {*file.parts}}
    assert [str(file) for file, text in texts.items() if address.encode() in text] == []
    for url in re.findall(r"https://github\.com/[^/\"]+/[^/\"]+", (ROOT / "pyproject.toml").read_text()):
        assert url == repository


def test_every_url_of_the_project_leads_to_the_repository(repository: str) -> None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert repository in urls.values()
    for url in urls.values():
        root, _, path = url.partition("/blob/main/")
        assert root.startswith(repository)
        assert (ROOT / path).exists(), url
