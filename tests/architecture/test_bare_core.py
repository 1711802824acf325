"""The core alone: an environment with the wheel and its mandatory dependencies, without any extra."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = "hexagonal-task-manager"

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys

import task_manager_core

for part in ("domain", "ports", "application"):
    package = importlib.import_module(f"task_manager_core.{part}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
        print(module.name)
"""

IMPORT_TESTING_KIT = """
import importlib, pathlib

import task_manager_core

root = pathlib.Path(task_manager_core.__file__).parent
for path in sorted((root / "testing").rglob("*.py")):
    name = ".".join(("task_manager_core", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
"""


def _dependencies_of(distribution: metadata.Distribution) -> list[str]:
    needed = (Requirement(line) for line in distribution.requires or [])
    return [
        requirement.name
        for requirement in needed
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def _copy(distribution: metadata.Distribution, target: Path) -> None:
    for file in distribution.files or []:
        source = Path(str(distribution.locate_file(file)))
        if ".." not in file.parts and source.is_file():
            copy = target / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())


@pytest.fixture(scope="module")
def bare_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the packages that `pip install` of the wheel would install.

    The test finds the dependencies in the metadata and copies them from this environment, so that it needs no index.
    """
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    [site_packages] = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)

    [installed] = metadata.distributions(name=PROJECT, path=[str(site_packages)])
    wanted, copied = _dependencies_of(installed), set[str]()
    while wanted:
        name = wanted.pop()
        if name not in copied:
            copied.add(name)
            dependency = metadata.distribution(name)
            _copy(dependency, site_packages)
            wanted += _dependencies_of(dependency)
    return folder / "bin" / "python"


def _run(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    # -I: no module may come from the current folder or from PYTHONPATH.
    return subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=False)


def test_the_environment_is_bare(bare_python: Path) -> None:
    for module in ("redis", "fastapi", "pydantic", "hypothesis", "pytest", "dependency_injector"):
        assert _run(bare_python, f"import {module}").returncode != 0, module


def test_the_core_works_without_any_extra(bare_python: Path) -> None:
    ran = _run(bare_python, IMPORT_EVERYTHING)
    assert ran.returncode == 0, ran.stderr
    assert "task_manager_core.domain.cron" in ran.stdout.split()


def test_the_memory_store_works_without_any_extra(bare_python: Path) -> None:
    ran = _run(bare_python, "import task_manager_memory")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("statement", "extra"),
    [
        ("from task_manager_redis import RedisSettings, redis_backend; redis_backend(RedisSettings())", "redis"),
        ("import fastapi_task_manager", "fastapi"),
    ],
)
def test_a_missing_extra_is_named(bare_python: Path, statement: str, extra: str) -> None:
    code = f"""
try:
    {statement}
except ImportError as error:
    print(error)
"""
    ran = _run(bare_python, code)
    assert ran.returncode == 0, ran.stderr
    assert f"{PROJECT}[{extra}]" in ran.stdout


def test_the_testing_kit_works_or_names_its_extra(bare_python: Path) -> None:
    ran = _run(bare_python, IMPORT_TESTING_KIT)
    assert ran.returncode == 0, ran.stderr
    assert all(f"{PROJECT}[testing]" in line for line in ran.stdout.splitlines())


def test_this_environment_has_what_the_bare_one_lacks() -> None:
    assert subprocess.run([sys.executable, "-c", "import redis, fastapi"], check=False).returncode == 0
