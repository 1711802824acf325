"""What reaches a user."""

from __future__ import annotations

import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from tests.architecture.conftest import SOURCES

ROOTS = {"task_manager_core", "task_manager_memory", "task_manager_redis", "fastapi_task_manager"}


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        [name] = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        described = Parser().parsestr(archive.read(name).decode())
    return [Requirement(line) for line in described.get_all("Requires-Dist", [])]


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


def test_the_core_needs_croniter_and_a_zone_database_only(requirements: list[Requirement]) -> None:
    assert {requirement.name for requirement in requirements if requirement.marker is None} == {"croniter", "tzdata"}
