"""The author of a store needs only the wheel, an empty directory and one command."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SUITE = "task_manager_core.testing.conformance"


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation by pip, at the front of the path."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def pytest_in(folder: Path, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:valkey", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_suite_judges_a_store_by_its_name(site: Path, tmp_path: Path) -> None:
    named = "--backend=task_manager_memory:open_backend"
    judged = pytest_in(tmp_path, site, "--pyargs", SUITE, named, "-v", "-k", "token or model")
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "laws of TestBackend" in judged.stdout
    assert "test_the_store_answers_like_the_model PASSED" in judged.stdout
    assert "✓ 10. Each claim has a fencing token of its own" in judged.stdout


def test_the_store_is_found_in_the_current_directory(site: Path, tmp_path: Path) -> None:
    (tmp_path / "my_store.py").write_text("from task_manager_memory import open_backend\n")
    program = "import sys; sys.path.remove(''); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    judged = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "-p",
            "no:valkey",
            "--pyargs",
            SUITE,
            "--backend=my_store:open_backend",
            "-k",
            "membership",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "✓ 2. The last announcement of a node" in judged.stdout
    assert "– 1. While a lease lives" in judged.stdout


def test_other_runs_of_pytest_do_not_know_the_option(site: Path, tmp_path: Path) -> None:
    """A project may have its own option of this name."""
    (tmp_path / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--backend')\n")
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_own(pytestconfig):\n"
        "    assert pytestconfig.getoption('--backend') == 'mine'\n"
        "    assert not [name for name in sys.modules if name.startswith('task_manager_core.testing.conformance')]\n"
    )
    own = pytest_in(tmp_path, site, "--backend=mine")
    assert own.returncode == 0, own.stdout + own.stderr
