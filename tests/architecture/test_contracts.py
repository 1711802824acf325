"""The import contracts of pyproject.toml hold, and each of them finds a violation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.conftest import ROOT, SOURCES

# contract id -> a file and an import in it that the contract must refuse
VIOLATIONS = {
    "core-layers": ("src/task_manager_core/domain/violation_layers.py", "import task_manager_core.application"),
    "testing-layers": (
        "src/task_manager_core/testing/cluster/violation_testing.py",
        "import task_manager_core.testing.campaign",
    ),
    "roots": ("adapters/task_manager_memory/violation_roots.py", "import task_manager_redis"),
    "core-technology": ("src/task_manager_core/application/violation_technology.py", "import redis"),
    "pure-rules": ("src/task_manager_core/ports/violation_purity.py", "from time import monotonic"),
    "door-croniter": ("src/task_manager_core/application/violation_croniter.py", "import croniter"),
    "door-dependency-injector": (
        "adapters/fastapi_task_manager/violation_container.py",
        "from dependency_injector import providers",
    ),
    "door-opentelemetry": ("adapters/fastapi_task_manager/violation_tracing.py", "import opentelemetry"),
    "door-test-tools": ("src/task_manager_core/application/violation_tools.py", "import hypothesis"),
}


def _contracts() -> list[dict[str, str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts: list[dict[str, str]] = settings["tool"]["importlinter"]["contracts"]
    return contracts


def _lint(root: Path) -> subprocess.CompletedProcess[str]:
    # The copy of a tree must be found before the installed one.
    path = os.pathsep.join(str(root / source.name) for source in SOURCES)
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))",
        ],
        cwd=root,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def verdict_on_violations(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One verdict on a copy of the tree that breaks every contract at once."""
    copy = tmp_path_factory.mktemp("violations")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for source in SOURCES:
        shutil.copytree(source, copy / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, statement in VIOLATIONS.values():
        (copy / file).write_text(f"{statement}\n")
    return _lint(copy).stdout


def test_every_contract_holds() -> None:
    verdict = _lint(ROOT)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_every_contract_has_a_violation_here() -> None:
    assert [contract["id"] for contract in _contracts()] == list(VIOLATIONS)


@pytest.mark.parametrize("contract", _contracts(), ids=lambda contract: contract["id"])
def test_a_violation_is_noticed(contract: dict[str, str], verdict_on_violations: str) -> None:
    assert f"{contract['name']} BROKEN" in verdict_on_violations
    file, _ = VIOLATIONS[contract["id"]]
    assert Path(file).stem in verdict_on_violations
